"""
"Play an outage": a page of the demo that takes the core away and shows what the edges make of it.

Loopback only, and behind a random token in its address: whoever has the address may break the demo.
"""

import asyncio
import contextlib
import secrets
import shlex
import signal
from collections import deque
from collections.abc import Awaitable
from importlib.resources import files
from typing import Any, get_args
from zoneinfo import ZoneInfo

import httpx
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from markupsafe import Markup

from chaos.customers import EdgeClient, now
from chaos.fleet import Fleet
from chaos.history import History, Milestones
from chaos.money_invariants import dollars
from chaos.play_state import (
    BUTTONS,
    HAPPENED,
    Action,
    CoreState,
    Event,
    PlayState,
    changes,
    make_panel,
    tell,
)
from chaos.proxy_control import HOST
from chaos.report_page import Clock, in_words, page_environment, stylesheet
from chaos.watch import Watch
from failover.web import Problem, exception_handlers, read_body

CUT_SECONDS = 3600.0
EVENTS_MAX = 12
LOGINS_SHOWN = 3
_POLL_SECONDS = 0.4
_CONTROL_SECONDS = 5.0
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
        "img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}


class PlayPage:
    """The page's state and what its buttons do; all of it on the main thread, which the processes are tied to."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._token = secrets.token_urlsafe(12)
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._modes: dict[str, str] = {}
        self._core_answers = True
        self._cut = False
        self._watch: Watch | None = None
        self._acting = asyncio.Lock()

    @property
    def origin(self) -> str:
        """The page's own origin."""
        return f"http://{HOST}:{self._fleet.plan.play_port}"

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"{self.origin}/play/{self._token}"

    def check(self, token: str, request: Request[Any, Any, Any]) -> None:
        """Let in who knows the address, and no page of another origin. Raises `Problem`."""
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            raise Problem("not_found", status=404, title="Not Found")
        if request.headers.get("origin", self.origin) != self.origin:
            raise Problem("foreign_page", status=403, title="Another page may not do this")

    async def watch(self, serving: Awaitable[None]) -> None:
        """Look at the fleet for as long as the page is served."""
        samples = History(edges=[], timezone="UTC", milestones=Milestones(begun_at=now()))
        async with contextlib.AsyncExitStack() as stack:
            edges = [
                await stack.enter_async_context(EdgeClient(name, self._fleet.edge_url(name)))
                for name in self._fleet.edges
            ]
            self._watch = Watch(edges, samples, self._fleet.operator_token)
            self._watch.start()
            core = await stack.enter_async_context(EdgeClient("core", self._fleet.core_url))
            looking = asyncio.ensure_future(self._look_on(core, samples))
            try:
                await serving
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
                await self._watch.stop()

    async def _look_on(self, core: EdgeClient, samples: History) -> None:
        while True:
            answer = await core.ask("GET", "/readyz", seconds=1.0)
            self._core_answers = answer.ok
            samples.samples.clear()
            state = self.state()
            for words in changes(self._modes, state.edges):
                self._events.appendleft(Event(now(), words))
            self._modes = {edge.name: edge.mode for edge in state.edges}
            await asyncio.sleep(_POLL_SECONDS)

    def core_state(self) -> CoreState:
        """Tell what is the matter with the core."""
        core = self._fleet.core
        if not core.alive and not self._core_answers:
            return "killed"
        if core.frozen:
            return "frozen"
        if self._cut:
            return "cut"
        return "running" if self._core_answers else "starting"

    def state(self) -> PlayState:
        """Return what the page shows now."""
        latest = self._watch.latest if self._watch is not None else {}
        edges = [
            make_panel(self._fleet.edge_url(name), latest[name])
            for name in self._fleet.edges
            if name in latest
        ]
        core = self.core_state()
        headline, lead = tell(core, edges)
        return PlayState(
            core=core, headline=headline, lead=lead, edges=edges, events=list(self._events)
        )

    async def act(self, action: Action) -> None:
        """Do what a button says. Raises `Problem` when it cannot be done."""
        async with self._acting:
            core = self._fleet.core
            if action in {"kill", "freeze"} and not core.alive:
                raise Problem("no_core", status=409, title="The core is not running here")
            match action:
                case "kill":
                    core.kill()
                case "freeze":
                    core.send(signal.SIGSTOP)
                case "cut":
                    await self._order("POST", {"kind": "cut", "ttl_seconds": CUT_SECONDS})
                    self._cut = True
                case "heal":
                    await self._order("DELETE", None)
                    self._cut = False
                    core.send(signal.SIGCONT)
                    if not self._core_answers or core.alive:
                        core.start()
                    # A drill may have taken edges away too.
                    for edge in self._fleet.edges.values():
                        edge.send(signal.SIGCONT)
                        edge.start()
            self._core_answers = self._core_answers and action not in {"kill", "freeze"}
            self._fleet.write_file()
            self._events.appendleft(Event(now(), HAPPENED[action]))

    async def _order(self, method: str, fault: dict[str, object] | None) -> None:
        async with httpx.AsyncClient(timeout=_CONTROL_SECONDS, trust_env=False) as client:
            for name in self._fleet.edges:
                url = f"{self._fleet.core_proxy(name)}/fault"
                try:
                    answer = await client.request(method, url, json=fault)
                except httpx.HTTPError as error:
                    raise Problem(
                        "no_proxy", status=502, title="The fault proxies do not answer"
                    ) from error
                if answer.is_error:
                    raise Problem(
                        "no_fault",
                        status=502,
                        title="The fault proxies refused",
                        detail=answer.text,
                    )

    def render(self, template: str) -> str:
        """Render the page, or only the part of it that changes."""
        state = self.state()
        return (
            page_environment()
            .get_template(template)
            .render(
                base=f"/play/{self._token}",
                buttons=BUTTONS[state.core],
                clock=Clock(ZoneInfo("UTC")),
                command=f"./ridethrough drill run core-blackout --fleet {shlex.quote(str(self._fleet.file))}",
                dollars=dollars,
                in_words=in_words,
                logins=self._fleet.customers[:LOGINS_SHOWN],
                state=state,
                style=Markup(stylesheet()),  # noqa: S704 - our own files
            )
        )


