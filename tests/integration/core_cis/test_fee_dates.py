"""A copy of a posted payment that was accepted earlier and comes later: fees are reckoned from its day, and no more."""

from datetime import date, timedelta
from typing import Any

import msgspec
from structlog.testing import capture_logs

from cache_sync.sql import IntegrityError
from core_cis.books import read_books
from core_cis.reconcile import reconcile
from core_cis.report_csv import payments_csv
from failover.intents import DecidedBatch, DecidedIntent
from tests.integration.core_cis.conftest import START

DAY = timedelta(days=1)


def appended(core: Any) -> list[Any]:
    """Read what was appended, in order."""
    with core.open() as store:
        rows: list[Any] = store.connection.execute(
            "SELECT effective_on, edge_id, delivered_by FROM fee_effective_dates ORDER BY noted_at"
        ).fetchall()
    return rows


async def test_earlier_copy_appends_its_day_and_posts_nothing(core: Any) -> None:
    """Whoever brings it and however often: one row a day, the earliest holds; outcome and ledger stay as they were."""
    first = core.intent(accepted_at=START - DAY)
    earlier = core.intent(edge="west", accepted_at=START - 3 * DAY)
    later = core.intent(edge="west", accepted_at=START - 2 * DAY)
    earliest = core.intent(edge="west", accepted_at=START - 5 * DAY)
    async with core.serving() as client:
        (posted,) = (await core.deliver(client, first)).outcomes
        for copy, by in ((earlier, "west"), (earlier, "east"), (later, "west"), (first, "east")):
            core.clock.move(60)
            assert (await core.deliver(client, copy, edge=by)).outcomes == [posted]
        assert appended(core) == [("2026-03-07", "west", "west")]
        core.clock.move(60)
        await core.deliver(client, earliest, first, edge="east")
        record = (await client.get(f"/intents/{first.intent_id}", headers=core.operator())).json()
    assert appended(core)[1:] == [("2026-03-05", "west", "east")]
    assert (record["value_date"], record["fee_effective_on"]) == ("2026-03-09", "2026-03-05")
    with core.open() as store:
        books = read_books(store.connection)
        report = reconcile([], books)
    assert [entry.value_date for entry in books.ledger] == [date(2026, 3, 9)]
    assert report.differences == []
    (line,) = report.payments
    assert (line.value_date, line.fee_effective_on) == (date(2026, 3, 9), date(2026, 3, 5))
    assert ",2026-03-09,2026-03-05," in payments_csv([line])


async def test_implausible_day_is_told_and_not_taken(core: Any) -> None:
    """A copy that claims more than 30 days is an alarm; what was not posted gets no day at all."""
    posted = core.intent()
    wild = core.intent(edge="west", accepted_at=START - 31 * DAY)
    refused = core.intent("refused", method_id="pm-old")
    before = core.intent("refused", method_id="pm-old", edge="west", accepted_at=START - DAY)
    async with core.serving() as client:
        await core.deliver(client, posted, refused)
        with capture_logs() as logs:
            await core.deliver(client, wild, before, edge="west")
    assert [(log["alarm"], log["edge"]) for log in logs if "alarm" in log] == [
        ("value_date", "west")
    ]
    assert appended(core) == []


async def test_restored_core_hears_the_earlier_day_again(core: Any) -> None:
    """The edge that accepted it first brings its own copy with the outcome: the day is there again."""
    restore = core.back_up()
    late, early = core.intent(), core.intent(edge="west", accepted_at=START - 2 * DAY)
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, late)).outcomes
        await core.deliver(client, early, edge="west")
    restore()
    async with core.serving() as client:
        for intent, by in ((late, "east"), (early, "west"), (early, "west")):
            batch = DecidedBatch(items=[DecidedIntent(intent, outcome)])
            answer = await client.post(
                "/outcomes", content=msgspec.msgpack.encode(batch), headers=core.node(by)
            )
            assert answer.status_code == 200, answer.text
    assert appended(core) == [("2026-03-08", "west", "west")]
    with core.open() as store:
        assert store.connection.execute("SELECT count(*) FROM payments").fetchone() == (1,)


async def test_an_appended_day_stays(core: Any) -> None:
    """The database refuses to change or remove one, whoever writes."""
    async with core.serving() as client:
        await core.deliver(client, core.intent())
        await core.deliver(client, core.intent(edge="west", accepted_at=START - DAY), edge="west")
    with core.open() as store:
        for statement in (
            "UPDATE fee_effective_dates SET effective_on = '2026-01-01'",
            "DELETE FROM fee_effective_dates",
        ):
            refused = ""
            try:
                with store.transaction() as tx:
                    tx.connection.execute(statement)
            except IntegrityError as error:
                refused = str(error)
            assert "a fee-effective date stays" in refused
    assert len(appended(core)) == 1
