"""A small core with two customers and two edges, in process, on real SQLite and on a real PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar.status_codes import HTTP_503_SERVICE_UNAVAILABLE

from core_cis.app import create_app, in_front
from core_cis.bookkeeping import post
from core_cis.database_choice import choose_database, read_choice
from core_cis.domain import ledger
from core_cis.keys import load_keys
from core_cis.publishing import publish_account, publish_credential
from core_cis.registry import Serving, add_edge, write_edge_config
from core_cis.settings import ServerSettings, Utility
from core_cis.store import CoreStore
from failover.intents import (
    Intent,
    IntentBatch,
    OutcomeBatch,
    fingerprint,
    intent_id,
    message_fingerprint,
)
from failover.message_bodies import MessageBody, hash_body, type_of
from failover.node_config import EdgeConfig
from failover.signing import Signer
from failover.web import authorization_header
from tests.postgres_server import PostgresServer

START = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
ACCOUNT = "A-1001"
OTHER_ACCOUNT = "A-1002"
CLOSED_ACCOUNT = "A-1003"
METHOD = "pm-1001"
_SENT_AGAIN_MAX = 5


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.moment = now
        self.boot = 1000.0

    def now(self) -> datetime:
        """Tell the set time."""
        return self.moment

    def boot_seconds(self) -> float:
        """Tell the set seconds."""
        return self.boot

    def boot_id(self) -> str:
        """Tell a boot."""
        return "boot"

    def move(self, seconds: float) -> None:
        """Go on."""
        self.moment += timedelta(seconds=seconds)
        self.boot += seconds

    async def sleep(self, seconds: float) -> None:
        """Do not wait."""
        raise AssertionError("nothing in these tests waits")


class ThroughTheLoop:
    """Has requests arrive as they do from a server: through the event loop's queue, each in a turn of its own."""

    def __init__(self, app: Any, state: Any) -> None:
        self._app = app
        self.state = state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass one event on, in the next turn."""
        await asyncio.sleep(0)
        await self._app(scope, receive, send)


class Core:
    """A core's folder with its clock, and an edge's hand to sign and deliver with."""

    def __init__(self, data_dir: Path, clock: SetClock, configs: dict[str, EdgeConfig]) -> None:
        self.data_dir = data_dir
        self.server: PostgresServer | None = None
        self.clock = clock
        self.configs = configs
        self._ordinals: dict[str, int] = {}

    def open(self) -> CoreStore:
        """Open another connection, as another process would."""
        return CoreStore.open(self.data_dir, self.clock)

    def back_up(self) -> Callable[[], None]:
        """Copy the core while nobody uses it; return what puts the copy in its place."""
        backup = self.data_dir.with_name("backup")
        shutil.copytree(self.data_dir, backup)
        choice = read_choice(self.data_dir)
        if choice is not None:
            assert self.server is not None, "a core on a server was told of it"
            choose_database(backup, self.server.new_database(choice.url.rpartition("/")[2]))

        def restore() -> None:
            shutil.rmtree(self.data_dir)
            backup.rename(self.data_dir)

        return restore

    def intent(
        self,
        key: str = "key-1",
        *,
        account_id: str = ACCOUNT,
        amount_cents: int = 2500,
        method_id: str = METHOD,
        edge: str = "east",
        accepted_at: datetime | None = None,
        not_after: datetime | None = None,
        currency: str = "USD",
    ) -> Intent:
        """Record an intent as an edge would: derived id, ordinal, signature."""
        self._ordinals[edge] = self._ordinals.get(edge, 0) + 1
        unsigned = Intent(
            intent_id=intent_id(account_id, key),
            fingerprint=fingerprint(
                account_id=account_id,
                type_="payment",
                amount_cents=amount_cents,
                currency=currency,
                method_id=method_id,
            ),
            account_id=account_id,
            amount_cents=amount_cents,
            currency=currency,
            method_id=method_id,
            idempotency_key=key,
            accepted_at=accepted_at or self.clock.now(),
            edge_id=edge,
            incarnation=f"{edge}-journal",
            ordinal=self._ordinals[edge],
            not_after=not_after,
        )
        return Signer(self.configs[edge].signing_key).sign(unsigned)

    def message(
        self,
        key: str,
        body: MessageBody,
        *,
        account_id: str = ACCOUNT,
        edge: str = "east",
        accepted_at: datetime | None = None,
    ) -> Intent:
        """Record a message as an edge would."""
        self._ordinals[edge] = self._ordinals.get(edge, 0) + 1
        type_, body_hash = type_of(body), hash_body(body)
        unsigned = Intent(
            intent_id=intent_id(account_id, key),
            fingerprint=message_fingerprint(
                account_id=account_id, type_=type_, body_hash=body_hash
            ),
            account_id=account_id,
            type=type_,
            idempotency_key=key,
            accepted_at=accepted_at or self.clock.now(),
            edge_id=edge,
            incarnation=f"{edge}-journal",
            ordinal=self._ordinals[edge],
            body_hash=body_hash,
            body=body,
        )
        return Signer(self.configs[edge].signing_key).sign(unsigned)

    def node(self, edge: str = "east") -> dict[str, str]:
        """Write the header with which an edge shows who it is."""
        return {"Authorization": authorization_header(edge, self.configs[edge].node_secret)}

    def operator(self) -> dict[str, str]:
        """Write the operators' header."""
        return {"Authorization": f"Bearer {load_keys(self.data_dir).operator_token}"}

    def signing_key(self) -> str:
        """Tell what this core signs with."""
        return load_keys(self.data_dir).signing_key

    @asynccontextmanager
    async def serving(
        self, settings: ServerSettings | None = None
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Run the application in this loop; its clock is the set one."""
        app = create_app(self.data_dir, self.clock, settings)
        async with app.lifespan():
            served = ThroughTheLoop(in_front(app), app.state)
            transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://core") as client:
                yield client

    async def deliver(
        self, client: httpx.AsyncClient, *intents: Intent, edge: str = "east", drain: bool = False
    ) -> OutcomeBatch:
        """Deliver intents as an edge and read the answer; like an edge, again where the core had no turn for them."""

        async def send() -> httpx.Response:
            return await client.post(
                "/intents",
                params={"drain": "true"} if drain else {},
                content=msgspec.msgpack.encode(IntentBatch(list(intents))),
                headers=self.node(edge),
            )

        answer = await send()
        for _ in range(_SENT_AGAIN_MAX):
            if answer.status_code == HTTP_503_SERVICE_UNAVAILABLE:
                answer = await send()
        assert answer.status_code == 200, answer.text
        return msgspec.msgpack.decode(answer.content, type=OutcomeBatch)


def fill(store: CoreStore) -> None:
    """Write two customers with an account each, and one closed account; the first owes 80 dollars."""
    with store.transaction() as tx:
        for number, account_id in enumerate((ACCOUNT, OTHER_ACCOUNT, CLOSED_ACCOUNT), 1):
            email = f"customer{number}@example.org"
            tx.connection.execute(
                "INSERT INTO customers (customer_id, name, email, email_key, verifier)"
                " VALUES (?, ?, ?, ?, '$argon2id$made-up')",
                (f"C-{number}", f"Customer {number}", email, email),
            )
            tx.connection.execute(
                "INSERT INTO accounts (account_id, customer_id, status) VALUES (?, ?, ?)",
                (account_id, f"C-{number}", "closed" if account_id == CLOSED_ACCOUNT else "active"),
            )
            tx.connection.execute(
                "INSERT INTO payment_methods (method_id, account_id, token, type, label, status)"
                " VALUES (?, ?, ?, 'card', 'Card ending 4242', 'verified')",
                (f"pm-{account_id[2:]}", account_id, f"tok_{number}"),
            )
        tx.connection.execute(
            "INSERT INTO payment_methods (method_id, account_id, token, type, label, status)"
            " VALUES ('pm-old', ?, 'tok_old', 'card', 'Card ending 1111', 'expired'),"
            "        ('pm-new', ?, 'tok_new', 'bank_account', 'Bank ending 9', 'unverified')",
            (ACCOUNT, ACCOUNT),
        )
        post(
            tx,
            ledger.adjustment(
                account_id=ACCOUNT,
                key="opening",
                amount_cents=8000,
                value_date=date(2026, 1, 1),
                description="Opening balance",
            ),
        )
        for number, account_id in enumerate((ACCOUNT, OTHER_ACCOUNT, CLOSED_ACCOUNT), 1):
            publish_account(tx, account_id)
            publish_credential(tx, f"C-{number}")


@pytest.fixture(params=["sqlite", "postgresql"])
def core(request: pytest.FixtureRequest, tmp_path: Path) -> Core:
    """Return a filled core with edges `east` and `west`, not serving, in a file and on a server."""
    data_dir = tmp_path / "the core"
    if request.param == "sqlite":
        return make_core(data_dir)
    choose_database(data_dir, request.getfixturevalue("postgres_url"))
    made = make_core(data_dir)
    made.server = request.getfixturevalue("postgres")
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def sharded_core(request: pytest.FixtureRequest, tmp_path: Path) -> Core:
    """Return the same core with three shards."""
    data_dir = tmp_path / "the core"
    if request.param == "postgresql":
        choose_database(data_dir, request.getfixturevalue("postgres_url"))
    return make_core(data_dir, shards=3)


@pytest.fixture
def file_core(tmp_path: Path) -> Core:
    """Return the same core in a file, for what only a file can go through."""
    return make_core(tmp_path / "the core")


PEER_URLS = {"east": "http://127.0.0.1:9000", "west": "http://127.0.0.1:9001"}


def make_core(data_dir: Path, shards: int = 1) -> Core:
    """Fill a core in a folder."""
    clock = SetClock(START)
    tmp_path = data_dir.parent
    utility = Utility(name="Test Light", timezone="America/Chicago")
    configs = {}
    with CoreStore.open(data_dir, clock, utility=utility, shards=shards) as store:
        fill(store)
        with store.transaction() as tx:
            for name, url in PEER_URLS.items():
                add_edge(tx, name, url)
        for number, name in enumerate(("east", "west")):
            with store.transaction() as tx:
                serving = Serving(
                    core_url="http://127.0.0.1", port=8000 + number, peer_port=9000 + number
                )
                configs[name] = write_edge_config(
                    tx, name, serving, tmp_path / f"{name}.json", keys=store.keys
                )
    return Core(data_dir, clock, configs)
