"""
The traps of the libraries under breaker, clients, retries and disk: our code does not fall into any of them.

Each was seen with the versions that are locked, so an upgrade that brings one back, or moves it, fails here or in the
test that is named.

Measured, where no thread is named. Tests in other files: B is `unit/failover/test_breaker.py`, R `test_retry.py` beside
it, N `unit/edge_portal/test_node_client.py`; T is this file.

| trap | thread | tests |
|---|---|---|
| pybreaker counts no failure of ``async def`` | danielfm/pybreaker #7, PR #103 | B a failure rate; T its own error |
| a breaker's lock makes calls wait for each other | | T five at a time |
| half open it admits whoever comes, fifty of fifty | | B half open lets three of fifty in |
| a late result moves a later state | | B late results of an earlier state |
| a client's disconnect is a failure | | B a caller's cancellation; T an abandoned generator |
| only consecutive failures count, slow calls never | | B failure rate; B slow call rate |
| an excluded error is a success, by metaclass all are | | B a refusal shows life; T with a metaclass |
| the wall clock decides how long it is open | | B the wall clock does not matter |
| a raising listener fails a call, the error is replaced | | B a raising listener; T its own error |
| state in a Redis: needs it to start, admits all | danielfm/pybreaker PR #107 | T breakers share nothing |
| trials that never return keep it half open | resilience4j/resilience4j #903 | B trials that never come back |
| a cancelled request leaks its pool's slot, for ever | encode/httpcore #1093, PR #1099 | T a thousand given up |
| the same, seen as an endless `PoolTimeout` | encode/httpx #1171, #1461 | N an exhausted pool is replaced |
| timeouts are for each read, not for the answer | | N a dripping body; T a frozen node |
| a kept connection ends as a request leaves | | T cut after it was sent; T closed while idle |
| proxies of the environment, a slow pool | encode/httpx #3215 | T nothing of the environment |
| tenacity repeats for ever, and raises `RetryError` | | R what was not sent; R no wait is begun |
| its jitter is zero at the cap, its deadline late | | R waits are drawn; R no wait is begun |
| it swallows a cancellation and its timeout | jd/tenacity #529 | R cancellation; T a timeout round it |
| redis-py tries ten times five seconds | | `engines/test_redis_mirror.py` a hung redis; T asked once |
| SQLite: read, then write, fails at once | | T two who read and then write |
| its default journal, floats for money | | `unit/cache_sync/test_sqlite.py` settings; T a fraction of a cent |
"""

import asyncio
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cache_sync import redis_connect
from cache_sync.clock import SystemClock
from cache_sync.sqlite import Connection, IntegrityError, connect, write
from core_cis.settings import Utility
from core_cis.store import CoreStore
from edge_portal.message_client import MessageClient
from edge_portal.node_client import NodeClient
from edge_portal.range_client import RangeClient
from failover.breaker import AsyncBreaker, BreakerSettings
from failover.errors import Ambiguous, NodeError, NotSent
from failover.journal import Journal
from failover.retry import RetrySettings, retrying
from failover.retry_budget import RetryBudget
from failover.signing import Signer, generate_signing_key

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ROOT = Path(__file__).parents[2]


def breaker() -> AsyncBreaker:
    """Make a breaker that opens at two failures."""
    settings = BreakerSettings(calls_min=2, window_seconds=600, slow_seconds=600)
    return AsyncBreaker(clock=SystemClock(), rng=random.Random(1), settings=settings)


def state(guarded: AsyncBreaker) -> str:
    """Tell the state (which calls change, whatever a type checker narrowed it to)."""
    return guarded.state


async def test_five_at_a_time_are_under_way_together() -> None:
    """Nobody holds a lock while it waits: each meets all the others inside."""
    guarded, inside = breaker(), asyncio.Barrier(5)

    async def one() -> None:
        async with guarded.calling(deadline_seconds=60):
            await inside.wait()

    await asyncio.gather(*(one() for _ in range(5)))
    assert guarded.snapshot().calls == 5


async def test_a_failing_coroutine_counts_and_raises_its_own_error() -> None:
    """The call that trips it too."""
    guarded = breaker()

    async def fail(error: Exception) -> None:
        async with guarded.calling():
            await asyncio.sleep(0)
            raise error

    for number in range(2):
        mine = NotSent(str(number))
        with pytest.raises(NotSent) as raised:
            await fail(mine)
        assert raised.value is mine
    assert state(guarded) == "open"


async def test_an_abandoned_generator_is_no_failure() -> None:
    """Whoever stops to listen in the middle says nothing about the node."""
    guarded = breaker()

    async def listen() -> AsyncIterator[int]:
        async with guarded.calling():
            yield 1
            yield 2

    for _ in range(5):
        heard = listen()
        assert await anext(heard) == 1
        await heard.aclose()  # type: ignore[attr-defined]
    assert state(guarded) == "closed"
    assert guarded.snapshot().calls == 0


