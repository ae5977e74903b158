"""Stand-in limits at the core: set by operators, audited, told to each edge with its share, on both databases."""

import re
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from cache_sync.publication import raise_epoch
from core_cis.__main__ import main
from core_cis.audit import read_log, verify_log
from core_cis.registry import Serving, add_edge, revoke_edge, write_edge_config
from core_cis.standin_limits import FleetLimits
from core_cis.standin_limits import set_limits as set_fleet_limits
from failover.signed_orders import SignedOrder
from failover.signing import public_key
from failover.standin import Holding, Limits, OrderPlace
from failover.standin_orders import StandinOrder, read_order
from tests.integration.core_cis.console_edges import Edges
from tests.integration.core_cis.test_console import HOME, console, hidden, sign_in

LIMITS: dict[str, Any] = {
    "per_payment": 20_000,
    "account_day_count": 5,
    "account_day_sum": 60_000,
    "edge_outstanding": 50_000,
    "fleet_outstanding": 80_000,
    "snapshot_age_seconds": 7200,
    "outage_seconds": 3600,
    "method_types": ["card"],
}
HELD = Limits().edge_outstanding_cents


def body(**changes: Any) -> dict[str, Any]:
    """Write what a program asks for."""
    return {"operator": "Ada", "reason": "storm", "limits": LIMITS | changes}


