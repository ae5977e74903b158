"""What the page "Play an outage" shows, as figures and as words; pure."""

from datetime import datetime
from typing import Literal

import msgspec

from chaos.history import StatusSample

CoreState = Literal["running", "starting", "killed", "frozen", "cut"]
Action = Literal["kill", "freeze", "cut", "heal"]

MODE_WORDS = {"normal": "Live", "degraded": "Riding through", "recovering": "Catching up"}
MODE_MARKS = {"normal": "posted", "degraded": "held", "recovering": "part"}
BREAKER_WORDS = {
    "closed": "Closed",
    "open": "Open",
    "half_open": "Half open",
    "half-open": "Half open",
}

HAPPENED: dict[Action, str] = {
    "kill": "You killed the core (kill -9)",
    "freeze": "You froze the core (SIGSTOP)",
    "cut": "You cut the lines to the core",
    "heal": "You brought the core back",
}
BUTTONS: dict[CoreState, tuple[tuple[Action, str], ...]] = {
    "running": (("kill", "Kill the core"), ("freeze", "Freeze it"), ("cut", "Cut it off")),
    "starting": (("kill", "Kill the core"),),
    "killed": (("heal", "Start the core again"),),
    "frozen": (("heal", "Thaw the core"), ("kill", "Kill it")),
    "cut": (("heal", "Mend the lines"), ("kill", "Kill the core too")),
}
_CORE_WORDS: dict[CoreState, str] = {
    "running": "The core is running.",
    "starting": "The core is starting.",
    "killed": "The core is dead.",
    "frozen": "The core is frozen.",
    "cut": "The core is cut off.",
}


class EdgePanel(msgspec.Struct, frozen=True, kw_only=True):
    """One edge as it says it is now; ``mode`` is empty when it does not answer."""

    name: str
    url: str
    mode: str
    words: str
    mark: str
    reason: str
    as_of: datetime | None
    age_seconds: float | None
    pending: int | None
    pending_cents: int | None
    oldest_seconds: float | None
    breaker: str


class Event(msgspec.Struct, frozen=True):
    """Something that happened, for the page's trail."""

    at: datetime
    words: str


class PlayState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page shows."""

    core: CoreState
    headline: str
    lead: str
    edges: list[EdgePanel]
    events: list[Event]


def make_panel(url: str, sample: StatusSample) -> EdgePanel:
    """Put one edge's status into words."""
    return EdgePanel(
        name=sample.edge,
        url=url,
        mode=sample.mode,
        words=MODE_WORDS.get(sample.mode, "No answer"),
        mark=MODE_MARKS.get(sample.mode, "no"),
        reason=sample.reason.replace("_", " "),
        as_of=sample.as_of,
        age_seconds=sample.lag_seconds,
        pending=sample.pending,
        pending_cents=sample.amount_cents,
        oldest_seconds=sample.oldest_seconds,
        breaker=BREAKER_WORDS.get(sample.breaker, sample.breaker or "Not known"),
    )


def _who(names: list[str], edges: list[EdgePanel]) -> tuple[str, str]:
    """Name some of the edges, with the verb's ending for them: ("Both edges", "") or ("edge-1", "s")."""
    if len(names) == 1:
        # A name is not broken at its hyphen.
        return names[0].replace("-", "\N{NON-BREAKING HYPHEN}"), "s"
    if len(names) == len(edges):
        return "Both edges" if len(edges) == 2 else f"All {len(edges)} edges", ""  # noqa: PLR2004 - both
    return f"{len(names)} of {len(edges)} edges", ""


def tell(core: CoreState, edges: list[EdgePanel]) -> tuple[str, str]:
    """Say in two sentences what is going on and what a visitor can do now."""
    riding = [edge.name for edge in edges if edge.mode == "degraded"]
    catching = [edge.name for edge in edges if edge.mode == "recovering"]
    silent = [edge.name for edge in edges if not edge.mode]
    waiting = sum(edge.pending or 0 for edge in edges)
    if silent:
        who, _ = _who(silent, edges)
        return f"{who} gave no answer.", "Customers can go on at any other edge."
    if core == "running" and riding:
        who, ending = _who(riding, edges)
        return (
            f"The core answers again. {who} still ride{ending} through.",
            "The edges test the line by themselves and then catch up.",
        )
    if core != "running":
        who, ending = _who(riding, edges)
        through = f"{who} ride{ending} through." if riding else "The edges will notice."
        return (
            f"{_CORE_WORDS[core]} {through}",
            "Open an edge, sign in, read a bill and pay it: it works, and it says how old it is.",
        )
    if catching:
        who, ending = _who(catching, edges)
        verb = "is" if ending else "are"
        posting = f" {waiting} payments are being posted." if waiting else ""
        return (
            f"The core is back. {who} {verb} catching up.",
            f"Nothing was lost.{posting} An edge is called live again after a quiet minute at most.",
        )
    return (
        "Everything is live.",
        "Take the core away and watch: the edges notice, say so, and go on serving their customers.",
    )


def changes(before: dict[str, str], edges: list[EdgePanel]) -> list[str]:
    """Say which edges changed their mode since ``before``."""
    return [
        f"{edge.name}: {edge.words}"
        for edge in edges
        if edge.name in before and before[edge.name] != edge.mode
    ]
