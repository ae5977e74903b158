"""What a benchmark found: figures, each beside what it is compared with and the goal it has. Pure."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

Sense = Literal["at least", "at most"]


class Goal(msgspec.Struct, frozen=True):
    """
    What a figure should be.

    ``of`` says whether the bound is on the ratio of ours to the reference, or on our figure alone.
    """

    sense: Sense
    bound: float
    of: Literal["ratio", "figure"] = "ratio"

    def __str__(self) -> str:
        sign = "≥" if self.sense == "at least" else "≤"
        return f"{sign} {self.bound:g}{' x' if self.of == 'ratio' else ''}"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """
    One measurement: ours, in ``unit``, and what it is ``compared_with``.

    Without a goal it is context: it explains another figure and is neither met nor missed.
    """

    name: str
    unit: str
    ours: float
    reference: float | None = None
    compared_with: str = ""
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        """Ours by the reference; None where there is nothing to divide by."""
        return self.ours / self.reference if self.reference else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one. What cannot be told is not met."""
        if self.goal is None:
            return None
        value = self.ratio if self.goal.of == "ratio" else self.ours
        if value is None:
            return False
        at_least = self.goal.sense == "at least"
        return value >= self.goal.bound if at_least else value <= self.goal.bound


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one benchmark found.

    ``not_run`` names what could not be measured here and why; ``notes`` say how it was measured, for people.
    """

    bench: str
    figures: list[Figure]
    seconds: float = 0.0
    notes: list[str] = []
    not_run: list[str] = []


def missed(results: Sequence[Result]) -> list[str]:
    """Name the goals that were missed."""
    return [
        f"{result.bench}: {figure.name}"
        for result in results
        for figure in result.figures
        if figure.met is False
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` (0 to 1) of the values do not exceed; 0.0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered), max(1, math.ceil(share * len(ordered)))) - 1]


def as_json(results: Sequence[Result], environment: dict[str, str]) -> bytes:
    """Encode results for programs, with the machine that they are of."""
    document: dict[str, Any] = {
        "environment": environment,
        "results": [
            {
                **msgspec.to_builtins(result),
                "figures": [
                    {
                        **msgspec.to_builtins(figure),
                        "ratio": figure.ratio,
                        "met": figure.met,
                    }
                    for figure in result.figures
                ],
            }
            for result in results
        ],
        "missed": missed(results),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def as_lines(result: Result) -> list[str]:
    """Write a result as lines of a table for a terminal."""
    lines = [f"{result.bench} ({result.seconds:.0f} s)"]
    lines += [f"  {_line(figure)}" for figure in result.figures]
    lines += [f"  {note}" for note in result.notes]
    lines += [f"  not run: {what}" for what in result.not_run]
    return lines


def heading() -> str:
    """Write the names of the columns of `as_lines`."""
    columns = f"{'':<58} {'ours':>11} {'reference':>11} {'':<9} {'ratio':>7}  goal"
    return f"  {columns}"


def _line(figure: Figure) -> str:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    reference = "" if figure.reference is None else _number(figure.reference)
    told = {True: "met", False: "MISSED", None: ""}[figure.met]
    goal = "" if figure.goal is None else f"{figure.goal!s:<9} {told}"
    against = f"  ({figure.compared_with})" if figure.compared_with else ""
    columns = f"{figure.name:<58} {_number(figure.ours):>11} {reference:>11} {figure.unit:<9}"
    return f"{columns} {ratio:>7}  {goal}{against}".rstrip()


def _number(value: float) -> str:
    """Write about three significant digits."""
    if value and abs(value) < 100:  # noqa: PLR2004 - from here on decimals say nothing
        return f"{value:.3g}"
    return f"{value:,.0f}"
