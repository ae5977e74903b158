"""
A TCP proxy that suffers the faults it is told to, and otherwise changes nothing.

It works on sockets rather than streams so that a fault acts at once: a stream's own buffer would deliver bytes that a
cut should have lost. Back-pressure, half-closes and resets pass through as they are.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from functools import partial
from random import Random

from chaos.faults import Cut, Fault, Flaky, Latency, Lease, Rate, Refuse, Reset, worst

CHUNK_BYTES = 64 * 1024
HELD_BYTES_MAX = 1024 * 1024
DIAL_SECONDS_MAX = 5.0
BACKLOG = 128
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)


def open_listener(host: str, port: int) -> socket.socket:
    """Bind a TCP socket that can stop listening and start again on its port; non-blocking, not yet listening."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.settimeout(0)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _close(end: socket.socket, *, reset: bool) -> None:
    if reset:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
    end.close()


class _Pump:
    """
    One direction of a connection: from ``source`` through a bounded hold to ``target``.

    ``calls``: it is the one in which calls are made, rather than answered.
    """

    def __init__(
        self,
        source: socket.socket,
        target: socket.socket,
        proxy: "FaultProxy",
        *,
        swallow: bool,
        calls: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._proxy = proxy
        self._swallowing = swallow
        self._calls = calls
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._changed = asyncio.Event()
        self._sending = False
        self._writer: asyncio.Task[None] | None = None
        self.lost = False

    async def run(self) -> None:
        """
        Carry bytes until the source has ended and everything was delivered.

        Raises OSError when either socket fails. Never returns once bytes were lost: neither end may learn from a
        cut line that the other one is gone.
        """
        reader = asyncio.ensure_future(self._read())
        self._writer = asyncio.ensure_future(self._write())
        both = (reader, self._writer)
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                if not task.cancelled():
                    task.result()
            if self.lost:
                await asyncio.Event().wait()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    def swallow(self) -> None:
        """Lose what is held and everything that comes, from now on."""
        self._swallowing = True
        if self._sending or self._held:
            self._lose(self._held_bytes)
            self._held.clear()
            self._held_bytes = 0
            self._changed.set()
            if self._writer is not None:
                self._writer.cancel()

    def deliver(self) -> None:
        """Stop swallowing, on a connection that lost nothing."""
        self._swallowing = False

    def _lose(self, size: int) -> None:
        self.lost = True
        self._proxy.swallowed_bytes += size

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._source, CHUNK_BYTES)
            except OSError:
                if not self._swallowing:
                    raise
                data = b""
            if self._swallowing:
                self._lose(len(data))
            elif data and self._calls and self._proxy.fails_call():
                raise ConnectionResetError
            else:
                self._hold(data)
            if not data:
                return
            while self._held_bytes > HELD_BYTES_MAX:
                await self._change()

    def _hold(self, data: bytes) -> None:
        due = asyncio.get_running_loop().time() + self._proxy.delay_seconds()
        if self._held:
            due = max(due, self._held[-1][0])
        self._held.append((due, data))
        self._held_bytes += len(data)
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._held:
                await self._change()
            due, data = self._held[0]
            if (wait_seconds := due - loop.time()) > 0:
                await asyncio.sleep(wait_seconds)
            self._held.popleft()
            if not data:
                self._target.shutdown(socket.SHUT_WR)
                return
            self._sending = True
            await self._send(data)
            self._sending = False
            self._held_bytes -= len(data)
            self._changed.set()

    async def _send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        rest = memoryview(data)
        while rest:
            rate = self._proxy.bytes_per_second()
            piece = rest if rate is None else rest[: max(1, rate // 20)]
            await loop.sock_sendall(self._target, piece)
            rest = rest[len(piece) :]
            if rate is not None:
                await asyncio.sleep(len(piece) / rate)


class _Connection:
    """One accepted connection and the one dialled for it."""

    def __init__(self, client: socket.socket, proxy: "FaultProxy") -> None:
        self._client = client
        self._server: socket.socket | None = None
        self._proxy = proxy
        self._forward: _Pump | None = None
        self._backward: _Pump | None = None
        self._never_dialled = False
        self.task = asyncio.ensure_future(self._run())

    def swallow(self, cut: Cut) -> None:
        """Lose what a cut loses; a connection still being dialled finds out by itself."""
        if self._forward is not None and cut.direction != "backward":
            self._forward.swallow()
        if self._backward is not None and cut.direction != "forward":
            self._backward.swallow()

    def heal(self) -> None:
        """End a cut: a connection that lost something is reset, any other goes on."""
        pumps = [pump for pump in (self._forward, self._backward) if pump is not None]
        if self._never_dialled or any(pump.lost for pump in pumps):
            self.task.cancel()
        for pump in pumps:
            pump.deliver()

    async def _run(self) -> None:
        clean = False
        try:
            await self._dial()
            if self._server is None:
                self._never_dialled = True
                self._forward = _Pump(
                    self._client, self._client, self._proxy, swallow=True, calls=True
                )
                await self._forward.run()
                return
            proxy = self._proxy
            self._forward = _Pump(
                self._client, self._server, proxy, swallow=proxy.loses("forward"), calls=True
            )
            self._backward = _Pump(
                self._server, self._client, proxy, swallow=proxy.loses("backward"), calls=False
            )
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._forward.run())
                directions.create_task(self._backward.run())
            clean = True
        except* OSError:
            clean = False
        finally:
            self.close(reset=not clean)

    def close(self, *, reset: bool) -> None:
        """Close both ends; safe to repeat."""
        for end in (self._client, self._server):
            if end is not None:
                _close(end, reset=reset)

    async def _dial(self) -> None:
        """Connect to the other side, unless nothing gets there; that can also change on the way."""
        if not self._proxy.loses("forward"):
            try:
                self._server = await self._proxy.dial()
            except OSError:
                if not self._proxy.loses("forward"):
                    raise
        if self._server is not None and self._proxy.loses("forward"):
            _close(self._server, reset=True)
            self._server = None


class FaultProxy:
    """
    One listening port that passes connections on to ``target``.

    It suffers the worst fault of the ``leases`` it lies on; whoever owns a lease calls `follow` after each change.
    ``rng`` draws the jitter.
    """

    def __init__(self, listener: socket.socket, target: tuple[str, int], rng: Random) -> None:
        self._listener = listener
        self._target = target
        self._rng = rng
        self._leases: list[Lease] = []
        self._connections: set[_Connection] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._fault: Fault | None = None
        self.swallowed_bytes = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections it carries now."""
        return len(self._connections)

    def lie_on(self, lease: Lease) -> None:
        """Suffer this lease's faults too."""
        self._leases.append(lease)

    def start(self) -> None:
        """Begin to listen and accept; needs a running loop."""
        self._listener.listen(BACKLOG)
        self._accepting = asyncio.ensure_future(self._accept())

    async def close(self) -> None:
        """Stop listening and reset every connection."""
        tasks = [connection.task for connection in self._connections]
        if self._accepting is not None:
            tasks.append(self._accepting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    def follow(self) -> None:
        """Act on the faults now in force."""
        before = self._fault
        self._fault = worst([lease.fault for lease in self._leases if lease.fault is not None])
        if isinstance(before, Cut):
            for connection in self._connections:
                connection.heal()
        if isinstance(self._fault, Cut):
            for connection in self._connections:
                connection.swallow(self._fault)
        if isinstance(self._fault, Reset | Refuse):
            for connection in self._connections:
                connection.task.cancel()
        self._listen(refuse=isinstance(self._fault, Refuse))

    def loses(self, direction: str) -> bool:
        """Whether what goes in this direction is lost now."""
        return isinstance(self._fault, Cut) and self._fault.direction in {"both", direction}

    def delay_seconds(self) -> float:
        """Draw by how much the next chunk comes later."""
        if not isinstance(self._fault, Latency):
            return 0.0
        return self._fault.latency_seconds + self._rng.uniform(0, self._fault.jitter_seconds)

    def bytes_per_second(self) -> int | None:
        """Tell the rate that a connection is held to now."""
        return self._fault.bytes_per_second if isinstance(self._fault, Rate) else None

    def fails_call(self) -> bool:
        """Draw whether what is being sent now resets its connection instead."""
        return isinstance(self._fault, Flaky) and self._rng.random() < self._fault.share

    async def dial(self) -> socket.socket:
        """Connect to the target. Raises OSError."""
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.settimeout(0)
        try:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(DIAL_SECONDS_MAX):
                await asyncio.get_running_loop().sock_connect(server, self._target)
        except BaseException:
            server.close()
            raise
        return server

    def _listen(self, *, refuse: bool) -> None:
        if self._accepting is None:
            return
        listening = not self._accepting.cancelled() and not self._accepting.cancelling()
        if refuse and listening:
            self._accepting.cancel()
            # Linux: the port stays bound but answers "connection refused" until `listen` is called again.
            self._listener.shutdown(socket.SHUT_RDWR)
        elif not refuse and not listening:
            self._listener.listen(BACKLOG)
            self._accepting = asyncio.ensure_future(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(0.1)  # out of descriptors: some will be closed
                continue
            if isinstance(self._fault, Reset):
                _close(client, reset=True)
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(client, self)
            self._connections.add(connection)
            connection.task.add_done_callback(partial(self._forget, connection))

    def _forget(self, connection: _Connection, _: asyncio.Task[None]) -> None:
        self._connections.discard(connection)
        # A task that was cancelled before its first step has closed nothing.
        connection.close(reset=True)
