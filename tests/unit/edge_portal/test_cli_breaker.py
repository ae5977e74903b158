"""``edge breaker``: what operators type."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from edge_portal.__main__ import main
from edge_portal.settings import EdgePaths
from failover.breaker_order import BreakerOrder
from failover.operators import this_operator


def typed(data: Path, *words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, ["breaker", *words, "--data", str(data)])


def given(data: Path) -> BreakerOrder:
    """Read the order that stands."""
    return msgspec.json.decode(EdgePaths(data).breaker_order.read_bytes(), type=BreakerOrder)


def test_an_order_says_who_why_and_how_long(tmp_path: Path) -> None:
    """Open for a time, closed by somebody named, then left to itself."""
    done = typed(tmp_path, "open", "--reason", "new disks", "--for", "30m")
    order = given(tmp_path)
    assert order.ends_at is not None
    assert done.output == f"ordered: open until {order.ends_at.isoformat(timespec='seconds')}\n"
    assert (order.breaker, order.by, order.reason) == ("open", this_operator(), "new disks")
    assert order.for_seconds == 1800
    assert typed(tmp_path, "close", "--reason", " noise ", "--by", "ann").output == (
        "ordered: closed\n"
    )
    order = given(tmp_path)
    assert (order.breaker, order.by, order.reason) == ("closed", "ann", "noise")
    assert order.for_seconds is None
    assert typed(tmp_path, "automatic", "--reason", "done").exit_code == 0
    assert given(tmp_path).breaker == "automatic"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("7d", 604_800)]
)
def test_times_are_written_as_people_do(tmp_path: Path, text: str, seconds: int) -> None:
    """A number and a unit."""
    assert typed(tmp_path, "open", "--reason", "x", "--for", text).exit_code == 0
    assert given(tmp_path).for_seconds == seconds


@pytest.mark.parametrize("text", ["0m", "8d", "30", "m", "-5m", "1.5h", "5 m", "99999999s"])
def test_other_times_are_refused(tmp_path: Path, text: str) -> None:
    """Nothing is ordered then."""
    done = typed(tmp_path, "open", "--reason", "x", "--for", text)
    assert done.exit_code == 2
    assert "from 1s to 7d" in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["open"],
        ["open", "--reason", "  "],
        ["close", "--reason", "x" * 201],
        ["automatic", "--reason", "x", "--for", "1m"],
    ],
)
def test_an_order_without_a_reason_is_none(tmp_path: Path, words: list[str]) -> None:
    """Nor one that ends in nothing."""
    assert typed(tmp_path, *words).exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """No order is left where no edge reads it."""
    done = typed(tmp_path / "none", "open", "--reason", "x")
    assert done.exit_code == 1
    assert "no edge's data folder" in done.output
