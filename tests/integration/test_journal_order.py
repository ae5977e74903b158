"""What a customer did later is dated later, however the estimate of core time steps."""

from datetime import timedelta
from pathlib import Path

import msgspec

from failover.intents import intent_id
from failover.journal_changes import Recorded
from failover.journal_order import FOLLOWED_MAX
from failover.signing import Signer, generate_signing_key
from tests.integration.journals import NOON, draft, opened, record
from tests.unit.failover.test_witness import intent


async def test_an_accounts_intents_are_dated_in_the_order_of_their_recording(
    tmp_path: Path,
) -> None:
    """A step back of the estimate does not count; copies do; other accounts, and dates far ahead, do not."""
    journal = opened(tmp_path / "journal.db")
    second = timedelta(seconds=1)
    tick = timedelta(microseconds=1)
    try:
        told = []
        for key, at in (("a", NOON), ("b", NOON - second), ("c", NOON + second)):
            recording = await record(journal, draft(key, at=at))
            assert isinstance(recording, Recorded)
            told.append(recording.entry.intent.accepted_at)
        assert told == [NOON, NOON + tick, NOON + second]
        other = await record(journal, draft("d", account_id="A-2", at=NOON - second))
        assert isinstance(other, Recorded)
        assert other.entry.intent.accepted_at == NOON - second
        writer = Signer(generate_signing_key())
        ahead = timedelta(seconds=5)
        copies = [
            writer.sign(
                msgspec.structs.replace(
                    intent(writer, ordinal=number, edge_id="west"),
                    intent_id=intent_id("A-1", f"key-{number}"),
                    accepted_at=at,
                )
            )
            for number, at in ((1, NOON + ahead), (2, NOON + ahead + 2 * FOLLOWED_MAX))
        ]
        held, _ = await journal.store_copies(copies)
        assert len(held) == len(copies)
        last = await record(journal, draft("e", at=NOON + 2 * second))
        assert isinstance(last, Recorded)
        assert last.entry.intent.accepted_at == NOON + ahead + tick
        again = await record(journal, draft("e", at=NOON))
        assert not isinstance(again, Recorded)
    finally:
        journal.close()
