"""Answers that a worker keeps: they are those of the framework, and none outlives what it was made from."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.documents import ACCOUNT, CREDENTIAL, STATEMENT
from cache_sync.frames import Position
from edge_portal.cookies import POSITION_COOKIE, SESSION_COOKIE
from edge_portal.views import Mode, ModeView
from tests.integration.edge_api.hot_world import (
    ACCOUNT_PATH,
    BILL_PATH,
    KEYS,
    HotWorld,
    Queued,
    client_of,
    filled,
)
from tests.unit.edge_portal.edge_world import (
    BANK,
    HELD,
    MINE,
    OTHERS,
    OTHERS_BANK,
    OTHERS_STATEMENT,
    HandClock,
    account,
    receipt,
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[HotWorld]:
    """Return a world with two customers."""
    async with filled(tmp_path, SystemClock()) as made:
        yield made


@pytest.fixture
async def client(world: HotWorld) -> AsyncIterator[httpx.AsyncClient]:
    """Return a program that may read MINE by default."""
    async with client_of(world.app) as made:
        yield made


async def read_account(client: httpx.AsyncClient, token: str, **headers: str) -> httpx.Response:
    """Ask for the account as a program does: it keeps no cookies."""
    client.cookies.clear()
    return await client.get(ACCOUNT_PATH, headers={"Authorization": f"Bearer {token}", **headers})


async def read_bill(
    client: httpx.AsyncClient, token: str, path: str = BILL_PATH, position: str = ""
) -> httpx.Response:
    """Ask for a bill's page as a browser does."""
    client.cookies.clear()
    cookie = f"{SESSION_COOKIE}={token}"
    if position:
        cookie += f"; {POSITION_COOKIE}={position}"
    return await client.get(path, headers={"Cookie": cookie})


def unlabelled(answer: httpx.Response) -> tuple[dict[str, str], Any]:
    """Return what of an answer is the same each time."""
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in {"age", "ridethrough-as-of", "content-length"}
    }
    if "json" not in headers["content-type"]:
        return headers, answer.text
    body = answer.json()
    return headers, {
        name: value for name, value in body.items() if name not in {"as_of", "age_seconds"}
    }


