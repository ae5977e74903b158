"""The fleet in the terminal: what is drawn, and which changes are worth a line."""

from datetime import UTC, datetime

from rich.console import Console

from chaos.fleet_view import EdgeSight, FleetSight, show
from chaos.history import StatusSample
from chaos.play_state import make_panel

NOW = datetime(2026, 11, 17, 15, 0, tzinfo=UTC)


def edge(name: str, mode: str = "normal", *faults: str, pending: int = 0) -> EdgeSight:
    """Look at an edge."""
    sample = StatusSample(
        at=NOW,
        edge=name,
        mode=mode,
        reason="core_silent" if mode == "degraded" else "",
        lag_seconds=95.0 if mode == "degraded" else 0.4,
        pending=pending,
        amount_cents=pending * 1250,
        oldest_seconds=30.0,
        breaker="open" if mode == "degraded" else "closed",
    )
    return EdgeSight(make_panel("http://127.0.0.1:1", sample), faults)


def sight(*edges: EdgeSight, core: bool = True) -> FleetSight:
    """Look at a fleet."""
    return FleetSight(NOW, core, list(edges))


def drawn(seen: FleetSight) -> str:
    """Return what a terminal of 120 columns shows."""
    console = Console(width=120, record=True)
    console.print(show(seen))
    return console.export_text()


def test_everything_an_operator_asks_first_is_there() -> None:
    """Mode and its reason, age, queue with its money, breaker, faults and how long they last."""
    text = drawn(
        sight(
            edge("edge-1"),
            edge("edge-2", "degraded", "core: cut, heals in 12 s", pending=3),
            core=False,
        )
    )
    assert "does not answer" in text
    (first,) = [line for line in text.splitlines() if "edge-1" in line]
    (second,) = [line for line in text.splitlines() if "edge-2" in line]
    assert "Live" in first
    assert "0 s ago" in first
    assert "Riding through" in text
    for words in ("2 min ago", "3", "$37.50", "30 s", "Open", "core: cut"):
        assert words in second


def test_an_edge_that_does_not_answer_is_named() -> None:
    """It has a row, without figures."""
    silent = EdgeSight(make_panel("http://127.0.0.1:1", StatusSample(at=NOW, edge="edge-1")), ())
    text = drawn(sight(silent))
    assert "No answer" in text
    assert "not known" in text


def test_only_what_happened_is_told() -> None:
    """Ages, queues and the rest of a fault's time change all the time: they are no news."""
    before = sight(edge("edge-1"), edge("edge-2"))
    assert len(before.changes_since(None)) == 3
    assert sight(edge("edge-1", pending=4), edge("edge-2")).changes_since(before) == []
    cut = sight(edge("edge-1", "normal", "core: cut, heals in 12 s"), edge("edge-2"))
    (line,) = cut.changes_since(before)
    assert line.startswith("edge-1: Live")
    assert "core: cut" in line
    later = sight(edge("edge-1", "normal", "core: cut, heals in 11 s"), edge("edge-2"))
    assert later.changes_since(cut) == []
    dead = sight(edge("edge-1", "degraded"), edge("edge-2"), core=False)
    assert [line.partition(":")[0] for line in dead.changes_since(before)] == ["core", "edge-1"]
