"""The connection to a Redis: who is let in, over TLS or not, and what servers can do that are none."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cache_sync.clock import SystemClock
from cache_sync.errors import RedisUnavailable
from cache_sync.redis_link import RedisLink, RedisRefusal, Reply
from tests.integration.engines.redis_servers import RedisServer

SECRET = "a-secret/of:the@redis"
QUOTED = "a-secret%2Fof%3Athe%40redis"


def asked(url: str, *command: str, seconds: float = 2.0) -> Reply:
    """Ask one thing over a link of its own."""
    link = RedisLink(url, clock=SystemClock(), seconds=seconds)
    try:
        (reply,) = link.ask(command)
    finally:
        link.close()
    return reply


def test_user_password_and_database_are_taken_from_the_address(redis: RedisServer) -> None:
    """Also where they hold what means something in an address; whoever is not let in says so, without the secret."""
    redis.ask("ACL", "SETUSER", "edge", "on", f">{SECRET}", "~*", "+@all")
    url = f"redis://edge:{QUOTED}@127.0.0.1:{redis.port}/3"
    assert asked(url, "ACL", "WHOAMI") == b"edge"
    asked(url, "SET", "here", "1")
    assert redis.ask("EXISTS", "here") == 0
    with pytest.raises(RedisUnavailable, match="does not let us in: WRONGPASS") as refused:
        asked(url.replace("secret", "mistake"), "PING")
    assert "secret" not in str(refused.value)
    assert "mistake" not in str(refused.value)
    redis.ask("ACL", "DELUSER", "edge")


def test_refusals_are_answers(redis: RedisServer) -> None:
    """What the server does not do is told by its first word, and the connection stays good."""
    link = RedisLink(redis.url, clock=SystemClock())
    refused, pong = link.ask(("LPUSH",), ("PING",))
    assert isinstance(refused, RedisRefusal)
    assert refused.code == "ERR"
    assert pong == b"PONG"
    assert link.connected
    link.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$999999999999\r\n",
        b"$-7\r\n",
        b"*1\r\n" * 50,
        b"+" + b"x" * 200_000,
        b"\r\n\r\n",
        b"*2\r\n$1\r\n",
        b"",
    ],
)
async def test_a_server_that_is_no_redis_is_given_up(answer: bytes) -> None:
    """Nonsense, endless lengths, endless depth, a hang-up: one error, within the deadline."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RedisUnavailable):
            await asyncio.to_thread(asked, f"redis://127.0.0.1:{port}", "PING", seconds=1.0)


@pytest.fixture
async def tls_port(tmp_path: Path, redis: RedisServer) -> AsyncIterator[int]:
    """Return the port of a TLS front of the Redis, whose certificate is in ``tmp_path``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_certificate(tmp_path))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while content := await reader.read(65536):
                writer.write(content)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", redis.port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def write_certificate(folder: Path) -> Path:
    """Write a certificate for this machine, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a redis")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "redis.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_tls_is_checked(tmp_path: Path, tls_port: int) -> None:
    """With ``rediss://`` the server's certificate must be of a known authority; which one, the address may say."""
    url = f"rediss://127.0.0.1:{tls_port}"
    trusted = f"{url}?ssl_ca_certs={tmp_path / 'redis.pem'}"
    assert await asyncio.to_thread(asked, trusted, "PING") == b"PONG"
    with pytest.raises(RedisUnavailable):
        await asyncio.to_thread(asked, url, "PING")