async def set_limits(core: Any, client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    """Set limits as a program does."""
    return await client.post("/ops/v1/limits", json=body(**changes), headers=core.operator())


async def probe(
    core: Any, client: httpx.AsyncClient, edge: str, held: Holding | None = None
) -> StandinOrder | None:
    """Ask as an edge that holds something; returns the order it is told."""
    params = {} if held is None else {"limits": str(held)}
    answer = await client.get("/probe", params=params, headers=core.node(edge))
    assert answer.status_code == 200, answer.text
    told = answer.json()["standin"]
    if told is None:
        return None
    order = read_order(msgspec.convert(told, SignedOrder), public_key(core.signing_key()))
    assert order is not None, "the core signs what it orders"
    assert order.node_id == edge
    return order


def share(order: StandinOrder | None) -> int:
    """Tell the share of an order."""
    assert order is not None
    return order.limits.edge_outstanding_cents


def follows(order: StandinOrder | None) -> Holding:
    """Make what an edge says that follows an order."""
    assert order is not None
    return Holding(order.place, order.limits.edge_outstanding_cents)


async def settle(core: Any, client: httpx.AsyncClient, *edges: str) -> dict[str, StandinOrder]:
    """Have edges ask until none is told anything new; returns what each follows."""
    found: dict[str, StandinOrder] = {}
    held = {edge: Holding(OrderPlace(0, 0), HELD) for edge in edges}
    for _ in range(4):
        for edge in edges:
            order = await probe(core, client, edge, held[edge])
            if order is not None:
                found[edge], held[edge] = order, follows(order)
    assert [await probe(core, client, edge, held[edge]) for edge in edges] == [None] * len(edges)
    return found


async def test_edges_are_told_their_part(core: Any) -> None:
    """Nothing before the first order; then each its even share, in all never more than the total."""
    async with core.serving() as client:
        assert await probe(core, client, "east", Holding(OrderPlace(0, 0), HELD)) is None
        assert (await set_limits(core, client)).status_code == 200
        # Both begin with what their own files allow: until one says that it has less, the other gets nothing.
        first = await probe(core, client, "east", Holding(OrderPlace(0, 0), HELD))
        assert share(first) == 0
        followed = await settle(core, client, "east", "west")
        assert [share(followed[edge]) for edge in ("east", "west")] == [40_000, 40_000]
        limits = followed["east"].limits
        assert (limits.per_payment_cents, limits.method_types) == (20_000, ("card",))
        assert (limits.snapshot_age_seconds, limits.outage_seconds) == (7200.0, 3600.0)
        assert followed["east"].version == 1


async def test_what_an_edge_was_told_survives_the_core(core: Any) -> None:
    """A restarted core counts it still: a lost answer is told again, as the same order."""
    async with core.serving() as client:
        await set_limits(core, client)
        followed = await settle(core, client, "east", "west")
        await set_limits(core, client, fleet_outstanding=60_000)
        lost = await probe(core, client, "east", follows(followed["east"]))
    async with core.serving() as client:
        again = await probe(core, client, "east", follows(followed["east"]))
        assert again == lost
        assert share(again) == 20_000  # 60,000 less the 40,000 that its sibling still has.


async def test_a_new_edge_gets_what_others_have_given_up(core: Any) -> None:
    """Its own file gives it no share; one that is expelled leaves its part to the others."""
    async with core.serving() as client:
        await set_limits(core, client, edge_outstanding=80_000)
        followed = await settle(core, client, "east", "west")
        with core.open() as store, store.transaction() as tx:
            add_edge(tx, "north", "http://127.0.0.1:9002")
            file = core.data_dir.parent / "north.json"
            serving = Serving(core_url="http://127.0.0.1", port=8002, peer_port=9002)
            config = write_edge_config(tx, "north", serving, file, keys=store.keys)
            core.configs["north"] = config
        assert config.standin.edge_outstanding_cents == 0
        assert config.standin.per_payment_cents == 20_000
        core.clock.move(1)
        begun = Holding(OrderPlace(0, 0), 0)
        assert share(await probe(core, client, "north", begun)) == 0
        east = await probe(core, client, "east", follows(followed["east"]))
        assert share(east) == 26_666
        assert await probe(core, client, "east", follows(east)) is None
        north = await probe(core, client, "north", begun)
        # The west was not heard: its 40,000 count, and 40,000 less 26,666 are left.
        assert share(north) == 13_334
        with core.open() as store, store.transaction() as tx:
            revoke_edge(tx, "west")
        core.clock.move(1)
        assert share(await probe(core, client, "north", follows(north))) == 40_000


async def test_what_waits_above_a_smaller_share_counts(core: Any) -> None:
    """Until the edge has no more outstanding than it may, nobody else is given the difference."""
    async with core.serving() as client:
        await set_limits(core, client)
        followed = await settle(core, client, "east", "west")
        await set_limits(core, client, fleet_outstanding=60_000)
        east = await probe(core, client, "east", follows(followed["east"]))
        assert east is not None
        assert share(east) == 20_000  # What the 40,000 of the west leave.
        assert await probe(core, client, "east", Holding(east.place, 40_000)) is None
        west = await probe(core, client, "west", follows(followed["west"]))
        assert share(west) == 20_000
        assert await probe(core, client, "west", follows(west)) is None
        assert await probe(core, client, "east", Holding(east.place, 5_000)) is not None
        assert share(await probe(core, client, "west", follows(west))) == 30_000


async def test_after_a_restore_nobody_is_told_more_before_all_were_heard(core: Any) -> None:
    """The core may have given out more than its backup knows; and what it orders then comes after all of that."""
    async with core.serving() as client:
        await set_limits(core, client)
        followed = await settle(core, client, "east", "west")
    restore = core.back_up()
    async with core.serving() as client:
        await set_limits(core, client, edge_outstanding=80_000)
        with core.open() as store, store.transaction() as tx:
            revoke_edge(tx, "west")
        core.clock.move(1)
        east = await probe(core, client, "east", follows(followed["east"]))
        assert share(east) == 80_000
    restore()
    with core.open() as store, store.transaction(alone=True) as tx:
        for shard in store.shards:
            raise_epoch(tx.connection, shard, 2)
        wanted = LIMITS | {"fleet_outstanding": 100_000}
        set_fleet_limits(tx, msgspec.convert(wanted, FleetLimits))
    core.clock.move(1)
    async with core.serving() as client:
        back = await probe(core, client, "east", follows(east))
        assert back is not None
        assert (back.epoch, share(back)) == (2, 50_000)
        # The east was not heard to follow that: all that it had counts.
        assert share(await probe(core, client, "west", follows(followed["west"]))) == 20_000
        assert await probe(core, client, "east", follows(back)) is None
        assert share(await probe(core, client, "west", follows(followed["west"]))) == 50_000


async def test_limits_are_audited_and_set_once(core: Any) -> None:
    """With operator, reason and every value, chained with all other lines; a repeated request changes nothing."""
    async with core.serving() as client:
        headers = {**core.operator(), "Idempotency-Key": "once"}
        lines = [
            (await client.post("/ops/v1/limits", json=body(), headers=headers)).json()
            for _ in range(2)
        ]
        assert lines[0] == lines[1]
        shown = (await client.get("/ops/v1/limits", headers=core.operator())).json()
        assert (shown["version"], shown["limits"]) == (1, LIMITS)
        assert (await client.get("/ops/v1/limits")).status_code == 401
    with core.open() as store:
        (line,) = read_log(store.connection, limit=5)
        with store.reading() as connection:
            assert verify_log(connection, store.keys.public_key).whole
    assert (line.operator, line.via, line.action, line.reason) == (
        "Ada",
        "api",
        "limits.set",
        "storm",
    )
    assert line.detail == {**LIMITS, "method_types": "card", "version": 1}


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"per_payment": -1}, "limits.per_payment", ">= 0"),
        ({"per_payment": 10**15}, "limits.per_payment", "<= 100000000000"),
        ({"account_day_count": "5"}, "limits.account_day_count", "Expected `int`"),
        ({"outage_seconds": 1.5}, "limits.outage_seconds", "Expected `int`"),
        ({"method_types": ["cash"]}, "limits.method_types", "must be one of bank_account, card"),
        ({"something_else": 1}, "limits", "unknown field"),
    ],
)
async def test_a_bad_value_is_refused_by_name(
    file_core: Any, change: dict[str, Any], field: str, rule: str
) -> None:
    """The answer names the field and the rule, and nothing has changed."""
    async with file_core.serving() as client:
        answer = await set_limits(file_core, client, **change)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert field in error["field"]
        assert rule in error["rule"]
        shown = (await client.get("/ops/v1/limits", headers=file_core.operator())).json()
        assert shown["version"] == 0


