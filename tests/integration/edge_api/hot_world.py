"""A worker that keeps answers, over a real snapshot that follows a core's documents."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec

from cache_sync.clock import Clock
from cache_sync.documents import ACCOUNT, CREDENTIAL, STATEMENT, Body, CredentialBody, encode_body
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frames import Frame
from cache_sync.publication import Change, Name
from cache_sync.replica_reader import ReplicaReader
from chaos.bench.core_file import CoreFile
from edge_portal.app import create_app
from edge_portal.form_keys import FormKeys
from edge_portal.held_snapshots import HeldSnapshots
from edge_portal.node_status import NodeStatus
from edge_portal.pages.site import Site
from edge_portal.portal import Portal
from edge_portal.settings import EdgePaths
from edge_portal.snapshot_watch import Moment, SnapshotWatch
from edge_portal.views import AccountView, ModeView
from failover.marks import Marker, pack_marks
from failover.mode_lease import LeaseReader
from failover.noted_file import put_whole
from failover.sibling_news import NewsReader, NodeNews, SiblingNews
from tests.unit.edge_portal.edge_world import (
    BANK,
    FORM_KEY,
    HELD,
    MINE,
    OTHERS,
    OTHERS_BANK,
    OTHERS_STATEMENT,
    EdgeWorld,
    MemoryAgent,
    MemoryJournal,
    account,
    desk,
    mode,
    statement,
)

ACCOUNT_PATH = "/api/v1/account"
BILL_PATH = f"/bills/{HELD}"
FLEET_KEY = b"a key of the fleet"
KEYS = {MINE: "credential-1", OTHERS: "credential-2"}


class VersionedJournal(MemoryJournal):
    """Receipts in memory, with a number that moves with them."""

    def version(self) -> tuple[int, int] | None:
        """Tell how many there are."""
        return (1, len(self.rows))


class CountingPortal(Portal):
    """Counts how often the framework read an account."""

    viewed = 0

    def view(self, *arguments: Any, **named: Any) -> AccountView:
        """Count, and read."""
        self.viewed += 1
        return super().view(*arguments, **named)


class CountingWatch(SnapshotWatch):
    """Counts how often was looked where everything is."""

    looks = 0

    def look(self) -> Moment:
        """Count, and look."""
        self.looks += 1
        return super().look()


class _Feed:
    """Asks a core file in this process."""

    def __init__(self, core: CoreFile) -> None:
        self._core = core

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask."""
        del wait
        return await self._core.feed.page(after=after, epoch=epoch, limit=limit)


