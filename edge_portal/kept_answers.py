"""
Answers that a worker keeps, and what must still hold before one is given again.

An answer is kept as the framework made it, for one token and one address. Only its labels are written anew each time:
how old the data is, as of when, at which position.
"""

import math
import re
from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from edge_portal.cookies import POSITION_COOKIE, rfc3339
from edge_portal.snapshot_watch import AccountFacts, JournalVersion, Moment, Place
from edge_portal.views import ModeView

Headers = list[tuple[bytes, bytes]]

BYTES_MAX: Final = 24 * 1024 * 1024
KEPT_SECONDS: Final = 30.0
"""A repair of a damaged row moves no seq: what was made from the damaged one is made anew after this long."""

# Its headers, token and address, and what the worker remembers of the question.
_OTHER_BYTES: Final = 6 * 1024
_AGE_IN_BODY: Final = re.compile(
    rb'"as_of":"[^"]*","age_seconds":[^,]*,"age_at_least":(?:true|false)'
)
_POSITION: Final = f"{POSITION_COOKIE}=".encode()
_AGE: Final = b"age"
_AS_OF: Final = b"ridethrough-as-of"
_POSITION_HEADER: Final = b"ridethrough-position"
_LENGTH: Final = b"content-length"
_COOKIE: Final = b"set-cookie"
_ONE_EACH: Final = (_AGE, _AS_OF, _POSITION_HEADER, _LENGTH)

_Header = tuple[bytes, bytes]


class Conditions(msgspec.Struct, frozen=True):
    """
    What an answer was made under, beside the documents: it is given again only while this is the same.

    ``mode`` is without the figures that grow all through an outage: of the limits, kept answers tell only whether the
    customer ``can_pay``. ``told`` are the words and the day that a page names the time with; empty for JSON.
    """

    mode: ModeView
    can_pay: bool
    told: tuple[object, ...]


class Labels(msgspec.Struct, frozen=True):
    """
    The labels of one moment, as answers bear them.

    ``age_in_body`` is what JSON says of it, ``written_position`` the position cookie's value.
    """

    age: _Header
    as_of: _Header
    position: _Header
    age_in_body: bytes
    written_position: bytes


class _Age(msgspec.Struct):
    as_of: object
    age_seconds: float
    age_at_least: bool


_encode = msgspec.json.Encoder().encode


def labels_of(moment: Moment, written_position: bytes) -> Labels:
    """Write the labels of a moment; ``written_position`` is its position as a cookie's value."""
    state = moment.state
    age = _encode(_Age(state.as_of, moment.age_seconds, state.at_least))
    return Labels(
        age=(_AGE, b"%d" % math.ceil(moment.age_seconds)),
        as_of=(_AS_OF, rfc3339(state.as_of).encode()),
        position=(_POSITION_HEADER, str(state.position).encode()),
        age_in_body=age[1:-1],
        written_position=written_position,
    )


class Made(msgspec.Struct, frozen=True):
    """
    An answer of the framework's, and where in it its labels stand.

    ``headers`` are all, in their order; the numbers are places in them. ``before`` and ``after`` are the body around
    its age, ``after`` is None where it names none. ``cookie`` is the place of the position cookie, None without one,
    and ``cookie_end`` what stands behind its value.
    """

    headers: Headers
    age: int
    as_of: int
    position: int
    length: int
    cookie: int | None
    cookie_end: bytes
    before: bytes
    after: bytes | None

    def with_labels(self, labels: Labels) -> tuple[Headers, bytes]:
        """Write the answer with the labels of another moment, as the framework would."""
        headers = self.headers.copy()
        headers[self.age] = labels.age
        headers[self.as_of] = labels.as_of
        headers[self.position] = labels.position
        if self.cookie is not None:
            value = _POSITION + labels.written_position + self.cookie_end
            headers[self.cookie] = (_COOKIE, value)
        if self.after is None:
            return headers, self.before
        body = self.before + labels.age_in_body + self.after
        headers[self.length] = (_LENGTH, b"%d" % len(body))
        return headers, body


def take_apart(headers: Headers, body: bytes, written_position: bytes) -> Made | None:
    """
    Find in an answer what is a label; None where it has something that nobody knows how to write anew.

    Args:
        headers: As they were sent.
        body: All of it.
        written_position: The position cookie's value in it, where it has one.
    """
    names = [name for name, _ in headers]
    cookies = names.count(_COOKIE)
    parts = _AGE_IN_BODY.split(body)
    if any(names.count(name) != 1 for name in _ONE_EACH) or cookies > 1 or len(parts) > 2:  # noqa: PLR2004 - before and after the one place
        return None
    cookie = names.index(_COOKIE) if cookies else None
    cookie_end = b""
    if cookie is not None:
        begin, found, cookie_end = headers[cookie][1].partition(_POSITION + written_position)
        if not found or begin or not cookie_end.startswith(b";"):
            return None
    age, as_of, position, length = (names.index(name) for name in _ONE_EACH)
    return Made(
        headers=headers,
        age=age,
        as_of=as_of,
        position=position,
        length=length,
        cookie=cookie,
        cookie_end=cookie_end,
        before=parts[0],
        after=parts[1] if len(parts) > 1 else None,
    )


class Standing(NamedTuple):
    """Where everything was that answers are made from; the same as long as nothing has moved, of any account."""

    place: Place
    journal: JournalVersion


class Kept(msgspec.Struct):
    """
    One answer, and what it was made from and under.

    ``until`` is the core's time (seconds since 1970) from which the token, or the page's cookie, must be seen to again;
    ``made_at`` is the boot clock's. ``standing`` is where everything was when the answer was last found to hold.
    """

    account_id: str
    timezone: str
    path_template: str
    made: Made
    conditions: Conditions
    facts: AccountFacts
    until: float
    made_at: float
    standing: Standing

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.made.before) + len(self.made.after or b"") + _OTHER_BYTES


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