def command(core: Any, *words: str) -> Any:
    """Run a command of the core."""
    return CliRunner().invoke(main, ["limits", *words, "--data", str(core.data_dir)])


def test_limits_by_command(core: Any) -> None:
    """What is not named stays; what cannot be is refused by its option; the log says who."""
    shown = command(core, "show")
    assert "no order" in shown.output
    done = command(
        core, "set", "--reason", "storm", "--per-payment-cents", "900", "--method-types", "card"
    )
    assert done.exit_code == 0, done.output
    assert "order 1" in done.output
    assert "edge east: told 0" in done.output
    again = command(core, "set", "--reason", "worse", "--method-types", "none", "--json")
    found = msgspec.json.decode(again.output)
    assert found["in_force"]["version"] == 2
    assert found["in_force"]["limits"]["per_payment"] == 900
    assert found["in_force"]["limits"]["method_types"] == []
    assert [each["counted"] for each in found["shares"]] == [HELD, HELD]
    for words, told in (
        (("--per-payment-cents", "-5"), "--per-payment-cents"),
        (("--method-types", "cash"), "--method-types"),
        (("--account-day-count", "many"), "--account-day-count"),
        ((), "name a limit"),
        (("--outage-seconds", "5", "--reason", " "), "--reason"),
    ):
        refused = command(core, "set", "--reason", "storm", *words)
        assert refused.exit_code == 2
        assert told in refused.output
    with core.open() as store:
        lines = read_log(store.connection, limit=5)
    assert [(line.via, line.reason) for line in lines] == [
        ("command", "worse"),
        ("command", "storm"),
    ]


def inputs(page: str) -> dict[str, str]:
    """Read what a browser would send of the page's form."""
    form = page[page.index("<form", page.index("<table")) :]
    found = dict(re.findall(r'<input class="in" id="\w+" name="(\w+)"[^>]* value="([^"]*)">', form))
    return found | dict.fromkeys(
        re.findall(r'name="(method_\w+)" value="yes" checked', form), "yes"
    )


async def test_the_page_of_limits(file_core: Any) -> None:
    """It shows what holds and who follows; a change is checked, confirmed, and made once; mistakes are named."""
    async with console(file_core, Edges()) as client:
        csrf = await sign_in(file_core, client)
        page = (await client.get("/ops/limits")).text
        assert "No order was given" in page
        typed = {**inputs(page), "csrf": csrf, "reason": "storm"}
        assert (typed["per_payment_cents"], typed["outage_seconds"]) == ("500", "72")
        assert typed["method_card"] == typed["method_bank_account"] == "yes"
        del typed["method_bank_account"]
        wanted = typed | {"per_payment_cents": "75.50", "outage_seconds": "1.5"}
        review = await client.post("/ops/limits/review", data=wanted, headers=HOME)
        assert review.status_code == 200
        assert "$75.50" in review.text
        assert "1.5 hours" in review.text
        assert "Bank accounts" not in review.text
        for _ in range(2):
            done = await client.post("/ops/limits", data=hidden(review.text), headers=HOME)
            assert done.status_code == 200
            assert "Order 1 holds" in done.text
        shown = (await client.get("/ops/v1/limits", headers=file_core.operator())).json()
        assert shown["version"] == 1
        assert shown["limits"]["per_payment"] == 7550
        assert shown["limits"]["outage_seconds"] == 5400
        assert shown["limits"]["method_types"] == ["card"]
        for change, field, told in (
            ({"per_payment_cents": "a lot"}, "per_payment_cents", "a sum from $0.00"),
            ({"per_payment_cents": "1.005"}, "per_payment_cents", "“One payment” must be"),
            ({"per_payment_cents": "NaN"}, "per_payment_cents", "“One payment” must be"),
            ({"account_day_count": "-1"}, "account_day_count", "a whole number from 0"),
            ({"outage_seconds": "9e99"}, "outage_seconds", "hours from 0 to 8,784"),
            ({"reason": " "}, "reason", "Please say why."),
        ):
            wrong = await client.post("/ops/limits/review", data=wanted | change, headers=HOME)
            assert wrong.status_code == 422
            assert told in wrong.text
            assert f'href="#{field}"' in wrong.text
            assert wrong.text.count('aria-invalid="true"') == 1
        foreign = await client.post("/ops/limits", data=wanted, headers={"Origin": "http://x"})
        assert foreign.status_code == 403
