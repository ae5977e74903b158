"""What an invariant found: whether it held, how that was checked, and the evidence where it did not."""

import msgspec

EVIDENCE_MAX = 8


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """
    One invariant's verdict.

    ``how`` and ``found`` are written for the report: what was compared, and the figures. ``evidence`` lists the first
    violations and is empty when it held.
    """

    id: str
    name: str
    how: str
    found: str
    held: bool
    evidence: list[str] = []


def conclude(
    id_: str, name: str, *, how: str, found: str, violations: list[str], vacuous: str = ""
) -> Finding:
    """
    Make a verdict of the violations found.

    ``vacuous`` says why nothing could have been found: an invariant that nothing put to the test does not hold.
    """
    evidence = violations[:EVIDENCE_MAX]
    if len(violations) > EVIDENCE_MAX:
        evidence = [*evidence, f"and {len(violations) - EVIDENCE_MAX} more"]
    if not violations and vacuous:
        evidence = [f"not put to the test: {vacuous}"]
    return Finding(id=id_, name=name, how=how, found=found, held=not evidence, evidence=evidence)
