"""What every HTTP client may expect of an edge, whatever it asks."""

import httpx
import pytest

from tests.integration.test_edge_api import client, world

__all__ = ["client", "world"]


@pytest.mark.parametrize("path", ["/api/v1/account", "/healthz", "/status", "/sign-in"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    """A monitor asks with HEAD and gets what GET would say, less the body."""
    asked, told = await client.head(path), await client.get(path)
    assert asked.status_code == told.status_code
    assert asked.headers["content-type"] == told.headers["content-type"]
    assert asked.content == b""


async def test_the_charset_is_named_once(client: httpx.AsyncClient) -> None:
    """Pages and styles say their charset, once."""
    page = await client.get("/sign-in")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
