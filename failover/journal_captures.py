"""
What a journal knows of charges that this node makes itself: the attempt before the call, the answer after it.

Its states are those of `failover.intent_states.CHARGE`. A payment that is to be captured has a row from its recording
on. ``waiting``: the processor was never called;
``attempting``: it was, or the node died at it, so that only asking helps; ``owed``: it was charged, and the core
decided otherwise before it could know; ``ended``: the answer is in the intent, signed, and nothing is left to do.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from cache_sync.sqlite import Connection
from failover.intent_states import (
    CHARGE,
    CHARGE_OWED,
    CHARGE_UNANSWERED,
    OWN_OFFERED,
    sql_words,
)
from failover.intents import Capture, Intent
from failover.journal_schema import (
    JournalEntry,
    check_no_effect,
    decode_intent,
    encode,
    entry,
    micros,
)

Sign = Callable[[Intent], Intent]


def add_capture(connection: Connection, ordinal: int) -> None:
    """Note that a payment just recorded is to be captured here."""
    connection.execute("INSERT INTO captures VALUES (?, ?, NULL)", (ordinal, CHARGE.target("add")))


def begin_capture(connection: Connection, ordinal: int, now: datetime) -> bool:
    """
    Note that the processor is about to be called; ``now`` is core time, estimated.

    Returns:
        False when it was called before, or the payment is decided or void by now: then it must not be called.
    """
    changed = connection.execute(
        f"""
        UPDATE captures SET state = ?, attempted_micros = ?
        WHERE ordinal = ? AND state IN {sql_words(CHARGE.moves_from("attempt"))} AND EXISTS (
            SELECT 1 FROM intents WHERE intents.ordinal = captures.ordinal AND {OWN_OFFERED})
        """,
        (CHARGE.target("attempt"), micros(now), ordinal),
    ).rowcount
    if not changed:
        check_no_effect(connection, CHARGE, ordinal, "attempt")
    return bool(changed)


def end_capture(
    connection: Connection, ordinal: int, capture: Capture, sign: Sign
) -> JournalEntry | None:
    """
    Write the answer into the intent, signed anew; None when one is there already: the first one stays.

    That it was never charged can be said only of what the processor was asked about, or never called for.
    """
    row = connection.execute("SELECT * FROM own_entries WHERE position = ?", (ordinal,)).fetchone()
    known = entry("own", row)
    refused = known.outcome is not None and known.outcome.state != "posted"
    event = "answer_too_late" if refused and capture.state == "captured" else "answer"
    ended = connection.execute(
        f"UPDATE captures SET state = ? WHERE ordinal = ? AND {CHARGE_UNANSWERED}",
        (CHARGE.target(event), ordinal),
    ).rowcount
    if not ended:
        check_no_effect(connection, CHARGE, ordinal, event)
        return None
    intent = sign(msgspec.structs.replace(known.intent, capture=capture))
    connection.execute("UPDATE intents SET intent = ? WHERE ordinal = ?", (encode(intent), ordinal))
    return msgspec.structs.replace(known, intent=intent)


def told_capture(connection: Connection, ordinals: Iterable[int]) -> None:
    """Note that the core has heard of captures that it had decided without."""
    connection.executemany(
        f"UPDATE captures SET state = ? WHERE ordinal = ? AND {CHARGE_OWED}",
        [(CHARGE.target("tell"), ordinal) for ordinal in ordinals],
    )


def complete_copy(
    connection: Connection, place: tuple[str, str, int], held: bytes, copied: Intent
) -> bool:
    """
    Take the processor's answer over into the copy that is held at a place of a sibling's journal.

    Returns:
        Whether the two are the same payment; the copy that has the answer stays, whichever came first.
    """
    known = decode_intent(held)
    bare = msgspec.structs.replace(copied, capture=msgspec.UNSET, signature="")
    if bare != msgspec.structs.replace(known, capture=msgspec.UNSET, signature=""):
        return False
    if isinstance(known.capture, Capture):
        return not isinstance(copied.capture, Capture) or known.capture == copied.capture
    connection.execute(
        "UPDATE copies SET intent = ? WHERE writer = ? AND incarnation = ? AND ordinal = ?",
        (encode(copied), *place),
    )
    return True