def create_play_app(page: PlayPage) -> Litestar:
    """Build the page's application."""

    @get("/play/{token:str}", media_type=MediaType.HTML, sync_to_thread=False)
    def show(request: Request[Any, Any, Any], token: FromPath[str]) -> Response[str]:
        page.check(token, request)
        return Response(page.render("play.html"), media_type=MediaType.HTML, headers=_HEADERS)

    @get("/play/{token:str}/now", media_type=MediaType.HTML, sync_to_thread=False)
    def show_now(request: Request[Any, Any, Any], token: FromPath[str]) -> Response[str]:
        page.check(token, request)
        return Response(page.render("play_now.html"), media_type=MediaType.HTML, headers=_HEADERS)

    @get("/play/{token:str}/state", sync_to_thread=False)
    def show_state(request: Request[Any, Any, Any], token: FromPath[str]) -> Response[PlayState]:
        page.check(token, request)
        return Response(page.state(), headers=_HEADERS)

    @get("/play/{token:str}/play.js", sync_to_thread=False)
    def show_script(request: Request[Any, Any, Any], token: FromPath[str]) -> Response[str]:
        page.check(token, request)
        script = files("chaos").joinpath("static/play.js").read_text(encoding="utf-8")
        return Response(script, media_type="text/javascript", headers=_HEADERS)

    @post("/play/{token:str}/core", status_code=200)
    async def act(
        request: Request[Any, Any, Any], token: FromPath[str]
    ) -> Response[PlayState] | Redirect:
        page.check(token, request)
        body = httpx.QueryParams((await read_body(request)).decode("utf-8", "replace"))
        action = body.get("action", "")
        if action not in get_args(Action):
            raise Problem("no_such_action", status=422, title="There is no such button")
        await page.act(action)
        if "application/json" in request.headers.get("accept", ""):
            return Response(page.state(), headers=_HEADERS)
        return Redirect(f"/play/{token}", status_code=303)

    return Litestar(
        [show, show_now, show_state, show_script, act],
        exception_handlers=exception_handlers,
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )
