"""A drill's report: verdicts, figures, and what repeats it."""

import os
import platform
import shlex
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

import msgspec

from chaos.findings import Finding
from chaos.history import History
from chaos.invariants import judge
from chaos.measures import Measures, measure

_PACKAGES = ("ridethrough", "granian", "litestar", "httpx", "msgspec", "sqlcipher3")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything that a drill reports.

    ``command`` repeats it exactly; ``samples`` are sentences that a customer's page showed, by phase.
    """

    drill: str
    title: str
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
    *,
    drill: str,
    arguments: list[str],
    seed: int,
    hold_seconds: float,
    samples: dict[str, str],
) -> Report:
    """Judge and measure a history, and add what repeats the drill."""
    findings = judge(history)
    moments = history.milestones
    return Report(
        drill=drill,
        title="Core blackout",
        passed=all(finding.held for finding in findings),
        started_at=moments.begun_at,
        ended_at=moments.ended_at or moments.begun_at,
        timezone=history.timezone,
        command=shlex.join(["./ridethrough", "drill", "run", drill, *arguments]),
        seed=seed,
        hold_seconds=hold_seconds,
        accounts=len(history.ledgers_after),
        environment=describe_environment(),
        measures=measure(history),
        findings=findings,
        samples=samples,
    )


def encode_report(report: Report) -> bytes:
    """Encode the report for people who read JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
