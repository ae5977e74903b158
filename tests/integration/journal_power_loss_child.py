"""
An edge whose machine loses power at every flush of its journal: run as a program, whose disk stays recorded to its end.

Usage: `python -m tests.integration.journal_power_loss_child FOLDER [PLANTED]`; it prints what it has seen as JSON and
ends with 0 when every power loss left what it must. Planted faults: `normal`, no commit of the journal waits for the
disk; `forgets`, none does any more after the first that need not; `unflushed rename`, a file that took another's place
is not flushed to the disk by its name.
"""

import asyncio
import json
import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

import cache_sync.sqlite
import failover.group_commit
import failover.journal
from cache_sync.file_keys import FileKeys
from cache_sync.rekey import rekey_file
from cache_sync.sqlite import Connection, connect
from failover.group_commit import InlineCommitter
from failover.intents import Capture, Intent, Outcome
from failover.journal import Journal, JournalBounds
from failover.journal_changes import Draft, Offers, Recorded
from failover.journal_schema import JournalEntry
from failover.message_bodies import OutageReport
from failover.peer_messages import RecordedIntent, Source
from failover.signing import Signer, generate_signing_key, public_key, verify
from failover.wishes import MessageWish, draft_message
from tests.integration.journals import LIMITS, NOON, draft
from tests.integration.power_loss import DiskRecord, record, record_python
from tests.unit.failover.virtual import ManualClock, run_virtually
from tests.unit.failover.wires import FakeCore
from tests.unit.failover.world import World

ROUNDS = 24
LATER = NOON + timedelta(days=40)
OLD, NEW = b"\1" * 32, b"\2" * 32
BOTH_KEYS = FileKeys((NEW, OLD), source="keys.txt")
SIGNING_KEYS = {"east": generate_signing_key(lambda count: b"\3" * count)}
SIGNING_KEYS["west"] = generate_signing_key(lambda count: b"\4" * count)
OFFERS = Offers(witness="west", core=True, core_only_until=None)


class Promise(NamedTuple):
    """What somebody was told is kept: ``what`` of the intent ``intent_id``, when so many operations had been done."""

    at: int
    what: str
    intent_id: str


class Moment(NamedTuple):
    """What the rest of the world was when so many operations had been done: the witness's disk and the core's books."""

    at: int
    witness: Path
    outcomes: dict[tuple[str, str], Outcome]


def open_journal(path: Path, name: str, keys: FileKeys, **more: Any) -> Journal:
    """Open a node's journal."""
    bounds = JournalBounds(free_bytes_min=1)
    signer = Signer(SIGNING_KEYS[name])
    return Journal.open(path, node_id=name, signer=signer, keys=keys, bounds=bounds, **more)


