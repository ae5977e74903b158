"""
Dropping from a journal what it need not keep: each function is one change, run by the committer in its transaction.

What the core decided, and a backup that operators keep contains, need not lie here too. What is dropped is summed up
first, in the same transaction. Every change looks at a bounded number of rows, so that no customer's payment, which
waits for the same commit, waits long.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from cache_sync.sqlite import Connection
from failover.covers import Cover
from failover.intent_states import CHARGE_OPEN, IS_VOID, SETTLED
from failover.journal_pruned import find_pruned, pack_receipt
from failover.journal_schema import JournalEntry, decode_intent, encode, entry, micros
from failover.peer_messages import Source
from failover.pruned_sums import add_digests, digest_of, read_digest, write_digest

FREED_PAGES = 128
# So many stay free in the file: what is recorded next need not make it longer again.
_FREE_PAGES_KEPT = 256

_SETTLED = {
    "own": f"""
        SELECT * FROM own_entries WHERE position IN (SELECT ordinal FROM intents
            WHERE {SETTLED} AND decided_epoch = ?1 AND decided_seq <= ?2 AND (decided_seq, ordinal) > (?3, ?4)
            ORDER BY decided_seq, ordinal LIMIT ?5)
        """,
    "copies": f"""
        SELECT * FROM copy_entries WHERE position IN (SELECT position FROM copies
            WHERE {SETTLED} AND decided_epoch = ?1 AND decided_seq <= ?2 AND (decided_seq, position) > (?3, ?4)
            ORDER BY decided_seq, position LIMIT ?5)
        """,
}
_VOID = f"""
    SELECT * FROM own_entries WHERE position IN (SELECT ordinal FROM intents
        WHERE {IS_VOID} AND ordinal > ? ORDER BY ordinal LIMIT ?)
"""
_SUM = """
    INSERT INTO pruned_sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (source, writer, incarnation, day, type, state)
    DO UPDATE SET count = excluded.count, cents = excluded.cents, digest = excluded.digest
"""
_KNOWN_SUM = """
    SELECT count, cents, digest FROM pruned_sums
    WHERE source = ? AND writer = ? AND incarnation = ? AND day = ? AND type = ? AND state = ?
