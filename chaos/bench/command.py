"""Running benchmarks: one after the other, each in a folder of its own, with a table at the end."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from chaos.bench.catalogue import BENCHES
from chaos.bench.figures import Result, as_json, as_lines, heading, missed
from chaos.bench.setting import Setting, Sizes
from chaos.report import describe_environment


def run_benches(
    names: Sequence[str],
    sizes: Sizes,
    *,
    kept: Path | None,
    tell: Callable[[str], None],
) -> list[Result]:
    """
    Run benchmarks in order and return what they found.

    Args:
        names: Which, of `BENCHES`.
        sizes: How much is measured.
        kept: Where generated populations are kept for the next run; None to throw them away.
        tell: Told how far the run is.

    Raises:
        ChaosError: A process that is measured did not start, answer or stop.
    """
    results = []
    for name in names:
        tell(f"{name}: {BENCHES[name].summary} ...")
        with tempfile.TemporaryDirectory(prefix="ridethrough-bench-") as folder:
            setting = Setting(
                sizes=sizes, folder=Path(folder), kept=kept or Path(folder) / "kept", tell=tell
            )
            begun = time.perf_counter()
            result = BENCHES[name].run(setting)
            seconds = time.perf_counter() - begun
        results.append(msgspec.structs.replace(result, bench=name, seconds=seconds))
    return results


def write_report(
    results: Sequence[Result], environment: dict[str, str], file: Path | None
) -> list[str]:
    """Write results to a JSON file where one is named, and return the table for the terminal."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(as_json(results, environment))
    lines = ["; ".join(f"{name} {value}" for name, value in environment.items()), heading()]
    for result in results:
        lines += as_lines(result)
    failed = missed(results)
    lines.append(f"goals missed: {'; '.join(failed) if failed else 'none'}")
    return lines


def environment_now() -> dict[str, str]:
    """Describe the machine, and its load before anything is measured."""
    return describe_environment()
