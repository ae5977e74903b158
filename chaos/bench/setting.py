"""What a benchmark runs with: how large, where its files lie, whom it tells how far it is."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from chaos.bench.figures import Result


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much is measured. Seconds are of one measurement, of which a benchmark makes several.

    ``accounts`` are of the generated population (`bootstrap`), ``fleet_accounts`` of the fleets that are started.
    A day's hour is so many ``hour_payments`` and ``hour_reads``.
    ``queued`` payments drain while customers make ``payment_rate`` a second, counted ``window_seconds`` at a time.
    """

    accounts: int = 1_000_000
    fleet_accounts: int = 200
    apply_accounts: int = 60_000
    seconds: float = 10.0
    outage_seconds: float = 12.0
    rate: int = 500
    commits_a_second: int = 100
    followers: int = 50
    batches: int = 40
    queued: int = 50_000
    quiet_seconds: float = 40.0
    window_seconds: float = 5.0
    payment_rate: int = 20
    hour_payments: int = 800
    hour_reads: int = 2_500


QUICK = Sizes(
    accounts=200,
    fleet_accounts=6,
    apply_accounts=100,
    seconds=0.5,
    outage_seconds=1.0,
    rate=50,
    commits_a_second=20,
    followers=3,
    batches=2,
    queued=300,
    quiet_seconds=2.0,
    window_seconds=1.0,
    payment_rate=10,
    hour_payments=4,
    hour_reads=8,
)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """
    One run's setting.

    ``folder`` is empty and thrown away at the end; ``kept`` keeps what takes long to make for the next run.
    """

    sizes: Sizes
    folder: Path
    kept: Path
    tell: Callable[[str], None]

    def part(self, name: str) -> Path:
        """Make a folder of its own for a part of the run."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path


Bench = Callable[[Setting], Result]


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds a piece of work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
