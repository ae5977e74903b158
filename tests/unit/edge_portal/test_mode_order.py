"""An operator's word on the mode."""

from pathlib import Path

from click.testing import CliRunner

from edge_portal.__main__ import main
from edge_portal.mode_order import ModeOrder, give_order, read_order
from edge_portal.settings import EdgePaths


def test_without_an_order_the_node_decides(tmp_path: Path) -> None:
    """Nothing was said: automatic."""
    assert read_order(tmp_path / "mode-order.json") == ModeOrder("automatic")


def test_an_order_stands_until_the_next(tmp_path: Path) -> None:
    """The file outlives whoever wrote it."""
    path = tmp_path / "mode-order.json"
    for order in (ModeOrder("degraded"), ModeOrder("automatic")):
        give_order(path, order)
        assert read_order(path) == order
    assert [found.name for found in tmp_path.iterdir()] == ["mode-order.json"]


def test_what_cannot_be_read_promises_less(tmp_path: Path) -> None:
    """A torn order is still an order: degraded."""
    path = tmp_path / "mode-order.json"
    path.write_text('{"mode": "norm')
    assert read_order(path) == ModeOrder("degraded")


def test_the_command_gives_the_order(tmp_path: Path) -> None:
    """And refuses a folder that is not there, or an order that it does not know."""
    given = CliRunner().invoke(main, ["mode", "--data", str(tmp_path), "degraded"])
    assert (given.exit_code, given.output) == (0, "ordered: degraded\n")
    assert read_order(EdgePaths(tmp_path).mode_order) == ModeOrder("degraded")
    for words in (["--data", str(tmp_path / "none"), "degraded"], ["--data", str(tmp_path), "no"]):
        assert CliRunner().invoke(main, ["mode", *words]).exit_code != 0
