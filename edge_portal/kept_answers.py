"""
Answers that a worker keeps, and what must still hold before one is given again.

An answer is kept as the framework made it, for one token and one address. Only its labels are written anew each time:
how old the data is, as of when, at which position.
"""

import math
import re
from collections import OrderedDict
from typing import Final

import msgspec

from edge_portal.cookies import POSITION_COOKIE, rfc3339
from edge_portal.snapshot_watch import AccountFacts, JournalVersion, Moment, Place
from edge_portal.views import ModeView

Headers = list[tuple[bytes, bytes]]

BYTES_MAX: Final = 24 * 1024 * 1024
KEPT_SECONDS: Final = 30.0
"""A repair of a damaged row moves no seq: what was made from the damaged one is made anew after this long."""

_OTHER_BYTES: Final = 2048
_LABELS: Final = frozenset(
    {b"age", b"ridethrough-as-of", b"ridethrough-position", b"set-cookie", b"content-length"}
)
_AGE_IN_BODY: Final = re.compile(
    rb'"as_of":"[^"]*","age_seconds":[^,]*,"age_at_least":(?:true|false)'
)
_POSITION: Final = f"{POSITION_COOKIE}=".encode()


class Conditions(msgspec.Struct, frozen=True):
    """
    What an answer was made under, beside the documents: it is given again only while this is the same.

    ``told`` are the words and the day that a page names the time with; empty for JSON.
    """

    mode: ModeView
    told: tuple[object, ...]


class Made(msgspec.Struct, frozen=True):
    """
    An answer of the framework's without its labels.

    ``before`` and ``after`` are the body around its age, ``after`` is None where it names none. ``cookie`` is what
    stands before and after the value of the position cookie, None without one.
    """

    headers: Headers
    before: bytes
    after: bytes | None
    cookie: tuple[bytes, bytes] | None


class Kept(msgspec.Struct):
    """
    One answer, and what it was made from and under.

    ``until`` is the core's time (seconds since 1970) from which the token, or the page's cookie, must be seen to again;
    ``made_at`` is the boot clock's. ``place`` and ``journal`` say where everything was when it was last found to hold.
    """

    account_id: str
    timezone: str
    path_template: str
    made: Made
    conditions: Conditions
    facts: AccountFacts
    until: float
    made_at: float
    place: Place
    journal: JournalVersion

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.made.before) + len(self.made.after or b"") + _OTHER_BYTES


def take_apart(headers: Headers, body: bytes, written_position: bytes) -> Made | None:
    """
    Find in an answer what is a label; None where it has something that nobody knows how to write anew.

    Args:
        headers: As they were sent.
        body: All of it.
        written_position: The position cookie's value in it, where it has one.
    """
    fixed = [(name, value) for name, value in headers if name.lower() not in _LABELS]
    cookies = [value for name, value in headers if name.lower() == b"set-cookie"]
    cookie = None
    if cookies:
        begin, found, end = cookies[0].partition(_POSITION + written_position)
        if len(cookies) > 1 or not found or begin or not end.startswith(b";"):
            return None
        cookie = (_POSITION, end)
    parts = _AGE_IN_BODY.split(body)
    if len(parts) > 2:  # noqa: PLR2004 - before and after the one place
        return None
    return Made(fixed, parts[0], parts[1] if len(parts) > 1 else None, cookie)


class _Age(msgspec.Struct):
    as_of: object
    age_seconds: float
    age_at_least: bool


_encode = msgspec.json.Encoder().encode


def with_labels(made: Made, moment: Moment, written_position: bytes) -> tuple[Headers, bytes]:
    """Write an answer with the labels of this moment."""
    state = moment.state
    body = made.before
    if made.after is not None:
        age = _encode(_Age(state.as_of, moment.age_seconds, state.at_least))
        body = made.before + age[1:-1] + made.after
    headers = [
        *made.headers,
        (b"age", b"%d" % math.ceil(moment.age_seconds)),
        (b"ridethrough-as-of", rfc3339(state.as_of).encode()),
        (b"ridethrough-position", str(state.position).encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    if made.cookie is not None:
        headers.append((b"set-cookie", made.cookie[0] + written_position + made.cookie[1]))
    return headers, body


class KeptAnswers:
    """The answers of one worker; the longest-unused go when they take too much memory."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()

    def get(self, key: tuple[str, str]) -> Kept | None:
        """Return what is kept under an address and a token."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def put(self, key: tuple[str, str], kept: Kept) -> None:
        """Keep an answer instead of the one before."""
        self.drop(key)
        self._kept[key] = kept
        self._bytes += kept.size
        while self._bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size

    def drop(self, key: tuple[str, str]) -> None:
        """Keep it no longer."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size
