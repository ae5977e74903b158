"""How the tests ask the API, and what they expect of a refusal."""

import httpx
import msgspec

from tests.unit.edge_portal.edge_world import (
    BANK,
)

GOOD = {"amount": 2_500, "method_id": BANK}


async def pay(
    client: httpx.AsyncClient, body: object = None, key: str | None = "key-1"
) -> httpx.Response:
    """Pay; ``body`` is sent as it is when it is bytes."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body or GOOD)
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post("/api/v1/payments", content=content, headers=headers)


def assert_problem(answer: httpx.Response, status: int, slug: str, field: str = "") -> None:
    """Check that an answer is a problem detail that says what is wrong."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    told = answer.json()
    assert told["status"] == status
    assert told["title"]
    assert told["type"] == f"urn:ridethrough:problem:{slug}"
    if field:
        assert [error["field"] for error in told["errors"]] == [field]
        assert all(error["rule"] for error in told["errors"])
