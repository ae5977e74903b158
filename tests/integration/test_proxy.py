"""The fault proxy on real sockets: what passes, what is lost, and that every fault heals by itself."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from random import Random

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from chaos.faults import Cut, Fault, Flaky, Latency, Lease, Rate, Refuse, Reset
from chaos.proxy import FaultProxy, open_listener
from chaos.proxy_control import Link, create_control_app

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LONG = 60.0
SOON = 5.0


class Rig:
    """A proxy before a server that keeps what it was sent; the server's answers are the test's business."""

    def __init__(self, proxy: FaultProxy, lease: Lease, arrivals: "asyncio.Queue[Stream]") -> None:
        self.proxy = proxy
        self.lease = lease
        self.arrivals = arrivals
        self._streams: list[Stream] = []

    async def connect(self) -> Stream:
        """Connect through the proxy."""
        stream = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self._streams.append(stream)
        return stream

    async def pair(self) -> tuple[Stream, Stream]:
        """Connect through the proxy and return both ends."""
        client = await self.connect()
        async with asyncio.timeout(SOON):
            return client, await self.arrivals.get()

    def close(self) -> None:
        """Close every client."""
        for _, writer in self._streams:
            writer.close()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A proxy on one lease."""
    arrivals: asyncio.Queue[Stream] = asyncio.Queue()
    kept: list[asyncio.StreamWriter] = []

    async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.append(writer)
        arrivals.put_nowait((reader, writer))

    server = await asyncio.start_server(arrived, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()
    # A port given by number, as the fleet does: only such a one survives a refusal.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    proxy = FaultProxy(open_listener("127.0.0.1", port), target, Random(1))
    lease = Lease(proxy.follow)
    proxy.lie_on(lease)
    proxy.start()
    made = Rig(proxy, lease, arrivals)
    yield made
    made.close()
    await proxy.close()
    for writer in kept:
        writer.close()
    server.close()


async def read(stream: Stream, size: int) -> bytes:
    """Read exactly ``size`` bytes, soon."""
    async with asyncio.timeout(SOON):
        return await stream[0].readexactly(size)


async def is_reset(stream: Stream) -> bool:
    """Wait for the end of a stream; whether it was a reset rather than a clean end."""
    async with asyncio.timeout(SOON):
        try:
            while await stream[0].read(1024):
                pass
        except ConnectionResetError:
            return True
    return False


async def silent(stream: Stream, seconds: float = 0.2) -> bool:
    """Whether nothing comes, neither bytes nor an end."""
    try:
        async with asyncio.timeout(seconds):
            await stream[0].read(1)
    except TimeoutError:
        return True
    return False


async def test_bytes_pass_both_ways(rig: Rig) -> None:
    """Without a fault, what is sent arrives unchanged, also much more than the proxy holds."""
    client, server = await rig.pair()
    sent = Random(2).randbytes(5_000_000)

    async def send(stream: Stream) -> None:
        stream[1].write(sent)
        await stream[1].drain()

    sending = [asyncio.create_task(send(client)), asyncio.create_task(send(server))]
    assert await read(server, len(sent)) == sent
    assert await read(client, len(sent)) == sent
    await asyncio.gather(*sending)


async def test_a_half_close_passes(rig: Rig) -> None:
    """One side may finish sending and still read the answer."""
    client, server = await rig.pair()
    client[1].write(b"question")
    client[1].write_eof()
    assert await server[0].read() == b"question"
    server[1].write(b"answer")
    server[1].close()
    assert await client[0].read() == b"answer"


async def test_a_reset_passes(rig: Rig) -> None:
    """A reset of one side is a reset for the other, not a clean end."""
    client, server = await rig.pair()
    raw = server[1].get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server[1].transport.abort()
    assert await is_reset(client)


async def test_a_slow_reader_holds_the_sender_back(rig: Rig) -> None:
    """The proxy does not store without bound what its target does not read."""
    client, server = await rig.pair()
    server[0]._transport.pause_reading()  # type: ignore[attr-defined]
    written = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while written < 200_000_000:
                client[1].write(bytes(1_000_000))
                written += 1_000_000
                await client[1].drain()
    assert written < 200_000_000


async def test_a_cut_loses_what_is_sent_and_never_delivers_it(rig: Rig) -> None:
    """Bytes sent into a cut, either way, do not arrive: not during it and not after it healed."""
    client, server = await rig.pair()
    client[1].write(b"before")
    assert await read(server, 6) == b"before"
    rig.lease.take(Cut(ttl_seconds=LONG))
    client[1].write(b"lost request")
    server[1].write(b"lost answer")
    assert await silent(server)
    assert await silent(client)
    rig.lease.heal()
    assert await is_reset(client)
    assert await is_reset(server)
    assert rig.proxy.swallowed_bytes == len(b"lost request") + len(b"lost answer")


async def test_a_connection_made_during_a_cut_gets_no_answer(rig: Rig) -> None:
    """A new connection goes nowhere while the line is cut, and is reset when it heals."""
    rig.lease.take(Cut(ttl_seconds=LONG))
    client = await rig.connect()
    client[1].write(b"hello?")
    assert await silent(client)
    assert rig.arrivals.empty()
    rig.lease.heal()
    assert await is_reset(client)
    assert rig.arrivals.empty()


async def test_a_cut_hides_that_the_other_end_is_gone(rig: Rig) -> None:
    """Neither a close nor a reset passes a cut line."""
    client, server = await rig.pair()
    rig.lease.take(Cut(ttl_seconds=LONG))
    server[1].close()
    assert await silent(client)
    rig.lease.heal()
    assert await is_reset(client)


async def test_a_connection_that_lost_nothing_survives_a_cut(rig: Rig) -> None:
    """An idle connection goes on after the cut as if nothing had been."""
    client, server = await rig.pair()
    rig.lease.take(Cut(ttl_seconds=LONG))
    await asyncio.sleep(0.05)
    rig.lease.heal()
    client[1].write(b"still here")
    assert await read(server, 10) == b"still here"
    server[1].write(b"me too")
    assert await read(client, 6) == b"me too"


async def test_what_the_proxy_holds_is_lost_too(rig: Rig) -> None:
    """A cut loses bytes that a latency had still kept back."""
    client, server = await rig.pair()
    rig.lease.take(Latency(ttl_seconds=LONG, latency_seconds=0.3))
    client[1].write(b"on its way")
    await asyncio.sleep(0.1)
    rig.lease.take(Cut(ttl_seconds=LONG))
    assert await silent(server, 0.5)
    assert rig.proxy.swallowed_bytes == len(b"on its way")


@pytest.mark.parametrize(("direction", "arrives"), [("forward", "answer"), ("backward", "request")])
async def test_a_cut_can_be_one_way(rig: Rig, direction: str, arrives: str) -> None:
    """An answer can be lost whose request arrived, and the reverse."""
    client, server = await rig.pair()
    rig.lease.take(Cut(ttl_seconds=LONG, direction=direction))  # type: ignore[arg-type]
    client[1].write(b"request")
    server[1].write(b"answer")
    if arrives == "answer":
        assert await read(client, 6) == b"answer"
        assert await silent(server)
    else:
        assert await read(server, 7) == b"request"
        assert await silent(client)


async def test_a_new_connection_under_a_backward_cut_delivers_requests(rig: Rig) -> None:
    """The one asked does the work; the one asking never hears of it."""
    rig.lease.take(Cut(ttl_seconds=LONG, direction="backward"))
    client, server = await rig.pair()
    client[1].write(b"do it")
    assert await read(server, 5) == b"do it"
    server[1].write(b"done")
    assert await silent(client)
    rig.lease.heal()
    assert await is_reset(client)


async def test_faults_heal_by_themselves(rig: Rig) -> None:
    """After its seconds a fault is over without anybody's help."""
    rig.lease.take(Cut(ttl_seconds=0.3))
    assert rig.lease.remaining_seconds > 0
    client = await rig.connect()
    assert await is_reset(client)
    assert rig.lease.fault is None
    assert rig.lease.remaining_seconds == 0
    client, server = await rig.pair()
    client[1].write(b"well again")
    assert await read(server, 10) == b"well again"


async def test_the_same_fault_again_only_renews_it(rig: Rig) -> None:
    """A connection that lost bytes to a cut is not reset when the cut is ordered anew; another fault is another one."""
    client, server = await rig.pair()
    rig.lease.take(Cut(ttl_seconds=LONG))
    client[1].write(b"lost")
    assert await silent(server)
    rig.lease.take(Cut(ttl_seconds=2 * LONG))
    assert rig.lease.remaining_seconds > LONG
    assert await silent(client)
    rig.lease.take(Latency(ttl_seconds=LONG))
    assert await is_reset(client)


async def test_a_flaky_link_fails_some_calls(rig: Rig) -> None:
    """Calls are lost before they arrive, with a reset; about the share that was ordered, and never an answer."""
    rig.lease.take(Flaky(ttl_seconds=LONG, share=0.5))
    failed = 0
    for _ in range(40):
        client, server = await rig.pair()
        client[1].write(b"call")
        try:
            assert await read(server, 4) == b"call"
        except (ConnectionResetError, asyncio.IncompleteReadError):
            failed += 1
            assert await is_reset(client)
        else:
            server[1].write(b"answer")
            assert await read(client, 6) == b"answer"
    assert 10 <= failed <= 30
    rig.lease.heal()
    client, server = await rig.pair()
    client[1].write(b"well again")
    assert await read(server, 10) == b"well again"


async def test_latency_delays_and_keeps_the_order(rig: Rig) -> None:
    """Every byte comes later, none before another one sent earlier."""
    client, server = await rig.pair()
    rig.lease.take(Latency(ttl_seconds=LONG, latency_seconds=0.2, jitter_seconds=0.2))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(10):
        client[1].write(bytes([number]))
        await asyncio.sleep(0.01)
    assert await read(server, 10) == bytes(range(10))
    assert loop.time() - begun >= 0.2


async def test_a_rate_slows_down(rig: Rig) -> None:
    """A connection delivers no more than its rate."""
    client, server = await rig.pair()
    rig.lease.take(Rate(ttl_seconds=LONG, bytes_per_second=20_000))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    client[1].write(bytes(10_000))
    await read(server, 10_000)
    assert loop.time() - begun >= 0.4


async def test_reset_ends_connections_old_and_new(rig: Rig) -> None:
    """Existing connections are reset at once, new ones when they are accepted."""
    client, _ = await rig.pair()
    rig.lease.take(Reset(ttl_seconds=LONG))
    assert await is_reset(client)
    late = await rig.connect()
    assert await is_reset(late)
    rig.lease.heal()
    client, server = await rig.pair()
    client[1].write(b"x")
    assert await read(server, 1) == b"x"


async def test_refuse_answers_like_a_machine_without_the_process(rig: Rig) -> None:
    """New connections are refused, on the same port that answers again after healing."""
    client, _ = await rig.pair()
    rig.lease.take(Refuse(ttl_seconds=LONG))
    assert await is_reset(client)
    with pytest.raises(ConnectionRefusedError):
        await rig.connect()
    rig.lease.heal()
    client, server = await rig.pair()
    client[1].write(b"x")
    assert await read(server, 1) == b"x"


async def test_a_dead_target_is_a_reset_not_a_hang(rig: Rig) -> None:
    """Whoever connects learns at once that nobody listens behind the proxy."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        rig.proxy._target = nobody.getsockname()
        client = await rig.connect()
        assert await is_reset(client)
    assert rig.proxy.connections == 0


@pytest.mark.parametrize(
    ("milder", "worse"),
    [
        (Latency(latency_seconds=0.01), Cut()),
        (Reset(), Cut()),
        (Latency(), Reset()),
    ],
)
async def test_the_worse_of_two_leases_counts(rig: Rig, milder: Fault, worse: Fault) -> None:
    """A proxy on two links suffers the worse fault, and the other one when that is healed."""
    other = Lease(rig.proxy.follow)
    rig.proxy.lie_on(other)
    rig.lease.take(milder)
    other.take(worse)
    assert rig.proxy._fault == worse
    other.heal()
    assert rig.proxy._fault == milder


class Control:
    """The HTTP control of two links that share one proxy."""

    def __init__(self, http: AsyncTestClient[Litestar], proxy: FaultProxy) -> None:
        self.http = http
        self.proxy = proxy


@pytest.fixture
async def control() -> AsyncIterator[Control]:
    """A control app, asked as from this machine."""
    proxy = FaultProxy(open_listener("127.0.0.1", 0), ("127.0.0.1", 9), Random(1))
    links = {name: Link(name, [proxy]) for name in ("edge-1-core", "edge-1-peers")}
    app = create_control_app(links)
    async with AsyncTestClient(app, base_url="http://127.0.0.1:8000") as http:
        yield Control(http, proxy)
    await proxy.close()


async def test_a_fault_is_ordered_told_and_healed(control: Control) -> None:
    """POST puts it in force, GET tells it with its rest, DELETE ends it."""
    order = {"kind": "cut", "ttl_seconds": 30}
    ordered = await control.http.post("/links/edge-1-core/fault", json=order)
    assert ordered.status_code == 200
    assert isinstance(control.proxy._fault, Cut)
    told = (await control.http.get("/links/edge-1-core/fault")).json()
    assert told["fault"]["kind"] == "cut"
    assert 29 < told["remaining_seconds"] <= 30
    assert (await control.http.get("/links/edge-1-peers/fault")).json()["fault"] is None
    healed = await control.http.delete("/links/edge-1-core/fault")
    assert healed.json()["fault"] is None
    assert control.proxy._fault is None


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"kind": "cut", "ttl_seconds": "30"}', 422, "ttl_seconds"),
        (b'{"kind": "cut", "ttl_seconds": 0}', 422, "ttl_seconds"),
        (b'{"kind": "cut", "ttl_seconds": 1e9}', 422, "ttl_seconds"),
        (b'{"kind": "cut", "ttl_seconds": true}', 422, "ttl_seconds"),
        (b'{"kind": "cut", "latency_seconds": 1}', 422, "latency_seconds"),
        (b'{"kind": "earthquake"}', 422, "kind"),
        (b'{"ttl_seconds": 1}', 422, "kind"),
        (b'{"kind": "cut"', 400, None),
        (b"[" * 50_000, 422, ""),
        (b" " * 100_000, 413, None),
    ],
    ids=lambda value: value[:40].decode() if isinstance(value, bytes) else str(value),
)
async def test_a_wrong_order_changes_nothing(
    control: Control, body: bytes, status: int, field: str | None
) -> None:
    """What is not an order is a problem detail that names the field; no fault comes of it."""
    answer = await control.http.post("/links/edge-1-core/fault", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert [one["field"] for one in answer.json().get("errors", [])] == (
        [] if field is None else [field]
    )
    assert control.proxy._fault is None


async def test_an_unknown_link_is_told(control: Control) -> None:
    """A link that is not there is a 404 that names those that are."""
    answer = await control.http.get("/links/edge-9-core/fault")
    assert answer.status_code == 404
    assert answer.json()["links"] == ["edge-1-core", "edge-1-peers"]


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example:8000"}]
)
async def test_web_pages_cannot_order_faults(control: Control, headers: dict[str, str]) -> None:
    """A page in a browser on this machine is refused, also under a name that was pointed here."""
    answer = await control.http.post(
        "/links/edge-1-core/fault", json={"kind": "cut"}, headers=headers
    )
    assert answer.status_code == 403
    assert control.proxy._fault is None
