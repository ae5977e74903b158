"""Reading the journals of edges over their peer API."""

from collections.abc import Iterator
from typing import Self

import httpx
import msgspec

from core_cis.errors import EdgeUnreachable
from core_cis.reconciliation import Journal
from failover.node_config import CORE_NODE_ID
from failover.peer_messages import RecordedIntent, RecordedPage, Source
from failover.web import MSGPACK, authorization_header

PAGE_ROWS = 500
_PAGES_MAX = 100_000
_SECONDS = 10.0


class PeerJournals:
    """
    Asks edges, one after the other, for everything that they hold.

    Args:
        node_secret: The core's, which it shows to edges.
        transport: Another way to them than the network.
    """

    def __init__(self, node_secret: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            transport=transport,
            timeout=_SECONDS,
            trust_env=False,
            headers={
                "Authorization": authorization_header(CORE_NODE_ID, node_secret),
                "Accept": MSGPACK,
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def read(self, node_id: str, peer_url: str) -> Journal:
        """
        Read an edge's own journal and the copies that it keeps.

        Raises:
            EdgeUnreachable: It does not answer, or not what it should.
        """
        own, incarnation, last_ordinal, holes = self._read_all(node_id, peer_url, "own")
        copies, again, _, _ = self._read_all(node_id, peer_url, "copies")
        if incarnation != again:
            raise EdgeUnreachable(node_id, "its journal was replaced meanwhile")
        there = {item.intent.ordinal for item in own}
        missing = {*range(1, last_ordinal + 1)} - there
        return Journal(
            node_id=node_id,
            incarnation=incarnation,
            own=own,
            copies=copies,
            last_ordinal=last_ordinal,
            missing=sorted(missing | set(holes) - there),
        )

    def _read_all(
        self, node_id: str, peer_url: str, source: Source
    ) -> tuple[list[RecordedIntent], str, int, list[int]]:
        items: list[RecordedIntent] = []
        holes: list[int] = []
        incarnations: set[str] = set()
        last_ordinal = 0
        for page in self._pages(node_id, peer_url, source):
            items += page.items
            holes += page.holes
            incarnations.add(page.incarnation)
            last_ordinal = page.last_ordinal
        if len(incarnations) != 1:
            raise EdgeUnreachable(node_id, "its journal was replaced meanwhile")
        return items, incarnations.pop(), last_ordinal, holes

    def _pages(self, node_id: str, peer_url: str, source: Source) -> Iterator[RecordedPage]:
        after = 0
        for _ in range(_PAGES_MAX):
            page = self._page(node_id, peer_url, source, after)
            yield page
            if page.next_after is None:
                return
            if page.next_after <= after:
                raise EdgeUnreachable(node_id, "its list does not go on")
            after = page.next_after

    def _page(self, node_id: str, peer_url: str, source: Source, after: int) -> RecordedPage:
        url = f"{peer_url.rstrip('/')}/peer/v1/intents"
        try:
            answer = self._client.get(
                url, params={"source": source, "after": after, "limit": PAGE_ROWS}
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EdgeUnreachable(node_id, type(error).__name__) from error
        if answer.status_code != httpx.codes.OK:
            raise EdgeUnreachable(node_id, f"it answered {answer.status_code}")
        try:
            if "json" in answer.headers.get("content-type", ""):
                page = msgspec.json.decode(answer.content, type=RecordedPage)
            else:
                page = msgspec.msgpack.decode(answer.content, type=RecordedPage)
        except msgspec.DecodeError as error:
            raise EdgeUnreachable(node_id, "its answer cannot be read") from error
        if page.node_id != node_id:
            raise EdgeUnreachable(node_id, f"{page.node_id} answered in its place")
        return page
