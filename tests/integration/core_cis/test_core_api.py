"""The core's other routes: feed, probe, archive, status; who may call them and what strangers are told."""

import asyncio
from datetime import date
from typing import Any

import msgspec
import pytest

from cache_sync.core_time import stamp
from cache_sync.documents import DEFAULT_SHARD
from cache_sync.frames import FRAME_CONTENT_TYPE, Frame, Proof, sealed
from cache_sync.publication import raise_epoch
from cache_sync.sql import write
from core_cis.publishing import publish_account
from core_cis.settings import ServerSettings

ACCOUNT = "A-1001"


def read_frame(content: bytes) -> Frame:
    """Decode a frame."""
    return msgspec.msgpack.decode(content, type=Frame)


async def test_feed_brings_all_documents_and_then_nothing(core: Any) -> None:
    """From the beginning everything comes in seq order up to a barrier; after it, an empty heartbeat."""
    async with core.serving() as client:
        answer = await client.get("/feed/0", headers=core.node())
        frame = read_frame(answer.content)
        core.clock.move(1)
        after = {"after": frame.upto, "epoch": frame.epoch}
        again = read_frame((await client.get("/feed/0", params=after, headers=core.node())).content)
    assert answer.headers["content-type"] == FRAME_CONTENT_TYPE
    assert frame.barrier
    assert [row.seq for row in frame.rows] == sorted(row.seq for row in frame.rows)
    assert {row.kind for row in frame.rows} == {"account", "credential"}
    assert (frame.count, sealed(frame)) == (len(frame.rows), frame)
    assert (again.count, again.barrier, again.upto) == (0, True, frame.upto)
    assert again.as_of > frame.as_of


async def test_feed_pages_without_a_barrier_until_the_head(core: Any) -> None:
    """A page that does not reach the head is no barrier; the last one is."""
    barriers: list[bool] = []
    after = 0
    async with core.serving() as client:
        while not barriers or not barriers[-1]:
            params = {"after": after, "limit": 2}
            frame = read_frame(
                (await client.get("/feed/0", params=params, headers=core.node())).content
            )
            barriers.append(frame.barrier)
            after = frame.upto
    assert barriers == [False, False, True]


async def test_as_of_is_after_every_commit_that_is_shown(core: Any) -> None:
    """What was committed before T is in the frame that carries T."""
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, core.intent())).outcomes
        frame = read_frame((await client.get("/feed/0", headers=core.node())).content)
    assert frame.as_of >= outcome.decided_at
    assert frame.upto >= outcome.seq


@pytest.mark.parametrize(
    ("params", "status", "slug"),
    [
        ({"after": 10_000, "epoch": 1}, 409, "fork"),
        ({"after": 1, "epoch": 7}, 409, "epoch_changed"),
        ({"after": -1}, 400, "bad_request"),
        ({"after": "x"}, 400, "bad_request"),
        ({"limit": 0}, 400, "bad_request"),
        ({"after": 2**70}, 400, "bad_request"),
    ],
)
async def test_impossible_questions_are_problems(
    core: Any, params: dict[str, int], status: int, slug: str
) -> None:
    """A cursor that this core never gave out, or no cursor at all, is told so in a form that a follower can read."""
    async with core.serving() as client:
        answer = await client.get("/feed/0", params=params, headers=core.node())
    assert (answer.status_code, answer.json()["type"]) == (
        status,
        f"urn:ridethrough:problem:{slug}",
    )


async def test_feed_names_epoch_and_floor_where_a_follower_needs_them(core: Any) -> None:
    """A follower of another epoch learns the present one; one below the floor learns the floor."""
    with core.open() as store, store.transaction() as tx:
        tx.connection.execute("UPDATE shard_head SET floor = 3, epoch = 2")
    async with core.serving() as client:
        epoch = await client.get("/feed/0", params={"epoch": 1}, headers=core.node())
        floor = await client.get("/feed/0", params={"after": 1, "epoch": 2}, headers=core.node())
        shard = await client.get("/feed/9", headers=core.node())
    assert (epoch.status_code, epoch.json()["epoch"]) == (409, 2)
    assert (floor.status_code, floor.json()["floor"]) == (410, 3)
    assert shard.status_code == 404


