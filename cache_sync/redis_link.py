"""
One connection to a Redis, single or a cluster's node, with one deadline for a whole question and its answers.

redis-py makes the connection. The answers are read here, because its own time limit begins anew with every piece that
arrives: one that drips would hold a caller for minutes. All keys that are used through one link have the same hash tag,
so that in a cluster one node has them all; the link finds that node by what the others answer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Union
from urllib.parse import SplitResult, unquote, urlsplit

from cache_sync.clock import Clock
from cache_sync.errors import RedisUnavailable

if TYPE_CHECKING:
    from cache_sync.redis_connect import Connected

DEFAULT_PORT: Final = 6379
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
_READ_BYTES: Final = 64 * 1024
_DEPTH_MAX: Final = 8
_MOVES_MAX: Final = 3
_BULK, _ARRAY, _STATUS, _INTEGER, _ERROR = b"$*+:-"
# Answers of a server that is there and cannot serve now: as good as none.
_NOT_SERVING: Final = (
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "READONLY",
    "ASK",
    "BUSY",
)


class RedisRefusal(Exception):
    """What a Redis says when it does not do something; ``code`` is its first word."""

    @property
    def code(self) -> str:
        """The kind of refusal: `WRONGTYPE`, `NOSCRIPT`, `OOM` and the like."""
        return str(self.args[0]).partition(" ")[0]


Reply = Union[bytes, int, None, RedisRefusal, list["Reply"]]  # noqa: UP007 - it names itself
Command = Sequence[bytes | str | int]
Address = tuple[str, int]


def check_url(url: str) -> None:
    """
    Check that an address is one of a Redis.

    Raises:
        ValueError: It is not; the message does not repeat it, because a password may stand in it.
    """
    _parse(url)


def _parse(url: str) -> SplitResult:
    try:
        parsed = urlsplit(url)
        _ = parsed.port, int(parsed.path.strip("/") or 0)
    except ValueError:
        parsed = SplitResult("", "", "", "", "")
    if parsed.scheme not in {"redis", "rediss"} or not parsed.hostname:
        raise ValueError("not the address of a Redis: redis://… or rediss://…")
    return parsed


class RedisLink:
    """
    Asks one Redis, one question at a time, and connects when it has to.

    Args:
        url: ``redis://`` or ``rediss://``, with user and password where there are any; never shown to anybody.
        clock: What deadlines are measured on.
        seconds: How long connecting may take, and a question that names no deadline.
    """

    def __init__(self, url: str, *, clock: Clock, seconds: float = 2.0) -> None:
        parsed = _parse(url)
        self._url = url
        self._user = unquote(parsed.username or "")
        self._password = unquote(parsed.password or "")
        self._database = int(parsed.path.strip("/") or 0)
        self._clock = clock
        self._seconds = seconds
        self._addresses: list[Address] = [(parsed.hostname or "", parsed.port or DEFAULT_PORT)]
        self._wire: _Wire | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known without asking."""
        return self._wire is not None

    @property
    def address(self) -> str:
        """Host and port of the node that is asked first, for operators."""
        host, port = self._addresses[0]
        return f"{host}:{port}"

    def ask(self, *commands: Command, seconds: float | None = None) -> list[Reply]:
        """
        Send commands at once and return their answers, refusals among them as `RedisRefusal`.

        Raises:
            RedisUnavailable: Not all answers came in time, or the server cannot serve now. Whether it did what was
                asked is not known; the connection is given up.
        """
        deadline = self._clock.boot_seconds() + (self._seconds if seconds is None else seconds)
        try:
            for _ in range(_MOVES_MAX):
                wire = self._wire or self._connect(deadline)
                replies = wire.ask(commands, deadline)
                moved_to = _moved(replies)
                if moved_to is None:
                    return replies
                self._prefer(moved_to)
        except (OSError, ValueError, RecursionError) as error:
            self._give_up()
            # Not the message: it may repeat what was sent.
            raise RedisUnavailable(f"{self.address}: {type(error).__name__}") from None
        self._give_up()
        raise RedisUnavailable(f"{self.address}: nobody has these keys, or not now")

    def close(self) -> None:
        """Close the connection; the next question makes another."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _give_up(self) -> None:
        """Try another node of the cluster first the next time."""
        self.close()
        self._addresses.append(self._addresses.pop(0))

    def _prefer(self, address: Address) -> None:
        self.close()
        host = address[0] or self._addresses[0][0]
        self._addresses = [
            (host, address[1]),
            *(one for one in self._addresses if one != (host, address[1])),
        ]

    def _connect(self, deadline: float) -> "_Wire":
        # 23 MB and a quarter of a second, for those only who have a Redis.
        from cache_sync.redis_connect import connect  # noqa: PLC0415

        host, port = self._addresses[0]
        left = deadline - self._clock.boot_seconds()
        if left <= 0:
            raise TimeoutError
        wire = _Wire(connect(self._url, host, port, seconds=left), self._clock)
        try:
            self._sign_in(wire, deadline)
        except BaseException:
            wire.close()
            raise
        self._wire = wire
        return wire

    def _sign_in(self, wire: "_Wire", deadline: float) -> None:
        commands: list[Command] = []
        if self._password:
            commands.append(("AUTH", *([self._user] if self._user else []), self._password))
        if self._database:
            commands.append(("SELECT", self._database))
        # A single server refuses this one; a cluster's node names the others, who are asked when this one is gone.
        commands.append(("CLUSTER", "SLOTS"))
        *answers, slots = wire.ask(commands, deadline)
        refused = [answer.code for answer in answers if isinstance(answer, RedisRefusal)]
        if refused:
            raise RedisUnavailable(f"{self.address} does not let us in: {refused[0]}")
        named = [address for address in _addresses(slots) if address[0]]
        self._addresses = list(dict.fromkeys([*self._addresses, *named]))


class _Wire:
    """A connected socket, and what came over it that nobody has read yet."""

    def __init__(self, connected: "Connected", clock: Clock) -> None:
        self._connected = connected
        self._socket = connected.socket
        self._clock = clock
        self._buffer = b""
        self._at = 0
        self._deadline = 0.0

    def ask(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """Send commands and read one answer to each."""
        self._deadline = deadline
        self._socket.settimeout(self._left())
        self._socket.sendall(b"".join(_pack(command) for command in commands))
        return [self._reply(0) for _ in commands]

    def close(self) -> None:
        """Close the socket."""
        self._connected.close()

    def _left(self) -> float:
        left = self._deadline - self._clock.boot_seconds()
        if left <= 0:
            raise TimeoutError
        return left

    def _fill(self) -> None:
        self._socket.settimeout(self._left())
        came = self._socket.recv(_READ_BYTES)
        if not came:
            raise ConnectionResetError
        self._buffer = self._buffer[self._at :] + came
        self._at = 0

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            if len(self._buffer) - self._at > _READ_BYTES:
                raise ValueError("that is no answer of a Redis")
            self._fill()
        line = self._buffer[self._at : end]
        self._at = end + 2
        return line

    def _exactly(self, length: int) -> bytes:
        if not 0 <= length <= ANSWER_BYTES_MAX:
            raise ValueError("an answer of that length")
        wanted = length + 2
        if len(self._buffer) - self._at < wanted:
            # Collected and joined once: a long answer comes in thousands of pieces.
            pieces, have = [self._buffer[self._at :]], len(self._buffer) - self._at
            while have < wanted:
                self._socket.settimeout(self._left())
                came = self._socket.recv(max(_READ_BYTES, min(wanted - have, 16 * _READ_BYTES)))
                if not came:
                    raise ConnectionResetError
                pieces.append(came)
                have += len(came)
            self._buffer, self._at = b"".join(pieces), 0
        content = self._buffer[self._at : self._at + length]
        self._at += wanted
        return content

    def _reply(self, depth: int) -> Reply:
        line = self._line()
        if not line or depth > _DEPTH_MAX:
            raise ValueError("that is no answer of a Redis")
        kind, rest = line[0], line[1:]
        if kind == _BULK:
            length = int(rest)
            return None if length == -1 else self._exactly(length)
        if kind == _ARRAY:
            count = int(rest)
            return None if count == -1 else [self._reply(depth + 1) for _ in range(count)]
        if kind == _STATUS:
            return rest
        if kind == _INTEGER:
            return int(rest)
        if kind == _ERROR:
            return RedisRefusal(rest.decode(errors="replace"))
        raise ValueError("that is no answer of a Redis")


def _pack(command: Command) -> bytes:
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        content = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(content), content))
    return b"".join(parts)


def _moved(replies: Sequence[Reply]) -> Address | None:
    """Return whom to ask instead, where the answers say so."""
    for reply in replies:
        if not isinstance(reply, RedisRefusal):
            continue
        words = str(reply.args[0]).split()
        if reply.code == "MOVED":
            host, _, port = words[2].rpartition(":")
            return host.strip("[]"), int(port)
        if reply.code in _NOT_SERVING:
            raise ValueError("it cannot serve now")
    return None


def _addresses(slots: Reply) -> list[Address]:
    """List the nodes that `CLUSTER SLOTS` names."""
    parts = [part for part in slots if isinstance(part, list)] if isinstance(slots, list) else []
    nodes = [node for part in parts for node in part[2:] if isinstance(node, list)]
    found = [(node[0], node[1]) for node in nodes if len(node) > 1]
    return [
        (host.decode(), port)
        for host, port in found
        if isinstance(host, bytes) and isinstance(port, int)
    ]
