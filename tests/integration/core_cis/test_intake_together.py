"""Payments of one batch are decided together: nobody can tell, but by what it costs."""

from typing import Any

import pytest

from cache_sync.sqlite import Connection as SqliteConnection
from core_cis.intake import Intake
from core_cis.settings import ServerSettings


def test_a_batch_is_decided_as_each_of_it_alone(core: Any) -> None:
    """Whether what is plain is taken together or one by one: the same outcomes, in the order asked for, and books."""
    intents = [core.intent(f"k{number}", amount_cents=100 + number) for number in range(5)]
    intents.insert(2, core.intent("no-method", method_id="pm-none"))
    twice = core.intent("k1", amount_cents=101)
    asked = [*intents, twice]
    with core.open() as store:
        together = Intake(store, ServerSettings()).take(asked, delivered_by="east")
        alone = [
            outcome
            for intent in asked
            for outcome in Intake(store, ServerSettings()).take([intent], delivered_by="x").outcomes
        ]
        kept = store.connection.execute("SELECT count(*) FROM payments").fetchone()
        assert kept == (len(intents),)
    assert (together.posted, together.rejected, together.repeated) == (5, 1, 1)
    assert together.outcomes == alone
    assert [one.intent_id for one in together.outcomes] == [each.intent_id for each in asked]


def test_a_batch_costs_a_few_statements(core: Any) -> None:
    """Ten payments of one account, written together: not a score of statements each."""

    def statements(amount: int, begin: int) -> int:
        seen: list[str] = []
        batch = [core.intent(f"s{begin + number}") for number in range(amount)]
        with core.open() as store:
            if not isinstance(store.connection, SqliteConnection):
                pytest.skip("only SQLite tells its statements")
            store.connection.set_trace_callback(seen.append)
            assert Intake(store, ServerSettings()).take(batch, delivered_by="e").posted == amount
        # What triggers do is told as comments.
        return sum(sql.lstrip().startswith("SELECT") for sql in seen if "--" not in sql)

    few, many = statements(2, 0), statements(12, 100)
    # What is read for each further one is whether its own document stands already.
    assert many - few <= 2 * 10