async def read_proof(core: Any, client: Any) -> Proof:
    """Follow the feed to its barrier, as an edge does, and keep what proves it."""
    frame = read_frame((await client.get("/feed/0", headers=core.node())).content)
    return Proof(frame.epoch, frame.shard, frame.upto, frame.chain, frame.seal)


async def outgrow(core: Any) -> Proof:
    """Post a payment, restore the books from before it, and post others; return the barrier an edge saw between."""
    restore = core.back_up()
    async with core.serving() as client:
        await core.deliver(client, core.intent("lost"))
        seen = await read_proof(core, client)
    restore()
    async with core.serving() as client:
        for key in ("new-1", "new-2"):
            await core.deliver(client, core.intent(key))
        assert (await read_proof(core, client)).seq > seen.seq
    return seen


@pytest.mark.parametrize("path", ["/feed/0?after={seq}&epoch=1&proof=", "/probe?position="])
async def test_a_restored_core_serves_nobody_until_its_epoch_is_raised(
    core: Any, path: str
) -> None:
    """
    It is noticed although nobody changed the epoch and the core has published more since than was lost.

    One node that has seen the other history is enough; operators are told, and a higher epoch ends it.
    """
    seen = await outgrow(core)
    async with core.serving() as client:
        shown = path.format(seq=seen.seq) + str(seen)
        assert (await client.get("/probe", headers=core.node())).status_code == 200
        assert (await client.get(shown, headers=core.node())).status_code == 503
        for other in ("/probe", "/feed/0"):
            answer = await client.get(other, headers=core.node())
            assert (answer.status_code, answer.json()["retry"]) == (503, "same")
        told = (await client.get("/status", headers=core.operator())).json()["restored"]
        assert (told["seq"], told["core_epoch"]) == (seen.seq, 1)
        with core.open() as store, store.transaction() as tx:
            assert raise_epoch(tx.connection, DEFAULT_SHARD) == 2
        assert (await client.get("/probe", headers=core.node())).json()["epoch"] == 2
        assert (await client.get("/status", headers=core.operator())).json()["restored"] is None


async def test_a_made_up_position_stops_nobody(core: Any) -> None:
    """What this core has not sealed proves nothing, whoever shows it; rubbish is not even read."""
    async with core.serving() as client:
        known = await read_proof(core, client)
        ahead = msgspec.structs.replace(known, seq=10_000)
        for shown in (str(ahead), "1.0.10000", "rubbish", "1.0.1.zz.zz", str(known)):
            for path in ("/probe?position=", "/feed/0?proof="):
                answer = await client.get(path + shown, headers=core.node())
                assert answer.status_code == 200


async def test_probe_reads_and_writes(core: Any) -> None:
    """A probe's core time moves with every probe, because each closes one durably."""
    async with core.serving() as client:
        first = (await client.get("/probe", headers=core.node())).json()
        core.clock.move(1)
        second = (await client.get("/probe", headers=core.node())).json()
    assert first["epoch"] == 1
    assert first["head"] == second["head"] > 0
    assert second["as_of"] > first["as_of"]


async def test_core_time_does_not_go_back_with_the_clock(core: Any) -> None:
    """A clock set back by an hour, and a restart, leave T and later commits where they were: ahead."""
    async with core.serving() as client:
        first = (await client.get("/probe", headers=core.node())).json()["as_of"]
    core.clock.move(-3600)
    async with core.serving() as client:
        second = (await client.get("/probe", headers=core.node())).json()["as_of"]
        (outcome,) = (await core.deliver(client, core.intent())).outcomes
    assert second >= first
    assert msgspec.json.encode(outcome.decided_at).decode().strip('"') > second


async def test_closed_core_time_stands_while_another_commits(core: Any) -> None:
    """While another process holds the stamp of its commit, the probe says 503 within its caller's deadline."""
    async with core.serving() as client:
        with core.open() as other, write(other.connection) as held:
            stamp(held, core.clock.now())
            headers = core.node() | {"Ridethrough-Deadline-Ms": "100"}
            answer = await client.get("/probe", headers=headers)
    assert (answer.status_code, answer.json()["retry"]) == (503, "same")


STATEMENT = b'{"statement_id":"S-1","as":"issued"}'