class _Meta(type):
    def __call__(cls, *arguments: object) -> Any:
        """Be called like a predicate: what it makes is true."""
        return super().__call__(*arguments)


class _Odd(Exception, metaclass=_Meta):
    """An exception of a class with a metaclass of its own."""


async def test_an_error_of_a_class_with_a_metaclass_is_a_failure() -> None:
    """As are all others beside it: nothing is excluded."""
    guarded = breaker()
    for error in (_Odd("a"), RuntimeError("b")):
        with pytest.raises(type(error)):
            async with guarded.calling():
                raise error
    assert state(guarded) == "open"


async def test_breakers_share_nothing() -> None:
    """One that opened says nothing to the next, in this process or through a Redis."""
    opened, other = breaker(), breaker()
    for _ in range(2):
        with pytest.raises(NotSent):
            async with opened.calling():
                raise NotSent("refused")
    assert (state(opened), state(other)) == ("open", "closed")
    sources = [*(ROOT / "failover").glob("*.py"), *(ROOT / "edge_portal").glob("*.py")]
    assert len(sources) > 50
    assert not [path.name for path in sources if "RedisStorage" in path.read_text("utf-8")]


# -- clients -----------------------------------------------------------------------------------------------------------

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def node(serve: Serve) -> AsyncIterator[str]:
    """Run a node on a real socket that does with each request what it is told; yields its address."""
    serving: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                await serve(
                    head + await reader.readexactly(int(length[1]) if length else 0), writer
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*serving)


def client(kind: type[NodeClient] | type[MessageClient], url: str) -> Any:
    """Make a client that makes at most two calls at a time."""
    return kind(url, node_id="east", secret="s", purpose="test", calls_max=2)


async def post(asked: Any, seconds: float = 60.0) -> bytes:
    """Make a call that changes something."""
    answer = await asked.call(
        "POST", "/intents", deadline_seconds=seconds, bytes_max=100, content=b"intents"
    )
    body: bytes = answer.body
    return body


@pytest.mark.parametrize("kind", [NodeClient, MessageClient])
async def test_a_thousand_calls_that_were_given_up_leave_no_pool_stuck(
    kind: type[NodeClient] | type[MessageClient],
) -> None:
    """By their own deadlines and by callers who went away, under way and waiting; then the core is well again."""
    well = asyncio.Event()

    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        await well.wait()
        writer.write(OK)

    rng = random.Random(7)
    async with node(serve) as url:
        asked = client(kind, url)
        for _ in range(20):
            calls = [asyncio.create_task(post(asked, rng.uniform(0.001, 0.05))) for _ in range(50)]
            await asyncio.sleep(rng.uniform(0, 0.02))
            for call in calls[::2]:
                call.cancel()
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(each, NodeError | asyncio.CancelledError) for each in ended)
        well.set()
        assert await asyncio.gather(*(post(asked) for _ in range(20))) == [b"ok"] * 20
        await asked.close()


FROZEN = """
import socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
kept = []
while True:
    kept.append(listening.accept())
"""


