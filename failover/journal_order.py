"""
When what is recorded was accepted, so that what a customer did later is never dated before what they did earlier.

An edge's estimate of core time may step back by what a look at the core took, and two edges' estimates differ by as
much. So a new intent of an account is dated after all that this journal knows of the account, copies included.
"""

from datetime import timedelta
from typing import Final

import msgspec

from cache_sync.sqlite import Connection
from failover.journal_changes import Draft
from failover.journal_schema import micros, moment

FOLLOWED_MAX: Final = timedelta(seconds=10)
"""What is dated further ahead is no step of an estimate: it is not followed, or one wrong date would move all."""

_NEWEST: Final = """
    SELECT max(newest) FROM (
        SELECT max(accepted_micros) AS newest FROM intents WHERE account_id = ?1 AND accepted_micros <= ?2
        UNION ALL
        SELECT max(accepted_micros) FROM copies WHERE account_id = ?1 AND accepted_micros <= ?2
    )
"""


def dated(connection: Connection, draft: Draft) -> Draft:
    """Date a draft that is recorded now: as was estimated, or just after the last that is known of the account."""
    estimated = draft.accepted_at
    until = micros(estimated + FOLLOWED_MAX)
    newest = connection.execute(_NEWEST, (draft.account_id, until)).fetchone()[0]
    if newest is None or newest < micros(estimated):
        return draft
    return msgspec.structs.replace(draft, accepted_at=moment(newest + 1))
