"""The words of "Play an outage": what is going on, what can be done, what changed."""

from datetime import UTC, datetime

import pytest

from chaos.history import StatusSample
from chaos.play_state import BUTTONS, CoreState, EdgePanel, changes, make_panel, tell

NOW = datetime(2026, 11, 17, 15, 0, tzinfo=UTC)


def panel(name: str, mode: str, pending: int = 0) -> EdgePanel:
    """Make an edge's panel."""
    return make_panel(
        "http://127.0.0.1:1", StatusSample(at=NOW, edge=name, mode=mode, pending=pending)
    )


@pytest.mark.parametrize(
    ("core", "modes", "headline"),
    [
        ("running", ["normal", "normal"], "Everything is live."),
        ("killed", ["normal", "normal"], "The core is dead. The edges will notice."),
        (
            "killed",
            ["degraded", "normal"],
            "The core is dead. edge\N{NON-BREAKING HYPHEN}1 rides through.",
        ),
        ("frozen", ["degraded"] * 2, "The core is frozen. Both edges ride through."),
        ("cut", ["degraded"] * 2, "The core is cut off. Both edges ride through."),
        ("killed", ["degraded"] * 3, "The core is dead. All 3 edges ride through."),
        ("killed", ["degraded"] * 2 + ["normal"], "The core is dead. 2 of 3 edges ride through."),
        ("running", ["degraded"] * 2, "The core answers again. Both edges still ride through."),
        (
            "running",
            ["recovering", "normal"],
            "The core is back. edge\N{NON-BREAKING HYPHEN}1 is catching up.",
        ),
        ("running", ["recovering"] * 2, "The core is back. Both edges are catching up."),
        ("starting", ["degraded"] * 2, "The core is starting. Both edges ride through."),
        ("running", ["normal", ""], "edge\N{NON-BREAKING HYPHEN}2 gave no answer."),
    ],
)
def test_the_headline_says_what_is_going_on(
    core: CoreState, modes: list[str], headline: str
) -> None:
    """One sentence for each state of core and edges."""
    edges = [panel(f"edge-{number}", mode) for number, mode in enumerate(modes, 1)]
    assert tell(core, edges)[0] == headline


def test_the_drain_is_counted() -> None:
    """While payments are posted the page says how many are left."""
    _, lead = tell("running", [panel("edge-1", "recovering", 3), panel("edge-2", "recovering", 4)])
    assert "7 payments are being posted" in lead


def test_only_what_can_be_done_is_offered() -> None:
    """A core that is away can be brought back; one that runs can be taken away in three ways."""
    assert {action for action, _ in BUTTONS["running"]} == {"kill", "freeze", "cut"}
    for core in ("killed", "frozen", "cut"):
        assert BUTTONS[core][0][0] == "heal"
    assert [action for action, _ in BUTTONS["killed"]] == ["heal"]


def test_a_silent_edge_is_shown_as_such() -> None:
    """An edge without an answer has no mode to show."""
    silent = panel("edge-1", "")
    assert (silent.words, silent.mark) == ("No answer", "no")


def test_changes_are_noticed_once() -> None:
    """Only an edge whose mode is another than before is told, and none at the first look."""
    edges = [panel("edge-1", "degraded"), panel("edge-2", "normal")]
    assert changes({}, edges) == []
    assert changes({"edge-1": "normal", "edge-2": "normal"}, edges) == ["edge-1: Riding through"]
