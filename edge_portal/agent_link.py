"""
Between the workers and the agent of one edge: a Unix socket, length-prefixed msgpack, many requests at a time.

The agent alone writes the journal. When it is gone or silent, the worker cannot know whether a payment was recorded
and says so; repeating with the same key is always safe.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import structlog

from edge_portal.errors import EdgeError
from failover.intents import Receipt
from failover.message_bodies import MessageBody
from failover.standin import MethodType

FRAME_BYTES_MAX: Final = 65536
IN_FLIGHT_MAX: Final = 256
SERVED_MAX: Final = 1024
SOCKET_NAME: Final = "agent.sock"

log = structlog.get_logger(__name__)


class PayRequest(msgspec.Struct, frozen=True, tag="pay"):
    """
    A payment that the worker has checked against the snapshot.

    ``method_verified`` is the saved method's status there, ``method_type`` its type; the agent decides the limits.
    """

    account_id: str
    idempotency_key: str
    amount_cents: int
    currency: str
    method_id: str
    method_verified: bool
    method_type: MethodType


class SendRequest(msgspec.Struct, frozen=True, tag="send"):
    """A message that the worker has checked against the snapshot."""

    account_id: str
    idempotency_key: str
    body: MessageBody


class AskRequest(msgspec.Struct, frozen=True, tag="ask"):
    """What became of a payment or message: here, or at a sibling."""

    account_id: str
    intent_id: str


class ReceiptReply(msgspec.Struct, frozen=True, tag="receipt"):
    """A receipt, or None when no node that could be asked knows of it."""

    receipt: Receipt | None


class RefusedReply(msgspec.Struct, frozen=True, tag="refused"):
    """
    A payment or message without a receipt.

    ``kind`` is one of ``invalid``, ``key_reused``, ``over_limit``, ``not_taken``, ``unknown``; ``which`` names the
    field or limit.
    """

    kind: str
    which: str = ""
    message: str = ""


Request = PayRequest | SendRequest | AskRequest
Reply = ReceiptReply | RefusedReply


class _Question(msgspec.Struct, frozen=True, array_like=True):
    number: int
    body: Request


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    number: int
    body: Reply


class AgentSilent(EdgeError):
    """
    The agent gave no answer: it is down, frozen or late.

    Even a request that was never sent proves nothing: an earlier one with the same key may have been recorded.
    """


@contextlib.contextmanager
def short_path(data: Path) -> Iterator[str]:
    """
    Give a path of the data folder's socket that fits a socket address, however deep the folder lies.

    Socket addresses end at 107 bytes; the way through an open folder's descriptor does not grow.
    """
    folder = os.open(data, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}"
    finally:
        os.close(folder)


class AgentLink:
    """A worker's end: one connection for all requests, made again when it breaks."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._decoder = msgspec.msgpack.Decoder(_Answer)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._number = 0
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()

    async def ask(self, request: Request, *, deadline_seconds: float) -> Reply:
        """
        Send a request and wait for its reply.

        Raises:
            AgentSilent: No connection, a broken one, or no reply in time.
        """
        if len(self._waiting) >= IN_FLIGHT_MAX:
            return RefusedReply("not_taken", message="too much at once")
        self._number += 1
        number = self._number
        try:
            async with asyncio.timeout(deadline_seconds):
                writer = await self._connection()
                reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
                self._waiting[number] = reply
                _write(writer, msgspec.msgpack.encode(_Question(number, request)))
                await writer.drain()
                return await reply
        except (OSError, TimeoutError) as failure:
            raise AgentSilent("the agent gave no answer") from failure
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Close the connection; requests that wait learn that the agent is silent."""
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=1)

    async def _connection(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is not None and self._reading is not None and not self._reading.done():
                return self._writer
            with short_path(self._data) as path:
                reader, writer = await asyncio.open_unix_connection(path)
            self._writer = writer
            self._reading = asyncio.create_task(self._read(reader, writer))
            return writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                answer = self._decoder.decode(await _read_frame(reader))
                waiting = self._waiting.pop(answer.number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer.body)
        except (OSError, EOFError, msgspec.MsgspecError):
            pass
        finally:
            writer.close()
            # What is waiting here waited for this connection: a new one is only made once this has ended.
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("the agent's connection ended"))


class AgentServer:
    """The agent's end: answers the requests of all workers concurrently."""

    def __init__(self, data: Path, answer: Callable[[Request], Awaitable[Reply]]) -> None:
        self._data = data
        self._answer = answer
        self._decoder = msgspec.msgpack.Decoder(_Question)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind the socket in the data folder (in place of one that a killed agent left) and serve."""
        socket_ = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_path(self._data) as path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - a path through a descriptor
            socket_.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101 - likewise
        self._server = await asyncio.start_unix_server(self._serve, sock=socket_)

    async def close(self) -> None:
        """Take no more requests; those under way are finished first."""
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=3)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                question = self._decoder.decode(await _read_frame(reader))
                if len(self._tasks) >= SERVED_MAX:
                    refused = RefusedReply("not_taken", message="too much at once")
                    _write(writer, msgspec.msgpack.encode(_Answer(question.number, refused)))
                    continue
                task = asyncio.create_task(self._reply(question, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (OSError, EOFError, msgspec.MsgspecError):
            pass
        finally:
            writer.close()

    async def _reply(self, question: _Question, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await self._answer(question.body)
        except Exception:
            log.exception("a request failed")
            reply = RefusedReply("unknown")
        if not writer.is_closing():
            _write(writer, msgspec.msgpack.encode(_Answer(question.number, reply)))
            with contextlib.suppress(OSError):
                await writer.drain()


def _write(writer: asyncio.StreamWriter, payload: bytes) -> None:
    writer.write(len(payload).to_bytes(4, "big") + payload)


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > FRAME_BYTES_MAX:
        raise EOFError("a frame that no peer of ours sends")
    return await reader.readexactly(length)
