"""
The second copy: which sibling keeps it, and what keeping it means.

A witness's durable commit *is* the acceptance: from then on either holder may deliver the intent without asking the
other, and the core takes it once. The witness waits until its writer has been silent for some seconds, or has come back
as another incarnation (its disk was lost).
"""

import asyncio
import hashlib
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.offload import Offload, in_thread, inline
from failover.errors import JournalError, NodeError
from failover.gossip import Gossip
from failover.intents import Intent, Outcome, Receipt
from failover.journal import Journal
from failover.peer_messages import (
    Ask,
    CopyAnswer,
    CopyBatch,
    Hello,
    OutcomeAnswer,
    OutcomeNotice,
)
from failover.signing import verify, verify_outcome

_CHECKED_INLINE_MAX = 4
_log = structlog.get_logger(__name__)


class Sibling(Protocol):
    """
    Another edge; implemented over HTTP by the edge portal.

    Every call raises `NotSent` when no byte left, `Ambiguous` after, `Overloaded` and `NodeRefused` as answered.
    """

    async def hello(self, have: Sequence[str] = (), *, deadline_seconds: float) -> Hello:
        """Ask whether it is there, as which incarnation, and for news, but sets of marks that one does ``have``."""
        ...

    async def copy(self, batch: CopyBatch, *, deadline_seconds: float) -> CopyAnswer:
        """Have it keep copies; answered once they are durable there."""
        ...

    async def outcomes(self, notice: OutcomeNotice, *, deadline_seconds: float) -> OutcomeAnswer:
        """Tell it what the core decided."""
        ...

    async def ask(self, ask: Ask, *, deadline_seconds: float) -> Receipt | None:
        """Ask what it knows of one payment."""
        ...


def rank_witnesses(account_id: str, peers: Iterable[str]) -> list[str]:
    """Order siblings by rendezvous hash of an account: all edges agree, losing one moves only its accounts."""

    def weight(peer: str) -> bytes:
        return hashlib.sha256(f"{len(peer)}:{peer}{account_id}".encode()).digest()

    return sorted(peers, key=weight, reverse=True)


class WatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often siblings are greeted, and from when on one counts as away."""

    interval_seconds: float = 1.0
    deadline_seconds: float = 0.8
    live_seconds: float = 3.0


class _Seen(msgspec.Struct):
    answered_at: float | None = None
    incarnation: str = ""
    held_cents: dict[str, int] = {}


class PeerWatch:
    """
    Greets every sibling and remembers when it last answered (boot clock), and as which incarnation.

    What a sibling says of what waits with it and with others goes to the ``gossip``.
    """

    def __init__(
        self,
        siblings: Mapping[str, Sibling],
        *,
        clock: Clock,
        rng: random.Random,
        settings: WatchSettings | None = None,
        gossip: Gossip | None = None,
    ) -> None:
        self._siblings = siblings
        self._gossip = gossip
        self._clock = clock
        self._rng = rng
        self._settings = settings or WatchSettings()
        self._started_at = clock.boot_seconds()
        self._seen = {peer: _Seen() for peer in siblings}

    def live(self, peer: str) -> bool:
        """Tell whether a sibling answered lately."""
        seen = self._seen.get(peer)
        return (
            seen is not None
            and seen.answered_at is not None
            and self.silence_seconds(peer) <= self._settings.live_seconds
        )

    def liveness(self) -> dict[str, bool]:
        """Tell it of all siblings."""
        return {peer: self.live(peer) for peer in self._seen}

    def silence_seconds(self, peer: str) -> float:
        """Tell how long a sibling has been silent; one that never answered, since this watch began."""
        seen = self._seen.get(peer)
        since = self._started_at if seen is None or seen.answered_at is None else seen.answered_at
        return self._clock.boot_seconds() - since

    def incarnation(self, peer: str) -> str | None:
        """Tell as which incarnation a sibling last answered; None when it never did."""
        seen = self._seen.get(peer)
        return seen.incarnation if seen is not None and seen.answered_at is not None else None

    def held_of(self, peer: str, *, but: str) -> int | None:
        """Tell how many undecided cents a sibling holds of this node's incarnations ``but`` one; None if unknown."""
        seen = self._seen[peer]
        if seen.answered_at is None:
            return None
        return sum(cents for incarnation, cents in seen.held_cents.items() if incarnation != but)

    def choose(self, account_id: str) -> list[str]:
        """Return the live siblings in the order in which they should be asked to be an account's witness."""
        return rank_witnesses(account_id, [peer for peer in self._seen if self.live(peer)])

    async def greet(self, peer: str) -> None:
        """Greet one sibling once."""
        deadline = self._settings.deadline_seconds
        asked_at = self._clock.boot_seconds()
        have = self._gossip.have() if self._gossip is not None else ()
        try:
            async with asyncio.timeout(deadline):
                hello = await self._siblings[peer].hello(have, deadline_seconds=deadline)
        except (NodeError, OSError):
            return
        if hello.node_id != peer:
            _log.error(
                "a sibling answers under another's address", peer=peer, answers=hello.node_id
            )
            return
        seen = self._seen[peer]
        seen.answered_at = self._clock.boot_seconds()
        seen.incarnation = hello.incarnation
        seen.held_cents = hello.held_cents
        if self._gossip is not None:
            self._gossip.hear(peer, hello, asked_at=asked_at)

    async def run(self, stop: asyncio.Event) -> None:
        """Greet everybody until ``stop`` is set."""
        while not stop.is_set():
            await asyncio.gather(*(self.greet(peer) for peer in self._siblings))
            if self._gossip is not None:
                self._gossip.write_down()
            await self._clock.sleep(self._settings.interval_seconds * self._rng.uniform(0.8, 1.2))


