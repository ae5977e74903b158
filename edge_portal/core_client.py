"""The only HTTP to the core: its feed, its probe, its intake and its archive, each through a client of its own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from cache_sync.body_versions import write_versions
from cache_sync.documents import KNOWN_VERSIONS, STATEMENT, StatementBody
from cache_sync.errors import (
    Behind,
    BelowFloor,
    EpochChanged,
    FeedUnavailable,
    Forked,
    FrameTooLarge,
)
from cache_sync.frames import Frame, Position, Proof, decode_frame, write_positions
from edge_portal.message_client import MessageClient
from edge_portal.node_client import Answer, NodeClient, checked, read_problem, slug_of
from failover.covers import Following
from failover.errors import Ambiguous, AnswerTooLarge, NodeError, NodeRefused
from failover.intents import DecidedBatch, IntentBatch, OutcomeBatch
from failover.probe import ProbeAnswer
from failover.standin import Holding
from failover.web import MSGPACK

FEED_ANSWER_SECONDS: Final = 2.0
# A page ends behind the row that makes it 4 MiB of bodies, and none is longer than 1 MiB: 5 MiB, and the names.
FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
OUTCOMES_BYTES_MAX: Final = 4 * 1024 * 1024
PROBE_BYTES_MAX: Final = 512 * 1024
STATEMENT_BYTES_MAX: Final = 2 * 1024 * 1024
INTAKE_CALLS_MAX: Final = 16
ARCHIVE_CALLS_MAX: Final = 8
_OK: Final = 200
_Params = dict[str, str | int | float]


ReachedProof = Callable[[], Proof | None]
"""The barrier that this node's snapshot has reached, shown to the core so that it notices a restore."""


def nothing_reached() -> Proof | None:
    """Show nothing: of a node without a snapshot, or one that is not asked for it."""
    return None


def _shown(reached: ReachedProof) -> str:
    proof = reached()
    return "" if proof is None else str(proof)


class CoreFeed:
    """Implements `cache_sync.feed_client.FeedClient`, for the core and for siblings that pass documents on."""

    def __init__(
        self,
        client: NodeClient | MessageClient,
        shard: str,
        *,
        answer_seconds: float = FEED_ANSWER_SECONDS,
        reached: ReachedProof = nothing_reached,
    ) -> None:
        self._client = client
        self._reached = reached
        self._shard = shard
        self._answer_seconds = answer_seconds

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask for the documents after a cursor. Raises `FeedError`, `InvalidFrame`, `NotTakenHere`."""
        try:
            answer = await self._client.call(
                "GET",
                f"/feed/{quote(self._shard, safe='')}",
                params={
                    "after": after,
                    "epoch": epoch,
                    "limit": limit,
                    "wait": wait,
                    "proof": _shown(self._reached),
                },
                headers={"Accept-Encoding": "gzip"},
                deadline_seconds=wait + self._answer_seconds,
                bytes_max=FRAME_BYTES_MAX,
            )
        except AnswerTooLarge as error:
            raise FrameTooLarge(FRAME_BYTES_MAX) from error
        except NodeError as error:
            raise FeedUnavailable(str(error)) from error
        if answer.status != _OK:
            _refuse_feed(answer)
        return decode_frame(answer.body)


def _refuse_feed(answer: Answer) -> None:
    problem = read_problem(answer.body)
    match slug_of(problem):
        case "epoch_changed":
            raise EpochChanged(problem.epoch)
        case "behind":
            raise Behind(problem.epoch, problem.head)
        case "fork":
            raise Forked(problem.head)
        case "below_floor":
            raise BelowFloor(problem.floor)
        case _:
            raise FeedUnavailable(f"answered with {answer.status} {slug_of(problem)}".rstrip())


class CoreProbeClient:
    """
    Implements `failover.probe.CoreProber`.

    ``kept`` tells what of the snapshots a power loss would leave, ``reads`` which versions of bodies this edge reads,
    ``limits`` which stand-in limits it follows, ``covers`` which backup it knows of.
    """

    def __init__(
        self,
        client: NodeClient,
        reached: ReachedProof = nothing_reached,
        kept: Callable[[], Iterable[Position]] = tuple,
        reads: Mapping[str, int] = KNOWN_VERSIONS,
        limits: Callable[[], Holding | None] = lambda: None,
        covers: Callable[[], Following] = Following,
    ) -> None:
        self._covers = covers
        self._reads = write_versions(reads)
        self._client = client
        self._reached = reached
        self._kept = kept
        self._limits = limits

    async def probe(self, *, deadline_seconds: float) -> ProbeAnswer:
        """Ask whether the core can read and write. Raises `NodeError`."""
        holding = self._limits()
        answer = await self._client.call(
            "GET",
            "/probe",
            params={
                "position": _shown(self._reached),
                "kept": write_positions(self._kept()),
                "reads": self._reads,
                "limits": "" if holding is None else str(holding),
                "covers": str(self._covers()),
            },
            deadline_seconds=deadline_seconds,
            bytes_max=PROBE_BYTES_MAX,
        )
        try:
            return msgspec.json.decode(checked(answer), type=ProbeAnswer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Ambiguous("the answer is not a probe's") from error


class CoreIntakeClient:
    """Implements `failover.offering.CoreIntake` and `failover.returning.CoreReturns`."""

    def __init__(self, client: NodeClient, reached: ReachedProof = nothing_reached) -> None:
        self._client = client
        self._reached = reached

    async def post(
        self, batch: IntentBatch, *, deadline_seconds: float, drain: bool
    ) -> OutcomeBatch:
        """Have the core decide intents, each at most once. Raises `NodeError`."""
        params: _Params = {
            "drain": "true" if drain else "false",
            "position": _shown(self._reached),
        }
        return await self._post("/intents", params, batch, deadline_seconds)

    async def take_back(self, batch: DecidedBatch, *, deadline_seconds: float) -> OutcomeBatch:
        """Have the core take back what it once decided. Raises `NodeError`."""
        return await self._post("/outcomes", {}, batch, deadline_seconds)

    async def _post(
        self, path: str, params: _Params, batch: msgspec.Struct, deadline_seconds: float
    ) -> OutcomeBatch:
        answer = await self._client.call(
            "POST",
            path,
            params=params,
            content=msgspec.msgpack.encode(batch),
            content_type=MSGPACK,
            deadline_seconds=deadline_seconds,
            bytes_max=OUTCOMES_BYTES_MAX,
        )
        try:
            return msgspec.msgpack.decode(checked(answer), type=OutcomeBatch)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Ambiguous("the answer is not one of the intake") from error


class CoreArchiveClient:
    """Asks the core for what edges do not hold."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client

    async def statement(
        self, account_id: str, statement_id: str, *, deadline_seconds: float
    ) -> StatementBody | None:
        """Return a statement, None when the core does not know it. Raises `NodeError`."""
        path = f"/archive/accounts/{quote(account_id, safe='')}/statements/{quote(statement_id, safe='')}"
        answer = await self._client.call(
            "GET", path, deadline_seconds=deadline_seconds, bytes_max=STATEMENT_BYTES_MAX
        )
        try:
            body = msgspec.json.decode(checked(answer), type=StatementBody)
        except NodeRefused as refused:
            if refused.status == 404:  # noqa: PLR2004
                return None
            raise
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Ambiguous("the answer is not a statement") from error
        if body.version > KNOWN_VERSIONS[STATEMENT]:
            raise Ambiguous(f"a statement of version {body.version} needs another release")
        return body
