"""What of a journal's payments waits: own ones and copies, each once, without end bounded."""

from pathlib import Path

from failover.journal_outstanding import Outstanding, read_outstanding
from failover.journal_reader import JournalReader
from tests.unit.failover.world import World, live


def test_nothing_waits_before_there_is_a_journal(tmp_path: Path) -> None:
    """A missing file is no payment."""
    assert read_outstanding(JournalReader(tmp_path / "none.db")) == Outstanding()


def test_own_payments_and_copies_wait_each_once(tmp_path: Path) -> None:
    """The writer and its witness list the same payment, with its sum; what the core has decided is no longer listed."""

    async def story(world: World) -> None:
        east, west = world["east"], world["west"]
        await east.submission.pay(world.wish("posted"))
        for node in (east, west):
            node.core_wire.state = "cut"
        waits = await east.submission.pay(world.wish("waits", 700, account_id="A-2"))
        assert waits.state == "accepted"
        for node in (east, west):
            found = read_outstanding(node.journal.reader)
            assert found.listed == {("A-2", waits.intent_id)}
            assert (found.count, found.cents, found.unlisted) == (1, 700, 0)
            assert found.incarnation == node.journal.incarnation
        await east.submission.pay(world.wish("more", 100))
        one = read_outstanding(east.journal.reader, most=1)
        assert (len(one.listed), one.unlisted, one.count, one.cents) == (1, 1, 2, 800)

    live(tmp_path, story)
