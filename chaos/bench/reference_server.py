"""
What the portal is compared with: servers that answer with constant bytes, on the portal's own HTTP server.

Run as ``python -m chaos.bench.reference_server KIND PORT BODY MEDIA_TYPE``. ``asgi`` is an application of one function:
nothing in Python answers faster, so it shows what server and load generator allow. ``litestar`` is a Litestar route
with a path parameter.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from litestar import Litestar, Response, get
from litestar.params import FromPath

from failover.http_server import open_socket, serve


def bare_asgi(body: bytes, media_type: str) -> Any:
    """Make an application of one function."""
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        # A cache in front may keep it.
        (b"cache-control", b"public, max-age=3600"),
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def litestar_constant(body: bytes, media_type: str) -> Litestar:
    """Make a Litestar application with one route that has a path parameter."""

    @get("/constant/{name:str}", sync_to_thread=False)
    def constant(name: FromPath[str]) -> Response[bytes]:
        del name
        return Response(body, media_type=media_type)

    return Litestar([constant], logging_config=None, openapi_config=None)


async def _run(kind: str, port: int, body: bytes, media_type: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    make = {"asgi": bare_asgi, "litestar": litestar_constant}[kind]
    with open_socket("127.0.0.1", port) as listener:
        await serve(make(body, media_type), listener, stop=stop)


def main() -> None:
    """Serve until SIGTERM."""
    kind, port, body_file, media_type = sys.argv[1:]
    asyncio.run(_run(kind, int(port), Path(body_file).read_bytes(), media_type))


if __name__ == "__main__":
    main()