class HotWorld:
    """A real snapshot that follows a core's documents, and a worker's application over it."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.core = CoreFile(folder / "core.db")
        snapshots = folder / "snapshot"
        self.follower = Follower(
            _Feed(self.core),
            snapshots,
            shard="0",
            clock=clock,
            rng=Random(1),
            settings=FollowerSettings(wait_seconds=0.0, heartbeat_seconds_min=0.0),
        )
        self.mode_now = mode()
        self.clock = clock
        self.news = folder / "sibling-news"
        self.siblings = NewsReader(self.news, fleet_key=FLEET_KEY, clock=clock)
        self.hear(clock)
        self.journal = VersionedJournal()
        memory = EdgeWorld()
        self.tokens, self.sign_in = memory.tokens, memory.sign_in
        reader = ReplicaReader(snapshots, clock=clock)
        self.portal = CountingPortal(
            snapshot=HeldSnapshots({"0": reader}, 1),
            journal=self.journal,
            mode=self.mode,
            siblings=self.siblings,
            agent=memory.agent,
            archive=memory.archive,
            sign_in=self.sign_in,
            tokens=self.tokens,
            form_keys=FormKeys(FORM_KEY, Random(1).randbytes),
            new_session_id=lambda: "session-1",
        )
        paths = EdgePaths(folder)
        node = NodeStatus(
            "edge-1",
            paths,
            lease=LeaseReader(paths.lease, clock),
            snapshot=HeldSnapshots({"0": reader}, 1),
            clock=clock,
        )
        site = Site(
            utility_name="Northwater",
            utility_phone="",
            timezone="UTC",
            currency="USD",
            retention_months=24,
        )
        self.watch = CountingWatch(reader, self.journal, clock)

        def make(watch: SnapshotWatch | None) -> Any:
            return create_app(
                self.portal,
                node,
                site,
                secure_cookies=False,
                clock=clock,
                receipts=desk(self.journal, MemoryAgent()),
                watch=watch,
            )

        self.app = make(self.watch)
        self.framework = make(None)

    def mode(self) -> ModeView:
        """Tell the node's mode, with the news that count in it."""
        news = self.siblings.moment(normal=self.mode_now.mode == "normal")
        return msgspec.structs.replace(self.mode_now, news=news)

    def hear(self, clock: Clock, *payments: str) -> None:
        """Let a sibling in an outage say which payments of the customer's account wait there."""
        marker = Marker(FLEET_KEY)
        marks = [marker.account(MINE, number + 1) for number in range(len(payments))]
        marks += [marker.payment(MINE, payment) for payment in payments]
        said = NodeNews(
            node_id="west",
            heard_at=clock.boot_seconds(),
            observed_at=clock.now(),
            count=len(payments),
            normal=False,
            marks=pack_marks(marks),
        )
        news = SiblingNews(boot_id=clock.boot_id(), nodes=[said])
        put_whole(self.news, msgspec.msgpack.encode(news))

    async def publish(self, *documents: tuple[str, str, str, Body | None]) -> None:
        """Have the core commit documents, and the snapshot follow to them."""
        self.core.commit(
            Change(Name(account_id, kind, key), None if body is None else encode_body(body))
            for account_id, kind, key, body in documents
        )
        await self.follow()

    async def follow(self) -> None:
        """Have the snapshot follow to the core's head, and to a newer T."""
        head = (await self.core.feed.page(after=0, epoch=0, limit=1)).head
        while self.follower.status.cursor < head or self.follower.status.phase != "following":
            await self.follower.step()
        await self.follower.step()

    async def fill(self) -> None:
        """Publish two customers with an account and a bill each."""
        await self.publish(
            (MINE, ACCOUNT, "", account(MINE, [BANK])),
            (OTHERS, ACCOUNT, "", account(OTHERS, [OTHERS_BANK])),
            (MINE, STATEMENT, HELD, statement(MINE, HELD)),
            (OTHERS, STATEMENT, OTHERS_STATEMENT, statement(OTHERS, OTHERS_STATEMENT)),
            *((owner, CREDENTIAL, key, self.credential(owner)) for owner, key in KEYS.items()),
        )

    def credential(self, owner: str, version: int = 1) -> CredentialBody:
        """Build a customer's credential."""
        return CredentialBody(
            customer_id=f"C-{owner}",
            account_ids=[owner],
            verifier="none",
            credential_version=version,
        )

    def token(self, owner: str = MINE, *, issued_ago: timedelta = timedelta(0)) -> str:
        """Issue a customer a token."""
        now = datetime.now(UTC) - issued_ago
        return self.tokens.issue(KEYS[owner], self.credential(owner), now=now, session_id="s")

    async def close(self) -> None:
        """Let everything go."""
        self.follower.close()
        await self.core.close()
        self.sign_in.close()


class Queued(httpx.ASGITransport):
    """Hands requests over as a server does: through the event loop's queue, behind whatever waits in it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for its turn."""
        await asyncio.sleep(0)
        return await super().handle_async_request(request)


def client_of(app: Any) -> httpx.AsyncClient:
    """Return a program that asks an application."""
    return httpx.AsyncClient(transport=Queued(app), base_url="http://edge.test")


@asynccontextmanager
async def filled(folder: Path, clock: Clock) -> AsyncIterator[HotWorld]:
    """Make a world with two customers for the block."""
    made = HotWorld(folder, clock)
    await made.fill()
    yield made
    await made.close()
