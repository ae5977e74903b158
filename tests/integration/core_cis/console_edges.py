"""Edges as the core's console sees them, without a network."""

import httpx
import msgspec

from failover.intents import Intent
from failover.peer_messages import (
    Holding,
    NodeStanding,
    Outage,
    RecordedIntent,
    RecordedPage,
)
from tests.integration.core_cis.conftest import PEER_URLS

NAMES = {url: name for name, url in PEER_URLS.items()}


class Edges:
    """Edges that answer the core as their agents would."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Intent]] = {"east": [], "west": []}
        self.silent: set[str] = set()
        self.outages: list[Outage] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer how one is, or what waits there: its own, and the other's as copies."""
        name = NAMES[f"http://{request.url.host}:{request.url.port}"]
        other = {"east": "west", "west": "east"}[name]
        if name in self.silent:
            raise httpx.ConnectError("refused")
        if request.url.path == "/peer/v1/standing":
            return httpx.Response(200, content=msgspec.json.encode(self.standing(name, other)))
        own = request.url.params["source"] == "own"
        intents = self.waiting[name if own else other]
        page = RecordedPage(
            node_id=name,
            incarnation=f"{name}-journal",
            items=[
                RecordedIntent(
                    position=number,
                    source="own" if own else "copies",
                    intent=intent,
                    state="offered",
                )
                for number, intent in enumerate(intents, 1)
            ],
            last_ordinal=len(intents) if own else 0,
            outages=self.outages if own else [],
        )
        return httpx.Response(200, content=msgspec.msgpack.encode(page))

    def standing(self, name: str, other: str) -> NodeStanding:
        """Tell how an edge is."""
        own, held = self.waiting[name], self.waiting[other]
        holding = [
            Holding(
                writer=other,
                incarnation=f"{other}-journal",
                count=len(held),
                cents=sum(each.amount_cents for each in held),
                oldest_at=min(each.accepted_at for each in held),
            )
            for _ in held[:1]
        ]
        return NodeStanding(
            node_id=name,
            incarnation=f"{name}-journal",
            mode="recovering",
            reason="draining",
            breaker="closed",
            pending=len(own),
            amount_cents=sum(each.amount_cents for each in own),
            oldest_at=min((each.accepted_at for each in own), default=None),
            holdings=holding,
        )
