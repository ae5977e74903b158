"""Running benchmarks: one after the other, each in a folder of its own, with a table at the end."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
) -> Iterator[Result]:
    """
    Run benchmarks in order and yield what each found as soon as it has.

    Args:
        names: Which, of `BENCHES`.
        sizes: How much is measured.
        kept: Where generated populations are kept for the next run; None to throw them away.
        tell: Told how far the run is.

    Raises:
        ChaosError: A process that is measured did not start, answer or stop.
    """
    for name in names:
        tell(f"{name}: {BENCHES[name].summary} ...")
        with tempfile.TemporaryDirectory(prefix="ridethrough-bench-") as folder:
            setting = Setting(
                sizes=sizes, folder=Path(folder), kept=kept or Path(folder) / "kept", tell=tell
            )
            begun = time.perf_counter()
            result = BENCHES[name].run(setting)
            seconds = time.perf_counter() - begun
        yield msgspec.structs.replace(result, bench=name, seconds=seconds)


def report(
    found: Iterator[Result],
    environment: dict[str, str],
    file: Path | None,
    say: Callable[[str], None],
) -> list[Result]:
    """
    Tell results as they come, and keep them in a JSON file where one is named: a run that is broken off has told much.

    Returns all of them.
    """
    results: list[Result] = []
    say("; ".join(f"{name} {value}" for name, value in environment.items()))
    say(heading())
    for result in found:
        results.append(result)
        for line in as_lines(result):
            say(line)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(as_json(results, environment))
    failed = missed(results)
    say(f"goals missed: {'; '.join(failed) if failed else 'none'}")
    return results


def environment_now() -> dict[str, str]:
    """Describe the machine, and its load before anything is measured."""
    return describe_environment()