async def test_archive_answers_the_statement_as_it_was_issued(core: Any) -> None:
    """The stored bytes come back for its own account, and a 404 for any other."""
    with core.open() as store, store.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO statements (statement_id, account_id, period_from, period_to, issued_on, due_date,"
            " total_cents, amount_due_cents, body) VALUES ('S-1', ?, '2020-01-01', '2020-02-01', '2020-02-01',"
            " '2020-02-20', 5000, 5000, ?)",
            (ACCOUNT, STATEMENT),
        )
    path = "/archive/accounts/{}/statements/{}"
    async with core.serving() as client:
        own = await client.get(path.format(ACCOUNT, "S-1"), headers=core.node())
        other = await client.get(path.format("A-1002", "S-1"), headers=core.node())
        nobody = await client.get(path.format(ACCOUNT, "S-1"))
    assert (own.status_code, own.content) == (200, STATEMENT)
    assert own.headers["content-type"].startswith("application/json")
    assert (other.status_code, nobody.status_code) == (404, 401)


async def test_status_is_for_operators(core: Any) -> None:
    """The status counts what happened; without the token it says nothing."""
    async with core.serving() as client:
        await core.deliver(client, core.intent("one"), core.intent("two", method_id="pm-old"))
        status = (await client.get("/status", headers=core.operator())).json()
        refused = await client.get("/status", headers={"Authorization": "Bearer wrong"})
        health = await client.get("/healthz")
        ready = await client.get("/readyz")
    assert status["intents"] == {"posted": 1, "rejected": 1}
    assert [edge["node_id"] for edge in status["edges"]] == ["east", "west"]
    assert (refused.status_code, health.status_code, ready.status_code) == (401, 200, 200)


async def test_unknown_intents_and_paths_are_problems(core: Any) -> None:
    """What is not there, and what is asked in the wrong way, is a problem detail."""
    async with core.serving() as client:
        for answer in (
            await client.get("/intents/none", headers=core.operator()),
            await client.get("/nowhere"),
            await client.delete("/intents"),
        ):
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.status_code in {404, 405}


async def test_commit_of_another_process_wakes_the_feed(core: Any) -> None:
    """A waiting follower is answered when somebody else commits to the file."""
    real = SystemSleep(core.clock)
    core.clock.sleep = real.sleep
    async with core.serving(ServerSettings()) as client:
        head = read_frame((await client.get("/feed/0", headers=core.node())).content).upto
        params = {"after": head, "epoch": 1, "wait": 0.5}
        waiting = asyncio.create_task(client.get("/feed/0", params=params, headers=core.node()))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        with core.open() as other, other.transaction() as tx:
            tx.connection.execute(
                "UPDATE accounts SET status = 'closed' WHERE account_id = ?", (ACCOUNT,)
            )
            publish_account(tx, ACCOUNT)
        frame = read_frame((await waiting).content)
    assert [row.account_id for row in frame.rows] == [ACCOUNT]


class SystemSleep:
    """Lets the set clock sleep for real: the wait is the subject."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock

    async def sleep(self, seconds: float) -> None:
        """Wait, and let the clock know."""
        await asyncio.sleep(seconds)
        self.clock.move(seconds)


async def test_openapi_describes_every_route(core: Any) -> None:
    """The schema page works and names all routes with who may call them."""
    async with core.serving() as client:
        schema = (await client.get("/schema/openapi.json")).json()
    assert {
        "/feed/{shard}",
        "/probe",
        "/intents",
        "/status",
        "/accounts/{account_id}/ledger",
    } <= set(schema["paths"])
    described = [
        operation["description"] for path in schema["paths"].values() for operation in path.values()
    ]
    assert all("Authorization" in text or "Open to all" in text for text in described)
    refused = schema["paths"]["/intents"]["post"]["responses"]["503"]["content"]
    assert list(refused) == ["application/problem+json"]


async def test_value_date_of_a_payment_stands_in_the_ledger(core: Any) -> None:
    """An intent's record names its ledger transaction and the day on which it counts."""
    intent = core.intent()
    async with core.serving() as client:
        await core.deliver(client, intent, edge="west")
        record = (await client.get(f"/intents/{intent.intent_id}", headers=core.operator())).json()
    assert record["value_date"] == date(2026, 3, 10).isoformat()
    assert (record["edge_id"], record["delivered_by"]) == ("east", "west")
    assert record["transaction_id"] == "2"