class Machine:
    """The edge "east", on the machine that will lose its power, and what others know of it."""

    def __init__(self, folder: Path, disk: DiskRecord) -> None:
        self.folder, self.disk = folder, disk
        self.path = disk.folder / "journal.db"
        self.rng = Random(11)
        self.core = FakeCore(ManualClock())
        self.promises: list[Promise] = []
        self.moments: list[Moment] = []
        self.confirmed: dict[str, int] = {}
        self.undecided: list[JournalEntry] = []
        self.copied: list[Intent] = []
        self._number = 0

    def promise(self, what: str, *intent_ids: str) -> None:
        """Note that something was told, now."""
        at = len(self.disk.operations)
        self.promises += [Promise(at, what, intent_id) for intent_id in intent_ids]

    async def live(self) -> None:
        """Take payments and messages, keep copies, hear outcomes, forget bodies; half way, under another key."""
        elsewhere = self.folder / "west" / "journal.db"
        west = open_journal(elsewhere, "west", FileKeys())
        for keys in (FileKeys((OLD,)), BOTH_KEYS):
            self.journal = open_journal(self.path, "east", keys)
            for number in range(ROUNDS // 2):
                await self._round(west)
                if number % 7 == 6:
                    self._remember(elsewhere)
            self.journal.close()
            rekey_file(self.path, BOTH_KEYS, BOTH_KEYS)
        west.close()

    def _remember(self, elsewhere: Path) -> None:
        kept = self.folder / f"west-{len(self.moments)}"
        shutil.copytree(elsewhere.parent, kept)
        at = len(self.disk.operations)
        self.moments.append(Moment(at, kept, dict(self.core.outcomes)))

    async def _round(self, west: Journal) -> None:
        """Do some of everything, at once where an agent does it at once."""
        await asyncio.gather(
            *(self._take(west) for _ in range(self.rng.randint(1, 6))), self._keep_copies(west)
        )
        for _ in range(self.rng.randint(0, 2)):
            await self._capture()
        if self.rng.random() < 0.6:
            await self._settle(west)
        if self.rng.random() < 0.2:
            await self._empty()
        # Confirmed last, as the notes that need not be durable are lost only while nothing durable comes after them.
        await asyncio.gather(*(self._copy(entry, west) for entry in self.undecided[-3:]))

    def _draft(self, *, may_capture: bool = False) -> Draft:
        self._number += 1
        key, account_id = f"key-{self._number}", f"A-{self.rng.randint(1, 9)}"
        if self.rng.random() < 0.3:
            body = OutageReport(salt=key * 20, service_point_id="SP", extent="all")
            wish = MessageWish(
                account_id=account_id,
                idempotency_key=key,
                body=body,
                core_time=NOON,
                snapshot_age_seconds=1.0,
            )
            return draft_message(wish)
        made = draft(key, self.rng.randint(1, 900), account_id=account_id)
        captured = may_capture and self.rng.random() < 0.4
        return msgspec.structs.replace(made, kind="captured") if captured else made

    async def _record(self, journal: Journal, wanted: Draft) -> JournalEntry:
        recording = await journal.record(wanted, OFFERS, limits=LIMITS, edge_share_known=True)
        assert isinstance(recording, Recorded)
        return recording.entry

    async def _take(self, west: Journal) -> None:
        entry = await self._record(self.journal, self._draft(may_capture=True))
        self.promise("recorded", entry.intent.intent_id)
        if self.rng.random() < 0.1:
            assert await self.journal.void(entry.position)
            self.promise("void", entry.intent.intent_id)
            return
        self.undecided.append(entry)
        if self.rng.random() < 0.5:
            await self._copy(entry, west)

    async def _copy(self, entry: JournalEntry, west: Journal) -> None:
        if entry.intent.intent_id in self.confirmed:
            return
        assert (await west.store_copies([entry.intent]))[1] == []
        await self.journal.confirm([entry.position], "west")
        self.confirmed[entry.intent.intent_id] = len(self.disk.operations)

    async def _keep_copies(self, west: Journal) -> None:
        entries = [await self._record(west, self._draft()) for _ in range(2)]
        intents = [entry.intent for entry in entries]
        held, _ = await self.journal.store_copies(intents)
        self.promise("copied", *held)
        self.copied += intents

    async def _capture(self) -> None:
        waiting = [one for one in self.undecided if one.intent.kind == "captured"]
        if not waiting:
            return
        entry = self.rng.choice(waiting)
        if await self.journal.begin_capture(entry.position, NOON):
            self.promise("attempting", entry.intent.intent_id)
        elif ended := await self.journal.end_capture(
            entry.position, Capture(state="captured", charge_id=f"ch-{entry.position}")
        ):
            self.promise("captured", entry.intent.intent_id)
            self.undecided[self.undecided.index(entry)] = ended

    async def _settle(self, west: Journal) -> None:
        own = [
            one
            for one in self.undecided
            if one.intent.kind == "promise" or isinstance(one.intent.capture, Capture)
        ]
        chosen = self.rng.sample(own, len(own) // 2)
        intents = [one.intent for one in chosen] + self.copied[:2]
        del self.copied[:2]
        outcomes = [self.core.decide(intent) for intent in intents]
        self.promise("settled", *await self.journal.settle(outcomes))
        self.undecided = [one for one in self.undecided if one not in chosen]
        released = [one for one in chosen if one.intent.intent_id in self.confirmed]
        await west.settle(outcomes)
        await self.journal.released([one.position for one in released], "west")

    async def _empty(self) -> None:
        while await self.journal.empty_bodies(decided_before=LATER, limit=5):
            pass
        settled = {one.intent_id for one in self.promises if one.what == "settled"}
        self.promise("empty", *settled)

    # -- after the power came back -------------------------------------------------------------------------------------

    def cuts(self) -> list[int]:
        """List where the power goes: right before and right after every flush, in between, and at changes of names."""
        operations = self.disk.operations
        flushes = [number for number, one in enumerate(operations) if one.what.startswith("sync")]
        near = [cut for number in flushes for cut in (number, number + 1)]
        between = [self.rng.randint(1, len(operations)) for _ in range(len(flushes) // 4)]
        renames = [number for number, one in enumerate(operations) if one.what == "rename"]
        # What is left of a name and of what is written next is drawn: often enough for every outcome.
        near_names = [cut for number in renames for cut in range(number, number + 6)] * 4
        return sorted(near + between + near_names)

    def lose_power(self, cut: int, folder: Path) -> int:
        """Look at what one power loss left; returns how many confirmations it took."""
        self.disk.write_image(cut, self.rng, folder)
        promised = [one for one in self.promises if one.at <= cut]
        path = folder / "journal.db"
        assert path.exists() or not promised, f"at {cut}: the journal is gone"
        journal = open_journal(path, "east", BOTH_KEYS, make_committer=InlineCommitter)
        try:
            known = {**_recorded(journal, "copies"), **_recorded(journal, "own")}
            captures = journal.reader.open_captures(limit=10**6)
        finally:
            journal.close()
        attempted = {
            one.entry.intent.intent_id for one in captures if one.attempted_micros is not None
        }
        for one in promised:
            is_kept = one.intent_id in known and _holds(one.what, known[one.intent_id], attempted)
            assert is_kept, f"at {cut}: {one.what} was promised, and is lost"
        return self._unconfirmed(known, cut)

    def _unconfirmed(self, own: Mapping[str, RecordedIntent], cut: int) -> int:
        """Count the intents that the witness had confirmed by then, of which the journal does not know it."""
        confirmed = [intent_id for intent_id, at in self.confirmed.items() if at <= cut]
        return sum(not own[intent_id].confirmed for intent_id in confirmed)

    def come_back(self, moment: Moment, folder: Path) -> int:
        """Lose the power at a moment, then let the world go on; returns how many confirmations were made anew."""
        self.disk.write_image(moment.at, self.rng, folder / "east")
        shutil.copytree(moment.witness, folder / "west")
        made_anew: list[int] = []

        async def story() -> None:
            world = World(folder, charging=True)
            for name, node in world.nodes.items():
                node.signing_key = SIGNING_KEYS[name]
                node.keys = BOTH_KEYS if name == "east" else FileKeys()
            world.core.outcomes = dict(moment.outcomes)
            world.core.ledger = [
                pair[0] for pair, one in moment.outcomes.items() if one.state == "posted"
            ]
            world.core.up = False
            with world.running():
                made_anew.append(await self._end_right(world, moment))

        run_virtually(1, story)
        return made_anew[0]

    async def _end_right(self, world: World, moment: Moment) -> int:
        """With the core away, confirmations are asked for anew; once it is back, everything is decided once."""
        east, west = world["east"], world["west"]
        lost = self._unconfirmed(_recorded(east.journal, "own"), moment.at)
        await asyncio.sleep(30)
        assert self._unconfirmed(_recorded(east.journal, "own"), moment.at) == 0
        world.core.up = True
        await asyncio.sleep(400)
        for node in (east, west):
            queue = node.journal.reader.queue(None)
            assert (queue.pending, queue.copies_held) == (0, 0), f"at {moment.at}: something waits"
        ledger = world.core.ledger
        assert len(set(ledger)) == len(ledger), f"at {moment.at}: posted twice"
        promised = [one for one in self.promises if one.at <= moment.at]
        void = {one.intent_id for one in promised if one.what == "void"}
        decided = {pair[0] for pair in world.core.outcomes}
        assert {one.intent_id for one in promised} - void == decided & {
            one.intent_id for one in promised
        }, f"at {moment.at}: not decided"
        return lost


def _holds(what: str, known: RecordedIntent, attempted: set[str]) -> bool:
    intent = known.intent
    match what:
        case "settled":
            return known.outcome is not None
        case "void":
            return known.state == "void"
        case "empty":
            return intent.body is msgspec.UNSET
        case "attempting":
            return intent.intent_id in attempted or isinstance(intent.capture, Capture)
        case "captured":
            return isinstance(intent.capture, Capture)
        case _:
            return _is_signed(intent)


@cache
def _is_signed(intent: Intent) -> bool:
    return verify(intent, public_key(SIGNING_KEYS[intent.edge_id]))


def _recorded(journal: Journal, source: Source) -> dict[str, RecordedIntent]:
    found: dict[str, RecordedIntent] = {}
    after: int | None = 0
    while after is not None:
        page = journal.reader.page(source, after=after)
        assert page.holes == []
        found.update((item.intent.intent_id, item) for item in page.items)
        after = page.next_after
    return found


def plant(fault: str) -> None:
    """Plant a fault that the checks must find."""
    if fault in {"normal", "forgets"}:
        word = {"normal": "NORMAL", "forgets": "FULL"}[fault]

        def connect_badly(path: Path, keys: FileKeys) -> Connection:
            return connect(path, synchronous=word, same_thread=False, keys=keys)  # type: ignore[arg-type]

        failover.journal._connect = connect_badly
        failover.group_commit._wait_for_disk_again = lambda connection: None
    elif fault == "unflushed rename":
        os.fsync = lambda fd: None
    else:
        assert not fault, fault


def main(folder: Path, planted: str) -> dict[str, int]:
    """Live, lose power many times over, and return what was seen."""
    cache_sync.sqlite.AUTOCHECKPOINT_PAGES = 40
    where = folder / "east"
    where.mkdir()
    disk = record(where)
    record_python(disk)
    plant(planted)
    machine = Machine(folder, disk)
    asyncio.run(machine.live())
    cuts = machine.cuts()
    lost = [machine.lose_power(cut, folder / f"after-{number}") for number, cut in enumerate(cuts)]
    made_anew = [
        machine.come_back(moment, folder / f"back-{number}")
        for number, moment in enumerate(machine.moments)
    ]
    return {
        "losses": len(cuts),
        "promises": len(machine.promises),
        "took_confirmations": sum(count > 0 for count in lost),
        "made_anew": sum(made_anew),
    }


if __name__ == "__main__":
    try:
        seen = main(Path(sys.argv[1]), "".join(sys.argv[2:]))
        sys.stdout.write(json.dumps(seen) + "\n")
    except BaseException:  # noqa: BLE001 - whatever it is, the process has to end by os._exit
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)
