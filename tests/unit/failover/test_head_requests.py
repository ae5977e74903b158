"""HEAD, for both applications."""

import httpx
import pytest
from litestar import Litestar, get, post

from failover.head_requests import HeadAsGet


@get("/told")
async def told() -> str:
    """Answer."""
    return "a body"


@post("/done")
async def done() -> None:
    """Change something."""


@pytest.mark.parametrize(("path", "status"), [("/told", 200), ("/done", 405), ("/none", 404)])
async def test_head_is_get_without_the_body(path: str, status: int) -> None:
    """Status and headers of the GET; where there is no GET there is no HEAD."""
    app = HeadAsGet(Litestar([told, done]))
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://node.test") as client:
        asked, got = await client.head(path), await client.get(path)
    assert (asked.status_code, asked.content) == (status, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]


async def test_other_methods_pass_as_they_are() -> None:
    """A GET keeps its body."""
    transport = httpx.ASGITransport(HeadAsGet(Litestar([told])))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://node.test") as client:
        assert (await client.get("/told")).text == "a body"