async def test_the_account_is_kept_word_for_word(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """The second answer is the framework's first, without the framework."""
    token = world.token()
    first = await read_account(client, token)
    viewed = world.portal.viewed
    second = await read_account(client, token)
    assert first.status_code == second.status_code == 200
    assert unlabelled(second) == unlabelled(first)
    assert list(second.json()) == list(first.json())
    assert second.headers["content-length"] == str(len(second.content))
    assert world.portal.viewed == viewed


async def test_a_page_is_kept_word_for_word(world: HotWorld, client: httpx.AsyncClient) -> None:
    """Its cookie for the position and all security headers too."""
    token = world.token()
    first = await read_bill(client, token)
    viewed = world.portal.viewed
    second = await read_bill(client, token)
    assert first.status_code == 200
    assert POSITION_COOKIE in first.headers["set-cookie"]
    assert unlabelled(second) == unlabelled(first)
    assert world.portal.viewed == viewed


@pytest.mark.parametrize("mode_name", ["normal", "degraded"])
async def test_what_is_kept_is_the_frameworks_byte_for_byte(
    tmp_path: Path, mode_name: Mode
) -> None:
    """While the clock stands: status, every header in its place, body; at first, from what is kept, and for HEAD."""
    async with filled(tmp_path, HandClock()) as world:
        world.mode_now = msgspec.structs.replace(world.mode_now, mode=mode_name)
        token = world.token()
        bearer, cookie = f"Bearer {token}", f"{SESSION_COOKIE}={token}"
        asked = [
            (httpx.Request(method, f"http://edge.test{path}", headers={name: value}), kept)
            for path, name, value, kept in (
                (ACCOUNT_PATH, "Authorization", bearer, True),
                (BILL_PATH, "Cookie", cookie, True),
                (f"/bills/{OTHERS_STATEMENT}", "Cookie", cookie, False),
                (BILL_PATH, "Cookie", cookie[:-2], False),
                (ACCOUNT_PATH, "Authorization", bearer[:-2], False),
                (ACCOUNT_PATH, "Accept", "*/*", False),
            )
            for method in ("GET", "HEAD")
        ]
        hot, framework = Queued(world.app), Queued(world.framework)
        for request, kept in asked:
            expected = await framework.handle_async_request(request)
            body = await expected.aread()
            for time in range(3):
                viewed = world.portal.viewed
                answer = await hot.handle_async_request(request)
                assert await answer.aread() == body
                assert answer.status_code == expected.status_code
                assert answer.headers.raw == expected.headers.raw
                assert not (time and kept) or world.portal.viewed == viewed


async def test_those_who_wait_together_are_answered_from_one_look(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """And whoever comes after a change sees it, however many came before."""
    token = world.token()
    await read_account(client, token)
    looks = world.watch.looks
    answers = await asyncio.gather(*(read_account(client, token) for _ in range(20)))
    assert {answer.json()["balance"] for answer in answers} == {10_000}
    assert world.watch.looks == looks + 1
    changed = msgspec.structs.replace(account(MINE, [BANK]), balance_cents=777)
    await world.publish((MINE, ACCOUNT, "", changed))
    answers = await asyncio.gather(*(read_account(client, token) for _ in range(20)))
    assert {answer.json()["balance"] for answer in answers} == {777}


async def test_labels_are_those_of_the_moment(world: HotWorld, client: httpx.AsyncClient) -> None:
    """A newer T and a newer position, of another account's commit, with the kept answer."""
    token = world.token()
    await read_bill(client, token)
    before = await read_account(client, token)
    viewed = world.portal.viewed
    await world.publish((OTHERS, ACCOUNT, "", account(OTHERS, [OTHERS_BANK, BANK])))
    after = await read_account(client, token)
    page = await read_bill(client, token)
    assert world.portal.viewed == viewed
    assert after.json()["as_of"] > before.json()["as_of"]
    assert after.headers["ridethrough-as-of"] > before.headers["ridethrough-as-of"]
    seen = [Position.parse(each.headers["ridethrough-position"]) for each in (before, after)]
    assert seen[0]
    assert seen[1]
    assert seen[1].seq > seen[0].seq
    assert page.headers["ridethrough-position"] == str(seen[1])
    assert f"{POSITION_COOKIE}={seen[1]}~" in page.headers["set-cookie"]


async def test_a_change_of_the_account_is_seen_at_once(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """No answer outlives the document it was made from."""
    token = world.token()
    assert (await read_account(client, token)).json()["balance"] == 10_000
    changed = msgspec.structs.replace(account(MINE, [BANK]), balance_cents=777)
    await world.publish((MINE, ACCOUNT, "", changed))
    assert (await read_account(client, token)).json()["balance"] == 777


async def test_a_withdrawn_bill_is_gone_at_once(world: HotWorld, client: httpx.AsyncClient) -> None:
    """A deletion is a change of the account too."""
    token = world.token()
    assert (await read_bill(client, token)).status_code == 200
    await world.publish((MINE, STATEMENT, HELD, None))
    assert (await read_bill(client, token)).status_code == 404


async def test_a_recorded_payment_is_seen_at_once(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """It is pending before its document is here."""
    token = world.token()
    assert (await read_account(client, token)).json()["pending_amount"] == 0
    world.journal.rows.append(receipt("key-1", 2_500))
    assert (await read_account(client, token)).json()["pending_amount"] == 2_500


async def test_another_ones_payment_changes_nothing(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """The journal moved, this account's receipts did not."""
    token = world.token()
    await read_account(client, token)
    viewed = world.portal.viewed
    world.journal.rows.append(receipt("key-1", account_id=OTHERS))
    assert (await read_account(client, token)).json()["pending_amount"] == 0
    assert world.portal.viewed == viewed


async def test_a_revoked_sign_in_ends_at_once(world: HotWorld, client: httpx.AsyncClient) -> None:
    """Whatever was kept for it."""
    token = world.token()
    assert (await read_account(client, token)).status_code == 200
    assert (await read_bill(client, token)).status_code == 200
    await world.publish((MINE, CREDENTIAL, KEYS[MINE], world.credential(MINE, version=2)))
    assert (await read_account(client, token)).status_code == 401
    assert (await read_bill(client, token)).status_code == 303


async def test_what_is_kept_is_for_its_own_token_alone(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """Another customer gets his own account, and nobody gets another one's bill."""
    mine, others = world.token(), world.token(OTHERS)
    for _ in range(2):
        assert (await read_account(client, mine)).json()["account_id"] == MINE
        assert (await read_account(client, others)).json()["account_id"] == OTHERS
        assert (await read_bill(client, mine)).status_code == 200
        assert (await read_bill(client, others)).status_code == 404
        assert (await read_account(client, mine[:-2])).status_code == 401
        assert (await client.get(ACCOUNT_PATH)).status_code == 401


async def test_an_expired_token_is_refused(world: HotWorld, client: httpx.AsyncClient) -> None:
    """Time alone ends it."""
    token = world.token(issued_ago=timedelta(hours=1, minutes=59, seconds=59, milliseconds=500))
    first = await read_account(client, token)
    while first.status_code == 200:
        await world.follow()
        first = await read_account(client, token)
    assert first.status_code == 401


async def test_a_page_of_an_ageing_session_renews_its_cookie(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """Every time, until the browser comes with the new one."""
    token = world.token(issued_ago=timedelta(minutes=11))
    for _ in range(2):
        answer = await read_bill(client, token)
        assert any(SESSION_COOKIE in each for each in answer.headers.get_list("set-cookie"))


async def test_an_outage_is_told_at_once(world: HotWorld, client: httpx.AsyncClient) -> None:
    """The page gains its message, and loses it again; the label follows the mode."""
    token, normal = world.token(), world.mode_now
    calm = await read_bill(client, token)
    world.mode_now = msgspec.structs.replace(normal, mode="degraded", reason="core_silent")
    for _ in range(2):
        down = await read_bill(client, token)
        assert "Our main system is down." in down.text
        assert down.headers["ridethrough-mode"] == "degraded"
        assert (await read_account(client, token)).headers["ridethrough-mode"] == "degraded"
    world.mode_now = normal
    assert unlabelled(await read_bill(client, token)) == unlabelled(calm)


async def test_answers_are_kept_all_through_an_outage(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """However long it lasts and whatever is paid meanwhile by others; until a limit stops payments."""
    token = world.token()
    down = msgspec.structs.replace(
        world.mode_now, mode="degraded", reason="core_silent", archive_open=False
    )

    def standing(outage_seconds: float, outstanding_cents: int) -> ModeView:
        figures = msgspec.structs.replace(
            down.standing, outage_seconds=outage_seconds, outstanding_cents=outstanding_cents
        )
        return msgspec.structs.replace(down, standing=figures)

    world.mode_now = standing(0.0, 0)
    assert (await read_account(client, token)).json()["payments_open"] is True
    page = await read_bill(client, token)
    viewed = world.portal.viewed
    for second in range(1, 20):
        world.mode_now = standing(second / 2, second * 100)
        assert (await read_account(client, token)).json()["payments_open"] is True
        assert (await read_bill(client, token)).text == page.text
    assert world.portal.viewed == viewed
    world.mode_now = standing(down.standing.limits.outage_seconds + 1, 0)
    assert (await read_account(client, token)).json()["payments_open"] is False
    assert (await read_bill(client, token)).text != page.text
    assert world.portal.viewed > viewed


async def test_what_waits_elsewhere_is_told_at_once(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """The account says what this edge may miss, until it has it; that a sibling was heard again makes nothing anew."""
    token = world.token()
    assert (await read_account(client, token)).json()["may_miss"] is None
    world.hear(world.clock, "elsewhere")
    for _ in range(2):
        missed = (await read_account(client, token)).json()["may_miss"]
        assert missed == {"why": "waiting", "payments": 1, "since": None}
    viewed = world.portal.viewed
    world.hear(world.clock, "elsewhere")
    await read_account(client, token)
    assert world.portal.viewed == viewed
    known = receipt("key-1")
    world.hear(world.clock, known.intent_id)
    world.journal.rows.append(known)
    assert (await read_account(client, token)).json()["may_miss"] is None


async def test_a_customer_who_has_seen_more_is_told_so(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """By header or by cookie; what was kept says nothing of that."""
    token, ahead = world.token(), "1.0.9999"
    await read_account(client, token)
    await read_bill(client, token)
    for _ in range(2):
        told = await read_account(client, token, **{"Ridethrough-Position": ahead})
        assert told.json()["catching_up"] is True
        position = Position.parse(ahead)
        assert position
        page = await read_bill(client, token, position=world.portal.write_positions([position]))
        assert "We are bringing your account up to date." in page.text
        assert f"{POSITION_COOKIE}={ahead}~" in page.headers["set-cookie"]
    assert (await read_account(client, token)).json()["catching_up"] is False


async def test_a_question_with_more_to_it_is_the_frameworks(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """A query, two cookies of one name: answered by who knows all the rules, as before."""
    token = world.token()
    await read_account(client, token)
    viewed = world.portal.viewed
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.get(f"{ACCOUNT_PATH}?x=1", headers=headers)).status_code == 200
    doubled = f"{SESSION_COOKIE}={token}; {SESSION_COOKIE}={token}"
    assert (await client.get(BILL_PATH, headers={"Cookie": doubled})).status_code == 200
    assert world.portal.viewed == viewed + 2


async def test_kept_answers_are_counted_by_route(
    world: HotWorld, client: httpx.AsyncClient
) -> None:
    """Under the route's template, as the framework's own."""
    token = world.token()

    async def counted() -> float:
        metrics = (await client.get("/metrics")).text
        name = 'ridethrough_edge_requests_total{route="/api/v1/account",status="200"}'
        found = [line for line in metrics.splitlines() if line.startswith(name)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    before = await counted()
    await read_account(client, token)
    await read_account(client, token)
    assert await counted() == before + 2


async def test_head_is_answered_without_a_body(world: HotWorld, client: httpx.AsyncClient) -> None:
    """From what is kept as well."""
    token = world.token()
    full = await read_account(client, token)
    head = await client.head(ACCOUNT_PATH, headers={"Authorization": f"Bearer {token}"})
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == full.headers["content-type"]
