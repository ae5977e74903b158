"""What of a journal's payments waits for the core: own ones, and copies held for siblings, each payment once."""

from typing import Final

import msgspec

from failover.intent_states import COPY_UNDECIDED, OWN_UNDECIDED
from failover.journal_reader import JournalReader

LISTED_MAX: Final = 8192


class Outstanding(msgspec.Struct, frozen=True, kw_only=True):
    """
    Payments that the core has not decided, as far as one journal knows.

    ``listed`` are the newest of them (account, payment), ``unlisted`` how many more there are, or may be: of those a
    payment of which both a record and a copy are kept counts twice.
    """

    incarnation: str = ""
    last_ordinal: int = 0
    cents: int = 0
    listed: frozenset[tuple[str, str]] = frozenset()
    unlisted: int = 0

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.listed) + self.unlisted


def read_outstanding(reader: JournalReader, *, most: int = LISTED_MAX) -> Outstanding:
    """
    Read what waits; lists at most ``most`` of own payments and of copies each.

    Raises:
        JournalError: The journal cannot be read.
    """
    about = reader.rows("SELECT incarnation, last_ordinal FROM journal")
    if not about:
        return Outstanding()
    sources = (("intents", OWN_UNDECIDED), ("copies", COPY_UNDECIDED))
    listed: dict[tuple[str, str], int] = {}
    unlisted = cents = 0
    for table, undecided in sources:
        # Messages move no money. What is asked is a stretch of an index on what waits, however much was decided before.
        rows = reader.rows(
            f"SELECT account_id, intent_id, amount_cents FROM {table} "
            f"WHERE {undecided} AND amount_cents > 0 ORDER BY accepted_micros DESC LIMIT ?",
            (most,),
        )
        listed.update(((account, payment), amount) for account, payment, amount in rows)
        if len(rows) == most:
            count, sum_ = reader.rows(
                f"SELECT count(*), sum(amount_cents) FROM {table} WHERE {undecided} AND amount_cents > 0"
            )[0]
            unlisted += count - most
            cents += sum_ - sum(amount for _, _, amount in rows)
    return Outstanding(
        incarnation=about[0][0],
        last_ordinal=about[0][1],
        cents=cents + sum(listed.values()),
        listed=frozenset(listed),
        unlisted=unlisted,
    )