@pytest.fixture
def frozen_port() -> Iterator[int]:
    """Run a process that listens, and freeze it: the kernel still takes connections for it."""
    process = subprocess.Popen([sys.executable, "-c", FROZEN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    process.send_signal(signal.SIGSTOP)
    try:
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("kind", [NodeClient, MessageClient])
async def test_a_frozen_node_holds_no_call_beyond_its_deadline(
    kind: type[NodeClient] | type[MessageClient], frozen_port: int
) -> None:
    """It takes the connection and the question and says nothing, for ever; more calls than may be under way."""
    asked = client(kind, f"http://127.0.0.1:{frozen_port}")
    ended = await asyncio.gather(*(post(asked, 2.0) for _ in range(10)), return_exceptions=True)
    assert {type(each) for each in ended} <= {Ambiguous, NotSent}
    assert any(isinstance(each, Ambiguous) for each in ended)


async def test_a_frozen_node_holds_no_download_beyond_its_deadline(frozen_port: int) -> None:
    """Of a part of a snapshot file."""
    files = RangeClient(f"http://127.0.0.1:{frozen_port}", node_id="east", secret="s")
    with pytest.raises(NodeError):
        await files.get("/snapshots/0/x", 0, 10, deadline_seconds=0.2)


@pytest.mark.parametrize("kind", [NodeClient, MessageClient])
async def test_a_kept_connection_cut_after_it_was_sent_leaves_the_effect_unknown(
    kind: type[NodeClient] | type[MessageClient],
) -> None:
    """The node read the second question and went: not repeated by the library, not told as "not sent"."""
    asked_of: list[bytes] = []

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        asked_of.append(request)
        if len(asked_of) == 1:
            writer.write(OK)
        else:
            writer.transport.abort()

    async with node(serve) as url:
        asked = client(kind, url)
        assert await post(asked) == b"ok"
        with pytest.raises(Ambiguous):
            await post(asked)
        assert len(asked_of) == 2
        await asked.close()


@pytest.mark.parametrize("kind", [NodeClient, MessageClient])
async def test_a_connection_that_was_closed_while_idle_is_replaced(
    kind: type[NodeClient] | type[MessageClient],
) -> None:
    """The next call goes out on a new one, and is answered."""

    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with node(serve) as url:
        asked = client(kind, url)
        for _ in range(3):
            assert await post(asked) == b"ok"
            await asyncio.sleep(0.05)
        await asked.close()


@pytest.mark.parametrize("kind", [NodeClient, MessageClient])
async def test_nothing_of_the_environment_comes_between(
    kind: type[NodeClient] | type[MessageClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that is set for browsers never sees a payment."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, address)

        async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
            assert request.startswith(b"POST /intents HTTP/1.1\r\n")
            writer.write(OK)

        async with node(serve) as url:
            asked = client(kind, url)
            assert await post(asked) == b"ok"
            await asked.close()


# -- tenacity, redis-py ------------------------------------------------------------------------------------------------


async def test_a_timeout_round_retries_ends_them() -> None:
    """As a timeout, not swallowed and not repeated."""
    clock, calls = SystemClock(), 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await retrying(
                call,
                clock=clock,
                rng=random.Random(1),
                budget=RetryBudget(clock),
                settings=RetrySettings(attempts=100, deadline_seconds=1000),
            )
    assert calls == 1


def test_a_redis_that_refuses_is_asked_once() -> None:
    """It takes the connection and hangs up, where TLS was to begin; a second attempt would be counted."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def hang_up() -> None:
            while True:
                try:
                    found, _ = server.accept()
                except OSError:
                    return
                taken.append(found)
                found.close()

        hanging = threading.Thread(target=hang_up, daemon=True)
        hanging.start()
        with pytest.raises(OSError, match="Error"):
            redis_connect.connect(f"rediss://127.0.0.1:{port}/0", "127.0.0.1", port, seconds=10.0)
        server.shutdown(socket.SHUT_RDWR)
    hanging.join()
    assert len(taken) == 1


# -- SQLite ------------------------------------------------------------------------------------------------------------


def test_two_who_read_and_then_write_wait_for_each_other(tmp_path: Path) -> None:
    """Neither fails because the other wrote in between, and no count is lost."""
    path = tmp_path / "file.db"
    first = connect(path, synchronous="FULL")
    first.execute("CREATE TABLE counted (number INTEGER NOT NULL) STRICT")
    with write(first):
        first.execute("INSERT INTO counted VALUES (0)")
    failed: list[BaseException] = []

    def count() -> None:
        try:
            own = connect(path, synchronous="NORMAL", busy_timeout_seconds=60)
            for _ in range(50):
                with write(own):
                    (number,) = own.execute("SELECT number FROM counted").fetchone()
                    own.execute("UPDATE counted SET number = ?", (number + 1,))
            own.close()
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert first.execute("SELECT number FROM counted").fetchone() == (100,)
    first.close()


def check_money(connection: Connection) -> int:
    """Check that every table is STRICT, and that no column with cents has another type than INTEGER; count those."""
    tables = connection.execute("PRAGMA table_list").fetchall()
    own = [row for row in tables if row[2] == "table" and not row[1].startswith("sqlite_")]
    assert own
    cents = 0
    for _, name, _, _, _, strict in own:
        assert strict or name == "alembic_version", name
        for column in connection.execute(f"PRAGMA table_info({name})").fetchall():
            if "cents" in column[1]:
                assert column[2] == "INTEGER", (name, column[1])
                cents += 1
    return cents


async def test_no_column_takes_a_fraction_of_a_cent(tmp_path: Path) -> None:
    """Neither in the journal nor in the books."""
    journal = Journal.open(
        tmp_path / "journal.db",
        node_id="east",
        signer=Signer(generate_signing_key(random.Random(1).randbytes)),
    )
    journal.close()
    connection = connect(tmp_path / "journal.db", synchronous="FULL")
    assert check_money(connection) >= 4
    with pytest.raises(IntegrityError, match="REAL"):
        connection.execute("INSERT INTO inherited VALUES ('west', 0.5)")
    connection.close()
    utility = Utility(name="Test Light", timezone="America/Chicago")
    with CoreStore.open(tmp_path / "core", SystemClock(), utility=utility) as store:
        assert check_money(store.connection) > 5  # type: ignore[arg-type]
