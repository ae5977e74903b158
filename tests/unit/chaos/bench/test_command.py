"""How results are told: as they come."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chaos.bench.command import report
from chaos.bench.figures import Figure, Goal, Result

MISSED = Figure(name="speed", unit="x", ours=1.0, reference=2.0, goal=Goal("at least", 0.9))


def test_what_was_found_before_a_failure_is_kept(tmp_path: Path) -> None:
    """A benchmark that fails takes none of the others along."""

    def found() -> Iterator[Result]:
        yield Result(bench="apply", figures=[MISSED])
        raise RuntimeError("the next one")

    said: list[str] = []
    file = tmp_path / "new" / "bench.json"
    with pytest.raises(RuntimeError, match="the next one"):
        report(found(), {"processors": "2"}, file, said.append)
    assert any("speed" in line and "MISSED" in line for line in said)
    assert msgspec.json.decode(file.read_bytes())["missed"] == ["apply: speed"]


def test_the_last_line_sums_the_misses_up() -> None:
    """Or says that there are none."""
    for figures, told in (([MISSED], "apply: speed"), ([], "none")):
        said: list[str] = []
        results = report(iter([Result(bench="apply", figures=figures)]), {}, None, said.append)
        assert said[-1] == f"goals missed: {told}"
        assert [result.bench for result in results] == ["apply"]
