"""A drill's report: verdicts, figures, and what repeats it."""

import os
import platform
import shlex
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

import msgspec

from chaos.drills.drill import Drill, Target
from chaos.findings import Finding, conclude
from chaos.history import FaultFacts, History
from chaos.invariants import judge
from chaos.measures import Measures, measure

_PACKAGES = ("ridethrough", "granian", "litestar", "httpx", "msgspec", "sqlcipher3")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything that a drill reports.

    ``command`` repeats it exactly; ``samples`` are sentences that a customer's page showed, by phase. ``targets`` are
    what the drill touched, ``aborted`` why it ended before its time, if it did.
    """

    drill: str
    title: str
    purpose: str
    did: str
    customers: str
    recovery: str
    fault: FaultFacts
    targets: list[Target]
    aborted: str
    passed: bool
    started_at: datetime
    ended_at: datetime
    timezone: str
    command: str
    seed: int
    hold_seconds: float
    accounts: int
    environment: dict[str, str]
    measures: Measures
    findings: list[Finding]
    samples: dict[str, str] = {}


def describe_environment() -> dict[str, str]:
    """Tell what the drill ran on; no names of machines or people."""
    described = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "load": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }
    for package in _PACKAGES:
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            continue
    return described


def make_report(
    history: History,
    drill: Drill,
    *,
    arguments: list[str],
    seed: int,
    hold_seconds: float,
    samples: dict[str, str],
    targets: list[Target],
    aborted: str = "",
) -> Report:
    """Judge and measure a history, and add what repeats the drill."""
    findings = [] if not aborted else [_ended_early(aborted)]
    findings += judge(history, drill.invariants)
    moments = history.milestones
    return Report(
        drill=drill.name,
        title=drill.title,
        purpose=drill.purpose,
        did=drill.did,
        customers=drill.customers,
        recovery=drill.recovery,
        fault=history.fault,
        targets=targets,
        aborted=aborted,
        passed=all(finding.held for finding in findings),
        started_at=moments.begun_at,
        ended_at=moments.ended_at or moments.begun_at,
        timezone=history.timezone,
        command=shlex.join(["./ridethrough", "drill", "run", drill.name, *arguments]),
        seed=seed,
        hold_seconds=hold_seconds,
        accounts=len(history.ledgers_after),
        environment=describe_environment(),
        measures=measure(history),
        findings=findings,
        samples=samples,
    )


def _ended_early(why: str) -> Finding:
    return conclude(
        "not-aborted",
        "The drill stayed within its bounds",
        how="Conditions watched all the while, on which everything is healed at once",
        found="ended early",
        violations=[why],
    )


def encode_report(report: Report) -> bytes:
    """Encode the report for people who read JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