class WitnessHolder:
    """
    What this node does for its siblings; ``caller`` is always the authenticated node id.

    ``public_keys`` are the keys that siblings sign with: node id → base64 Ed25519; ``core_key`` is the core's. Many
    signatures are checked where ``offload`` says. ``gossip`` is what it tells of what waits.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        public_keys: Mapping[str, str],
        core_key: str,
        offload: Offload = in_thread,
        gossip: Gossip | None = None,
    ) -> None:
        self._journal = journal
        self._gossip = gossip
        self._public_keys = public_keys
        self._core_key = core_key
        self._offload = offload

    def hello(self, caller: str, have: Collection[str] = ()) -> Hello:
        """Say who this is, what is held of the caller, and what waits where; not the sets that it does ``have``."""
        held = {
            incarnation: cents
            for writer, incarnation, _, cents in self._journal.reader.holdings()
            if writer == caller
        }
        summaries, marks = self._gossip.tell(have) if self._gossip is not None else ([], {})
        return Hello(
            node_id=self._journal.node_id,
            incarnation=self._journal.incarnation,
            held_cents=held,
            summaries=summaries,
            marks=marks,
        )

    async def copy(self, caller: str, batch: CopyBatch) -> CopyAnswer:
        """
        Keep copies of what the caller recorded; answers once they are durable.

        Refuses what the caller did not sign itself. The same copy again is held again.

        Raises:
            JournalError: None was kept (full or fenced); the caller may ask again.
        """
        genuine: list[Intent] = []
        refused: list[Intent] = []
        for intent in batch.intents:
            (genuine if self._acceptable(caller, intent) else refused).append(intent)
        held, clashing = await self._journal.store_copies(genuine) if genuine else ([], [])
        refused_ids = [*(intent.intent_id for intent in refused), *clashing]
        if refused_ids:
            _log.error("copies refused", caller=caller, count=len(refused_ids))
        return CopyAnswer(
            incarnation=self._journal.incarnation, intent_ids=held, refused=refused_ids
        )

    async def outcomes(self, caller: str, notice: OutcomeNotice) -> OutcomeAnswer:
        """
        Take over what the core decided, however the caller came by it: the core's signature is what counts.

        Raises:
            JournalError: Nothing was taken over.
        """

        def check() -> list[bool]:
            return [verify_outcome(each, self._core_key) for each in notice.outcomes]

        few = len(notice.outcomes) <= _CHECKED_INLINE_MAX
        genuine = await (inline if few else self._offload)(check)
        judged: list[tuple[Outcome, bool]] = list(zip(notice.outcomes, genuine, strict=True))
        believed = [outcome for outcome, is_genuine in judged if is_genuine]
        settled = await self._journal.settle(believed) if believed else []
        if settled:
            _log.info("outcomes heard from a sibling", caller=caller, count=len(settled))
        refused = [outcome.intent_id for outcome, is_genuine in judged if not is_genuine]
        if refused:
            _log.error(
                "outcomes that the core has not signed",
                alarm="forged_outcome",
                caller=caller,
                count=len(refused),
            )
        return OutcomeAnswer([each.intent_id for each in believed], refused)

    def ask(self, ask: Ask) -> Receipt | None:
        """Say what is known here of one payment; None proves nothing about other nodes."""
        try:
            return self._journal.reader.receipt(ask.account_id, ask.intent_id)
        except JournalError:
            return None

    def _acceptable(self, caller: str, intent: Intent) -> bool:
        key = self._public_keys.get(caller)
        return (
            key is not None
            and caller != self._journal.node_id
            and intent.edge_id == caller
            and verify(intent, key)
        )