"""


class PruneOrder(msgspec.Struct, frozen=True, kw_only=True):
    """
    What may be dropped.

    Args:
        cover: What a backup holds that operators keep.
        shown: How far this node's own snapshot shows each shard, in the cover's epoch: a customer sees there what the
            journal tells no longer. Of a shard that is not named nobody asks here.
        decided_before: What was decided, or became void, since is kept whole (core time).
        owed_before: Since then, an outcome that a holder of copies was not told of is kept for it (core time).
        now: When receipts are noted as pruned (core time).
    """

    cover: Cover
    shown: dict[str, int]
    decided_before: datetime
    owed_before: datetime
    now: datetime

    def allows(self, known: JournalEntry) -> bool:
        """
        Tell whether an entry's outcome is safe elsewhere.

        One that was decided of another record, which a sibling made of the same wish, stays: reconciliation finds the
        core's decision by the place that was decided, and looks at this record on its own.
        """
        outcome = known.outcome
        return (
            outcome is not None
            and self.cover.covers(outcome)
            and outcome.seq <= self.shown.get(outcome.shard, outcome.seq)
            and outcome.decided_at < self.decided_before
            and outcome.accepted_at == known.intent.accepted_at
        )


class Pruned(NamedTuple):
    """How many were dropped, and behind which (seq, position) to look next; None at the end."""

    dropped: int
    after: tuple[int, int] | None


def prune_settled(
    connection: Connection, source: Source, order: PruneOrder, *, after: tuple[int, int], limit: int
) -> Pruned:
    """Drop settled entries of one list that an order allows, looking at ``limit`` of them behind a place."""
    rows = connection.execute(
        _SETTLED[source], (order.cover.epoch, order.cover.upto, *after, limit)
    ).fetchall()
    seen = [entry(source, row) for row in rows]
    allowed = [known for known in seen if order.allows(known)]
    if source == "own":
        busy = _busy(connection, allowed, order)
        allowed = [known for known in allowed if known.position not in busy]
        whose = [("", "")] * len(allowed)
        _drop_own(connection, [known.position for known in allowed])
    else:
        whose = [(known.intent.edge_id, known.intent.incarnation) for known in allowed]
        _drop_copies(connection, [known.position for known in allowed])
    _sum_up(connection, source, order.cover, list(zip(whose, allowed, strict=True)))
    _keep_receipts(connection, allowed, order.now)
    _note(connection, order.cover.mark, dropped=len(allowed))
    places = [(known.outcome.seq, known.position) for known in seen if known.outcome is not None]
    return Pruned(len(allowed), max(places) if len(seen) == limit else None)


def prune_void(connection: Connection, order: PruneOrder, *, after: int, limit: int) -> Pruned:
    """Drop attempts that ended here and bound nothing, looking at ``limit`` of them behind an ordinal."""
    seen = [entry("own", row) for row in connection.execute(_VOID, (after, limit)).fetchall()]
    allowed = [known for known in seen if known.intent.accepted_at < order.decided_before]
    _drop_own(connection, [known.position for known in allowed])
    _sum_up(connection, "own", order.cover, [(("", ""), known) for known in allowed])
    _note(connection, order.cover.mark, dropped=len(allowed))
    return Pruned(len(allowed), (0, seen[-1].position) if len(seen) == limit else None)


def forget_receipts(connection: Connection, *, pruned_before: datetime, limit: int) -> int:
    """Drop receipts of what was pruned before an instant (core time), the oldest first; returns how many."""
    return connection.execute(
        """
        DELETE FROM pruned_receipts WHERE position IN (
            SELECT position FROM pruned_receipts ORDER BY position LIMIT ?) AND pruned_micros < ?
        """,
        (limit, micros(pruned_before)),
    ).rowcount


def empty_bodies(connection: Connection, *, decided_before: datetime, limit: int) -> int:
    """
    Empty the bodies of messages that the core decided before an instant (core time), own ones and copies.

    What they said has been in the core since. Signature, id, fingerprint and outcome stay, so that everything that asks
    about the message is answered as before.

    Returns:
        How many were emptied, at most ``limit`` of each.
    """
    emptied = 0
    for table, key in (("intents", "ordinal"), ("copies", "position")):
        rows = connection.execute(
            f"SELECT {key}, intent FROM {table} WHERE has_body = 1 AND decided_micros < ? LIMIT ?",
            (micros(decided_before), limit),
        ).fetchall()
        connection.executemany(
            f"UPDATE {table} SET intent = ?, has_body = 0 WHERE {key} = ?",
            [(encode(decode_intent(blob).without_body()), position) for position, blob in rows],
        )
        emptied += len(rows)
    return emptied


def _busy(
    connection: Connection, entries: Sequence[JournalEntry], order: PruneOrder
) -> frozenset[int]:
    """Tell which own entries somebody is still owed something of: a holder the outcome, the core a charge."""
    busy: set[int] = set()
    for known in entries:
        decided_at = known.outcome.decided_at if known.outcome else order.now
        owed = decided_at >= order.owed_before and _exists(
            connection,
            "SELECT 1 FROM offers WHERE ordinal = ? AND release = 'owed'",
            known.position,
        )
        if owed or _exists(
            connection,
            f"SELECT 1 FROM captures WHERE ordinal = ? AND {CHARGE_OPEN}",
            known.position,
        ):
            busy.add(known.position)
    return frozenset(busy)


def _exists(connection: Connection, question: str, position: int) -> bool:
    return connection.execute(question, (position,)).fetchone() is not None


def _drop_own(connection: Connection, ordinals: Sequence[int]) -> None:
    for table in ("offers", "captures", "intents"):
        connection.executemany(
            f"DELETE FROM {table} WHERE ordinal = ?", [(ordinal,) for ordinal in ordinals]
        )
    for ordinal in sorted(ordinals):
        _note_ordinal(connection, ordinal)


def _note_ordinal(connection: Connection, ordinal: int) -> None:
    """Add an ordinal to the ranges of those that were pruned, which never touch each other."""
    before = connection.execute(
        "SELECT first, last FROM pruned_ordinals WHERE first < ? ORDER BY first DESC LIMIT 1",
        (ordinal,),
    ).fetchone()
    touches = before is not None and before[1] == ordinal - 1
    after = connection.execute(
        "DELETE FROM pruned_ordinals WHERE first = ? + 1 RETURNING last", (ordinal,)
    ).fetchall()
    connection.execute(
        "INSERT INTO pruned_ordinals VALUES (?, ?) ON CONFLICT (first) DO UPDATE SET last = excluded.last",
        (before[0] if touches else ordinal, after[0][0] if after else ordinal),
    )


def _drop_copies(connection: Connection, positions: Iterable[int]) -> None:
    connection.executemany(
        "DELETE FROM copies WHERE position = ?", [(position,) for position in positions]
    )


def _sum_up(
    connection: Connection,
    source: Source,
    cover: Cover,
    dropped: Sequence[tuple[tuple[str, str], JournalEntry]],
) -> None:
    """Add what is dropped to the sums by day; ``dropped`` has for copies whose they are."""
    zone = ZoneInfo(cover.timezone)
    groups: dict[tuple[Any, ...], list[JournalEntry]] = defaultdict(list)
    for (writer, incarnation), known in dropped:
        intent = known.intent
        day = intent.accepted_at.astimezone(zone).date().isoformat()
        state = known.outcome.state if known.outcome else known.state
        type_ = "payment" if intent.is_payment else "message"
        groups[source, writer, incarnation, day, type_, state].append(known)
    for key, entries in groups.items():
        count, cents, digest = connection.execute(_KNOWN_SUM, key).fetchone() or (
            0,
            0,
            write_digest(0),
        )
        digests = [digest_of(known.intent) for known in entries]
        connection.execute(
            _SUM,
            (
                *key,
                count + len(entries),
                cents + sum(known.intent.amount_cents for known in entries),
                write_digest(add_digests([read_digest(digest), *digests])),
            ),
        )


def _keep_receipts(connection: Connection, entries: Iterable[JournalEntry], now: datetime) -> None:
    for known in entries:
        intent = known.intent
        there = {each.fingerprint for each in find_pruned(connection, intent.intent_id)}
        if intent.fingerprint not in there:
            connection.execute(
                "INSERT INTO pruned_receipts (intent_id, pruned_micros, receipt) VALUES (?, ?, ?)",
                (intent.intent_id, micros(now), pack_receipt(known.receipt())),
            )


def _note(connection: Connection, mark: str, *, dropped: int) -> None:
    """Note by which backup something was dropped, and give pages back to the disk."""
    if not dropped:
        return
    connection.execute(
        "INSERT INTO pruning VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET mark = ?1", (mark,)
    )
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free > _FREE_PAGES_KEPT:
        connection.execute(f"PRAGMA incremental_vacuum({FREED_PAGES})").fetchall()
