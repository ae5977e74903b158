"""
What operators did: an append-only log in which every line is chained to the one before it, and signed by the core.

Whoever changes, removes or inserts a line breaks the chain from there on; whoever rewrites the whole chain has not the
core's signing key. Lines cut off at the end leave a whole chain: compare its head with one that was noted elsewhere
(`verify_log`'s ``known_head``).
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec

from cache_sync.sql import Connection, stream
from core_cis.instants import from_text, to_text
from core_cis.keys import CoreKeys
from core_cis.store import Transaction
from failover.operators import this_operator
from failover.signing import is_signed, sign_bytes

Via = Literal["console", "api", "command"]
_FIRST_HASH = bytes(32)
_COLUMNS = (
    "number, at, operator, via, action, subject, reason, detail, request_key, hash, signature"
)


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something an operator does.

    ``subject`` is what it is done to (an edge's name, a case number, empty for the whole fleet), ``detail`` what came
    of it, without personal data. ``request_key`` names the request, where it may be sent twice.
    """

    operator: str
    via: Via
    action: str
    subject: str = ""
    reason: str = ""
    detail: dict[str, str | int | None] = {}
    request_key: str | None = None


class AuditLine(Act, frozen=True, kw_only=True):
    """A line of the log; ``hash`` (hex) covers it and the hash of the line before."""

    number: int
    at: datetime
    hash: str


class AuditFinding(msgspec.Struct, frozen=True, kw_only=True):
    """
    What verifying the log found.

    ``head`` is the hash of its last line, empty while there is none; ``broken_at`` the number of the first line that
    is not what the core wrote, None when the chain is whole, with ``problem`` in words.
    """

    lines: int
    head: str
    broken_at: int | None = None
    problem: str = ""

    @property
    def whole(self) -> bool:
        """Tell whether every line is as the core wrote it."""
        return self.broken_at is None


def write_down(tx: Transaction, act: Act, keys: CoreKeys) -> AuditLine:
    """
    Add a line to the log, in the transaction of what it tells; the transaction must be alone (`CoreStore.run`).

    Raises:
        IntegrityError: The request was answered before (see `answered`).
    """
    last = tx.connection.execute(
        "SELECT number, hash FROM audit_log ORDER BY number DESC LIMIT 1"
    ).fetchone()
    number, previous = (last[0] + 1, bytes(last[1])) if last else (1, _FIRST_HASH)
    values = (
        number,
        to_text(tx.stamp),
        act.operator,
        act.via,
        act.action,
        act.subject,
        act.reason,
        msgspec.json.encode(act.detail, order="sorted").decode(),
        act.request_key,
    )
    chained = _hash(previous, values)
    tx.connection.execute(
        f"INSERT INTO audit_log ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own names
        (*values, chained, sign_bytes(keys.signing_key, chained)),
    )
    return _line((*values, chained))


def answered(connection: Connection, request_key: str) -> AuditLine | None:
    """Return the line of a request that was answered before; None for a new one."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM audit_log WHERE request_key = ?",  # noqa: S608 - our own names
        (request_key,),
    ).fetchone()
    return None if row is None else _line(row)


def read_log(
    connection: Connection, *, limit: int, before: int | None = None, subject: str | None = None
) -> list[AuditLine]:
    """List the newest lines first, those before a number or about a subject only."""
    about, values = ("", []) if subject is None else (" AND subject = ?", [subject])
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM audit_log WHERE number < ?{about} ORDER BY number DESC LIMIT ?",  # noqa: S608 - our own names
        (before if before is not None else 2**62, *values, limit),
    ).fetchall()
    return [_line(row) for row in rows]


def head_of(connection: Connection) -> tuple[int, str]:
    """Tell how many lines there are and the hash of the last one (hex, empty without one)."""
    row = connection.execute(
        "SELECT number, hash FROM audit_log ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return (0, "") if row is None else (row[0], bytes(row[1]).hex())


def verify_log(
    connection: Connection, public_key: str, *, known_head: str | None = None
) -> AuditFinding:
    """
    Walk the whole log and compare every line with its hash and the core's signature; within a read transaction.

    Args:
        connection: The core's database.
        public_key: The core's, base64.
        known_head: A head that was noted earlier, hex: the chain must still contain it.
    """
    previous, count = _FIRST_HASH, 0
    met = known_head is None
    for row in _rows(connection):
        problem = _problem(count + 1, previous, row, public_key)
        if problem:
            return AuditFinding(lines=count, head=previous.hex(), broken_at=row[0], problem=problem)
        previous, count = bytes(row[9]), count + 1
        met = met or previous.hex() == known_head
    head = previous.hex() if count else ""
    if not met:
        return AuditFinding(
            lines=count, head=head, broken_at=count + 1, problem="the head that was noted is gone"
        )
    return AuditFinding(lines=count, head=head)


def by_command(action: str, *, subject: str = "", reason: str = "", **detail: str | int) -> Act:
    """Describe what somebody does with a command of the core."""
    return Act(
        operator=this_operator(),
        via="command",
        action=action,
        subject=subject,
        reason=reason,
        detail=dict(detail),
    )


def _rows(connection: Connection) -> Iterator[tuple[Any, ...]]:
    return stream(connection, f"SELECT {_COLUMNS} FROM audit_log ORDER BY number")  # noqa: S608 - our own names


def _problem(number: int, previous: bytes, row: tuple[Any, ...], public_key: str) -> str:
    if row[0] != number:
        return f"line {number} is missing"
    hashed, signature = bytes(row[9]), bytes(row[10])
    if _hash(previous, row[:9]) != hashed:
        return "the line is not what was written"
    return "" if is_signed(hashed, signature, public_key) else "the core did not sign the line"


def _hash(previous: bytes, values: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(previous + msgspec.msgpack.encode(values)).digest()


def _line(row: tuple[Any, ...]) -> AuditLine:
    number, at, operator, via, action, subject, reason, detail, request_key, hashed = row[:10]
    return msgspec.convert(
        {
            "number": number,
            "at": from_text(at),
            "operator": operator,
            "via": via,
            "action": action,
            "subject": subject,
            "reason": reason,
            "detail": msgspec.json.decode(detail),
            "request_key": request_key,
            "hash": bytes(hashed).hex(),
        },
        AuditLine,
    )
