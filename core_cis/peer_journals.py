"""Reading the journals of edges over their peer API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random, SystemRandom

import httpx
import msgspec

from cache_sync.clock import Clock, SystemClock
from core_cis.errors import EdgeUnreachable
from core_cis.reconciliation import Journal
from failover.errors import Ambiguous, NodeError, NodeRefused, NotSent, Overloaded
from failover.node_config import CORE_NODE_ID, NodeTls
from failover.node_tls import client_context, node_name, tls_reason
from failover.peer_messages import (
    NodeStanding,
    Outage,
    RecordedIntent,
    RecordedPage,
    Source,
)
from failover.pruned_sums import PrunedPart, gaps, is_within
from failover.retry import RetrySettings, retrying
from failover.retry_budget import RetryBudget
from failover.web import MSGPACK, authorization_header

PAGE_ROWS = 500
_PAGES_MAX = 100_000
MISSING_MAX = 10_000
"""So many missing ordinals are named one by one."""

_SECONDS = 10.0
# An edge replaces its agent within a second or two.
_PATIENCE = RetrySettings(attempts=4, deadline_seconds=6.0, wait_seconds=0.3)


class PeerJournals:
    """
    Asks edges, one after the other, for everything that they hold.

    Reading changes nothing, so a call that found an edge's agent just being replaced is made again.

    Args:
        node_secret: The core's, which it shows to edges.
        tls: The core's certificate, for edges with https addresses.
        transport: Another way to them than the network.
        clock: What waits and deadlines are measured on.
        rng: Jitter.
        answer_seconds: The longest an answer may take as a whole, however steadily it drips.
    """

    def __init__(
        self,
        node_secret: str,
        *,
        tls: NodeTls | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        rng: Random | None = None,
        answer_seconds: float = _SECONDS,
    ) -> None:
        self._headers = {
            "Authorization": authorization_header(CORE_NODE_ID, node_secret),
            "Accept": MSGPACK,
        }
        self._tls = tls
        self._transport = transport
        self.clock = clock or SystemClock()
        self.rng = rng or SystemRandom()
        self.answer_seconds = answer_seconds
        self.budget = RetryBudget(self.clock)

    def read(self, node_id: str, peer_url: str) -> Journal:
        """
        Read an edge's own journal and the copies that it keeps. Blocks; not for use inside an event loop.

        Raises:
            EdgeUnreachable: It does not answer, or not what it should.
        """
        return asyncio.run(self.journal(node_id, peer_url))

    async def journal(self, node_id: str, peer_url: str) -> Journal:
        """
        Read an edge's own journal and the copies that it keeps.

        Raises:
            EdgeUnreachable: It does not answer, or not what it should.
        """
        async with self._asking(node_id, peer_url) as edge:
            own, incarnation, last_ordinal, holes = await edge.read_all("own")
            outages, pruned = edge.outages, edge.pruned
            copies, again, _, _ = await edge.read_all("copies")
        if incarnation != again:
            raise EdgeUnreachable(node_id, "its journal was replaced meanwhile")
        there = {item.intent.ordinal for item in own}
        dropped = pruned.ordinals if pruned is not None else []
        missing = {*gaps(there, dropped, after=0, upto=last_ordinal, limit=MISSING_MAX)}
        # A hole in one page may have been dropped since, and is in the ranges that came with the last one.
        holes = [each for each in holes if not is_within(each, dropped)]
        return Journal(
            node_id=node_id,
            incarnation=incarnation,
            own=own,
            copies=copies,
            last_ordinal=last_ordinal,
            missing=sorted(missing | set(holes) - there),
            outages=outages,
            pruned=pruned,
            pruned_copies=edge.pruned,
        )

    async def waiting(self, node_id: str, peer_url: str) -> list[RecordedIntent]:
        """
        Read what waits for the core's decision at an edge: its own intents and the copies that it keeps.

        Raises:
            EdgeUnreachable: It does not answer, or not what it should.
        """
        async with self._asking(node_id, peer_url) as edge:
            own, *_ = await edge.read_all("own", undecided=True)
            copies, *_ = await edge.read_all("copies", undecided=True)
        return own + copies

    async def standing(self, node_id: str, peer_url: str) -> NodeStanding:
        """
        Ask an edge how it is and what waits there, once.

        Raises:
            EdgeUnreachable: It does not answer, or not what it should.
        """
        async with self._asking(node_id, peer_url) as edge:
            return await edge.standing()

    @asynccontextmanager
    async def _asking(self, node_id: str, peer_url: str) -> AsyncIterator["_Edge"]:
        async with httpx.AsyncClient(
            transport=self._transport,
            verify=client_context(self._tls) if self._tls is not None else True,
            timeout=self.answer_seconds,
            trust_env=False,
            headers=self._headers,
        ) as client:
            yield _Edge(client, node_id, peer_url.rstrip("/"), self)


class _Edge:
    """One edge that is asked page by page."""

    def __init__(
        self, client: httpx.AsyncClient, node_id: str, peer_url: str, asking: PeerJournals
    ) -> None:
        self._client = client
        self._node_id = node_id
        self._url = f"{peer_url}/peer/v1"
        self._clock = asking.clock
        self._rng = asking.rng
        self._budget = asking.budget
        self._answer_seconds = asking.answer_seconds
        self.outages: list[Outage] = []
        self.pruned: PrunedPart | None = None

    async def standing(self) -> NodeStanding:
        """Ask how it is and what waits there; a console asks again by itself."""
        try:
            answer = await self._ask("/standing", {})
            told = msgspec.json.decode(answer.content, type=NodeStanding)
        except NodeError as error:
            raise EdgeUnreachable(self._node_id, str(error)) from error
        except msgspec.DecodeError as error:
            raise EdgeUnreachable(self._node_id, "its answer cannot be read") from error
        self._check_name(told.node_id)
        return told

    def _check_name(self, told: str) -> None:
        if told != self._node_id:
            raise EdgeUnreachable(self._node_id, f"{told} answered in its place")

    async def read_all(
        self, source: Source, *, undecided: bool = False
    ) -> tuple[list[RecordedIntent], str, int, list[int]]:
        """Read a list to its end: items, incarnation, last ordinal, holes."""
        items: list[RecordedIntent] = []
        holes: list[int] = []
        incarnations: set[str] = set()
        last_ordinal = 0
        async for page in self._pages(source, undecided=undecided):
            items += page.items
            holes += page.holes
            incarnations.add(page.incarnation)
            last_ordinal = page.last_ordinal
            self.outages = page.outages
            self.pruned = page.pruned
        if len(incarnations) != 1:
            raise EdgeUnreachable(self._node_id, "its journal was replaced meanwhile")
        return items, incarnations.pop(), last_ordinal, holes

    async def _pages(self, source: Source, *, undecided: bool) -> AsyncIterator[RecordedPage]:
        after = 0
        for _ in range(_PAGES_MAX):
            page = await self._page(source, after, undecided=undecided)
            yield page
            if page.next_after is None:
                return
            if page.next_after <= after:
                raise EdgeUnreachable(self._node_id, "its list does not go on")
            after = page.next_after

    async def _page(self, source: Source, after: int, *, undecided: bool) -> RecordedPage:
        wanted: dict[str, str | int] = {"source": source, "after": after, "limit": PAGE_ROWS}
        if undecided:
            wanted["undecided"] = "true"
        try:
            answer = await retrying(
                lambda: self._ask("/intents", wanted),
                clock=self._clock,
                rng=self._rng,
                budget=self._budget,
                settings=_PATIENCE,
                errors=(NotSent, Ambiguous, Overloaded),
            )
        except NodeError as error:
            raise EdgeUnreachable(self._node_id, str(error)) from error
        try:
            if "json" in answer.headers.get("content-type", ""):
                page = msgspec.json.decode(answer.content, type=RecordedPage)
            else:
                page = msgspec.msgpack.decode(answer.content, type=RecordedPage)
        except msgspec.DecodeError as error:
            raise EdgeUnreachable(self._node_id, "its answer cannot be read") from error
        self._check_name(page.node_id)
        return page

    async def _ask(self, path: str, params: dict[str, str | int]) -> httpx.Response:
        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = await self._client.get(
                    f"{self._url}{path}",
                    params=params,
                    # Its own certificate is asked for, whatever the address.
                    extensions={"sni_hostname": node_name(self._node_id)},
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL) as error:
            raise NotSent(tls_reason(error) or type(error).__name__) from error
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise Ambiguous(tls_reason(error) or type(error).__name__) from error
        if answer.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
            raise Overloaded
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise Ambiguous(f"it answered {answer.status_code}")
        if answer.status_code != httpx.codes.OK:
            raise NodeRefused(answer.status_code)
        return answer
