"""
A running fleet in the terminal: mode, age, queue and breaker of each edge, and what is broken between them, live.

Where the output is no terminal every change is a line of its own instead, so that it can be kept beside a drill's
report.
"""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Self

import httpx
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chaos.customers import EdgeClient, now
from chaos.errors import FleetError
from chaos.faults import LinkState
from chaos.fleet_file import EdgeEntry, FleetFile, read_fleet_file
from chaos.history import History, Milestones
from chaos.money_invariants import dollars
from chaos.play_state import EdgePanel, make_panel
from chaos.watch import Watch

EVERY_SECONDS: Final = 0.5
_CORE_SECONDS_MAX: Final = 1.0
_STYLES: Final = {"normal": "green", "recovering": "yellow", "degraded": "bold yellow"}
_MINUTE_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3600


class EdgeSight(NamedTuple):
    """An edge as it says it is, and the faults that lie on its lines, with how long each still lasts."""

    panel: EdgePanel
    faults: tuple[str, ...]


class FleetSight(NamedTuple):
    """A look at the whole fleet."""

    at: datetime
    core_answers: bool
    edges: list[EdgeSight]

    def changes_since(self, before: "FleetSight | None") -> list[str]:
        """Say what is different from an earlier look: the core, modes, breakers and faults, not the figures."""
        was = {} if before is None else {sight.panel.name: sight for sight in before.edges}
        said = []
        if before is None or before.core_answers != self.core_answers:
            said.append(f"core: {_core_words(answers=self.core_answers)}")
        for sight in self.edges:
            old = was.get(sight.panel.name)
            if old is None or _steady(old) != _steady(sight):
                said.append(f"{sight.panel.name}: {_in_a_line(sight)}")
        return said


class FleetWatch:
    """Looks at a fleet that others have started; an async context manager."""

    def __init__(self, fleet: FleetFile) -> None:
        self._fleet = fleet
        self._edges = [EdgeClient(edge.name, edge.url) for edge in fleet.edges]
        self._core = EdgeClient("core", fleet.core.url)
        self._samples = History(edges=[], timezone="UTC", milestones=Milestones(begun_at=now()))
        self._watch = Watch(self._edges, self._samples, fleet.core.operator_token)
        self._proxies = httpx.AsyncClient(timeout=_CORE_SECONDS_MAX, trust_env=False)
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        for client in (*self._edges, self._core):
            await self._stack.enter_async_context(client)
        await self._stack.enter_async_context(self._proxies)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def look(self) -> FleetSight:
        """Ask everybody at once; who does not answer within a second is shown so."""
        core, edges = await asyncio.gather(
            self._core_answers(),
            asyncio.gather(*(self._look_at(entry) for entry in self._fleet.edges)),
        )
        self._samples.samples.clear()
        return FleetSight(datetime.now(UTC), core, edges)

    async def _core_answers(self) -> bool:
        answer = await self._core.ask("GET", "/readyz", seconds=_CORE_SECONDS_MAX)
        return answer.ok

    async def _look_at(self, entry: EdgeEntry) -> EdgeSight:
        client = next(edge for edge in self._edges if edge.name == entry.name)
        sample, *faults = await asyncio.gather(
            self._watch.look(client),
            self._fault("core", entry.proxy),
            self._fault("siblings", entry.peer_proxy),
        )
        return EdgeSight(make_panel(entry.url, sample), tuple(filter(None, faults)))

    async def _fault(self, line: str, proxy: str) -> str:
        try:
            answer = await self._proxies.get(f"{proxy}/fault")
            state = msgspec.json.decode(answer.content, type=LinkState)
        except (httpx.HTTPError, msgspec.DecodeError):
            return ""
        if state.fault is None:
            return ""
        kind = type(state.fault).__struct_config__.tag
        return f"{line}: {kind}, heals in {state.remaining_seconds:.0f} s"


def watch_fleet(fleet_file: Path, console: Console, *, once: bool) -> None:
    """
    Show a fleet until Ctrl-C, or look at it once.

    Raises:
        FleetError: There is no such file, or nobody of that fleet answers.
    """
    fleet = read_fleet_file(fleet_file)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch_fleet(fleet, fleet_file, console, once=once))


async def _watch_fleet(fleet: FleetFile, path: Path, console: Console, *, once: bool) -> None:
    async with FleetWatch(fleet) as watch:
        sight = await watch.look()
        if not sight.core_answers and not any(edge.panel.mode for edge in sight.edges):
            raise FleetError(f"nobody of the fleet of {path} answers; is it running?")
        if once:
            console.print(show(sight))
        elif console.is_terminal:
            await _draw(watch, sight, console)
        else:
            await _tell(watch, sight, console)


async def _draw(watch: FleetWatch, sight: FleetSight, console: Console) -> None:
    with Live(show(sight), console=console, auto_refresh=False, screen=False) as live:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            live.update(show(await watch.look()), refresh=True)


async def _tell(watch: FleetWatch, sight: FleetSight, console: Console) -> None:
    before = None
    while True:
        for words in sight.changes_since(before):
            console.print(f"{sight.at:%H:%M:%S}Z  {words}", soft_wrap=True, highlight=False)
        before = sight
        await asyncio.sleep(EVERY_SECONDS)
        sight = await watch.look()


def show(sight: FleetSight) -> Group:
    """Draw a look at the fleet."""
    core = Text("core   ", style="bold")
    core.append(
        _core_words(answers=sight.core_answers),
        style="green" if sight.core_answers else "bold red",
    )
    table = Table(expand=False)
    for name in ("edge", "mode", "as of", "queue", "money", "oldest", "breaker", "faults"):
        table.add_column(name, justify="right" if name in {"queue", "money", "oldest"} else "left")
    for panel, faults in sight.edges:
        table.add_row(
            panel.name,
            Text(_mode_words(panel), style=_STYLES.get(panel.mode, "bold red")),
            _age(panel.age_seconds),
            "" if panel.pending is None else str(panel.pending),
            "" if panel.pending_cents is None else dollars(panel.pending_cents),
            _span(panel.oldest_seconds) if panel.pending else "",
            panel.breaker,
            Text("\n".join(faults), style="red"),
        )
    return Group(Text(f"{sight.at:%Y-%m-%d %H:%M:%S} UTC"), core, table)


def _core_words(*, answers: bool) -> str:
    return "answers" if answers else "does not answer"


def _mode_words(panel: EdgePanel) -> str:
    return f"{panel.words} ({panel.reason})" if panel.reason else panel.words


def _steady(sight: EdgeSight) -> tuple[object, ...]:
    # How long a fault still lasts changes by itself.
    kinds = tuple(fault.partition(",")[0] for fault in sight.faults)
    return sight.panel.mode, sight.panel.reason, sight.panel.breaker, kinds


def _in_a_line(sight: EdgeSight) -> str:
    panel = sight.panel
    parts = [_mode_words(panel)]
    if panel.mode:
        parts += [f"as of {_age(panel.age_seconds)}", f"{panel.pending or 0} waiting"]
        parts.append(f"breaker {panel.breaker.lower()}")
    return "; ".join([*parts, *sight.faults])


def _age(seconds: float | None) -> str:
    return "not known" if seconds is None else f"{_span(seconds)} ago"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < _MINUTE_SECONDS:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_SECONDS:
        return f"{seconds / _MINUTE_SECONDS:.0f} min"
    return f"{seconds / _HOUR_SECONDS:.1f} h"
