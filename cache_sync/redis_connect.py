"""The one door to redis-py: it makes a connection, TLS and all; once, without retries."""

import socket
from collections.abc import Callable
from typing import NamedTuple

from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import RedisError
from redis.retry import Retry


class Connected(NamedTuple):
    """A connected socket, and how to close it."""

    socket: socket.socket
    close: Callable[[], None]


def connect(url: str, host: str, port: int, *, seconds: float) -> Connected:
    """
    Connect to a node; nothing is said to it yet.

    Args:
        url: Says how: TLS, and in its query what redis-py knows of certificates (``ssl_ca_certs`` and the like).
        host: Where; not that of the URL in a cluster.
        port: Likewise.
        seconds: How long each step of it may take.

    Raises:
        OSError: It cannot be done, or not in time.
        ValueError: The URL says something that redis-py does not understand.
    """
    settings = parse_url(url)  # type: ignore[no-untyped-call]
    kind = settings.pop("connection_class", Connection)
    for other in ("username", "password", "db", "host", "port"):
        settings.pop(other, None)
    try:
        connection: Connection = kind(
            host=host,
            port=port,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=lambda _: None,
            **settings,
        )
        connection.connect()  # type: ignore[no-untyped-call]
    except (RedisError, TypeError) as error:
        # Not its message: it may repeat the settings.
        raise ConnectionError(type(error).__name__) from None
    found = connection._get_socket()  # noqa: SLF001 - what redis-py is used for here
    assert found is not None, "it was connected"
    return Connected(found, connection.disconnect)
