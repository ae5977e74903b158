"""Orders to the drain, by command, while the core serves: held, resumed, paced, kept, and written down."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from core_cis.__main__ import main
from core_cis.drain_orders import FLEET, DrainOrder, read_orders


def run(core: Any, *arguments: str, code: int = 0) -> str:
    """Run a command of the core."""
    done = CliRunner().invoke(main, [*arguments, "--data", str(core.data_dir)])
    assert done.exit_code == code, done.output
    return done.output


async def test_held_drain_decides_nothing_and_live_traffic_goes_on(core: Any) -> None:
    """What is held has no outcome, and the edge is told when to ask again; a payment made now is posted at once."""
    async with core.serving() as client:
        run(core, "drain", "hold", "--reason", "the books are being compared")
        held = await core.deliver(client, core.intent("queued"), drain=True)
        live = await core.deliver(client, core.intent("now"))
        run(core, "drain", "resume", "--reason", "done")
        resumed = await core.deliver(client, core.intent("queued"), drain=True)
    assert (held.outcomes, held.held) == ([], True)
    assert held.retry_after_seconds is not None
    assert [outcome.state for outcome in live.outcomes] == ["posted"]
    assert [outcome.state for outcome in resumed.outcomes] == ["posted"]
    assert not resumed.held


async def test_one_edge_is_held_alone_also_after_a_restart(core: Any) -> None:
    """The order is kept with the books: another process honours it."""
    run(core, "drain", "hold", "--edge", "east", "--reason", "its clock is wrong")
    for number in range(2):
        async with core.serving() as client:
            east = await core.deliver(client, core.intent(f"e{number}"), drain=True)
            west = core.intent(f"w{number}", edge="west")
            other = await core.deliver(client, west, edge="west", drain=True)
        assert (east.outcomes, east.held, other.held) == ([], True, False)
        assert len(other.outcomes) == 1


async def test_pace_lets_a_part_of_a_batch_through(core: Any) -> None:
    """Three a second: three of five now, two more a second later; none is lost or done twice."""
    run(core, "drain", "pace", "--per-second", "3", "--reason", "gently")
    intents = [core.intent(f"k{number}") for number in range(5)]
    async with core.serving() as client:
        first = await core.deliver(client, *intents, drain=True)
        at_once = await core.deliver(client, *intents[3:], drain=True)
        core.clock.move(1)
        second = await core.deliver(client, *intents[3:], drain=True)
    assert (len(first.outcomes), first.held) == (3, True)
    assert (at_once.outcomes, at_once.held) == ([], True)
    assert (len(second.outcomes), second.held) == (2, False)


@pytest.mark.parametrize("action", ["hold", "resume", "pace"])
def test_orders_for_nobody_are_refused(core: Any, action: str) -> None:
    """A mistyped edge is named, and nothing is ordered or written down."""
    told = run(core, "drain", action, "--edge", "est", "--reason", "x", code=1)
    assert "no edge est is registered" in told
    with core.open() as store:
        assert read_orders(store.connection).given == {}
    assert json.loads(run(core, "audit", "list", "--json")) == []


def test_what_commands_do_is_written_down_and_verified(core: Any) -> None:
    """Orders, a new epoch and an expelled edge are lines of one whole chain; a tampered line ends it."""
    run(core, "drain", "hold", "--reason", "maintenance")
    run(core, "drain", "pace", "--per-second", "5", "--reason", "gently")
    run(core, "epoch", "raise")
    run(core, "edges", "revoke", "west")
    lines = json.loads(run(core, "audit", "list", "--json"))
    assert [(line["action"], line["subject"], line["reason"]) for line in lines] == [
        ("edges.revoke", "west", ""),
        ("epoch.raise", "", ""),
        ("drain.pace", "", "gently"),
        ("drain.hold", "", "maintenance"),
    ]
    assert "maintenance" in run(core, "audit", "list")
    with core.open() as store:
        assert read_orders(store.connection).of(FLEET) == DrainOrder(held=True, pace=5)
    assert "held, at most 5 a second" in run(core, "drain", "show")
    assert json.loads(run(core, "drain", "show", "--json")) == {"": {"held": True, "pace": 5}}
    assert "the log is whole: 4 lines" in run(core, "audit", "verify")
    with core.open() as store:
        # As somebody does who owns the database.
        for table in ("audit_log_no_update",):
            on = " ON audit_log" if core.server else ""
            store.connection.execute(f"DROP TRIGGER {table}{on}")
        with store.transaction() as tx:
            tx.connection.execute("UPDATE audit_log SET reason = 'a whim' WHERE number = 1")
    found = json.loads(run(core, "audit", "verify", "--json", code=1))
    assert (found["broken_at"], found["lines"]) == (1, 0)
