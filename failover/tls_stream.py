"""
The server's end of one TLS connection, over plain streams.

The event loop's own TLS drops the alert with which a refused caller is told why; here it is sent, so that the caller's
log can name the reason.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Any, Final

READ_BYTES: Final = 256 * 1024
# Who takes nothing of what is sent for so long is cut.
TAKE_SECONDS: Final = 20.0
_LINGER_SECONDS: Final = 1.0


class TlsStream:
    """
    One caller's connection.

    Args:
        reader: What comes from the caller.
        writer: What goes to the caller.
        context: Of a server.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> None:
        self._reader, self._writer = reader, writer
        self._came, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._leaving, server_side=True)

    async def shake_hands(self) -> None:
        """
        Agree on keys, and check the caller's certificate.

        Raises:
            ssl.SSLError: The caller is to be refused, by `refuse`.
            OSError: The caller is gone.
            TimeoutError: The caller takes nothing.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise ConnectionResetError("gone during the handshake") from None
            else:
                await self._flush()
                return

    async def refuse(self) -> None:
        """
        Tell the caller why the handshake failed. Raises nothing.

        Closed with something unread, the connection would be reset and the alert lost: what comes is dropped for a
        while.
        """
        with contextlib.suppress(OSError, TimeoutError):
            await self._flush()
            self._writer.write_eof()
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self._reader.read(READ_BYTES):
                    pass

    def certificate(self) -> Mapping[str, Any] | None:
        """Return the caller's certificate, verified, after `shake_hands`."""
        return self._tls.getpeercert()

    async def read(self) -> bytes:
        """Return what the caller says next; empty once it says nothing more. Raises `OSError`, `TimeoutError`."""
        while True:
            try:
                return self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    async def write(self, data: bytes) -> None:
        """Say something to the caller. Raises `OSError`, `TimeoutError`."""
        left = memoryview(data)
        while left:
            left = left[self._tls.write(left) :]
        await self._flush()

    async def end(self) -> None:
        """Say that nothing more comes, so that the caller knows a whole answer from a cut one. Raises nothing."""
        with contextlib.suppress(OSError, TimeoutError):
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            await self._flush()

    async def _fill(self) -> bool:
        data = await self._reader.read(READ_BYTES)
        self._came.write(data)
        return bool(data)

    async def _flush(self) -> None:
        data = self._leaving.read()
        if data:
            self._writer.write(data)
            async with asyncio.timeout(TAKE_SECONDS):
                await self._writer.drain()
