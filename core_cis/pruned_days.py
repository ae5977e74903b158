"""
What edges keep in sums only, compared with what the core decided of just these: by edge, day and kind. Pure.

An edge tells which ordinals it has dropped. The core finds its own decisions of these places, and sums up as the edge
did: number, cents and a digest over ids and fingerprints must be the same. So must the states; of a case that people
decided since, the edge may have been told either outcome.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import combinations, islice
from math import comb
from typing import NamedTuple

from core_cis.instants import local_date
from core_cis.reconciliation import (
    Books,
    Decided,
    Difference,
    Journal,
    PrunedDay,
    Recorded,
    place_of,
)
from failover.pruned_sums import (
    PrunedSums,
    PrunedType,
    add_digests,
    digest_of,
    missing_digest,
    read_digest,
)

_VOID = "void"
_GUESSES_MAX = 100_000

_Day = tuple[date, PrunedType]
_Writer = tuple[str, str]


class _Side(NamedTuple):
    """One side's sums of a day."""

    number: int
    cents: int
    digest: int


def compare_pruned(
    journals: Iterable[Journal], recorded: Recorded, books: Books, timezone: str
) -> tuple[list[PrunedDay], list[Difference]]:
    """Compare what journals have dropped with the core's decisions; returns every day, and what is wrong."""
    placed: dict[_Writer, list[Decided]] = defaultdict(list)
    elsewhere: dict[_Day, list[Decided]] = defaultdict(list)
    for item in books.decided:
        if _is_of_its_record(item):
            placed[item.intent.edge_id, item.intent.incarnation].append(item)
        else:
            elsewhere[_day_of(item, timezone)].append(item)
    days: list[PrunedDay] = []
    found: list[Difference] = []
    for journal in journals:
        if journal.pruned is None:
            continue
        dropped = [
            item
            for item in placed[journal.node_id, journal.incarnation]
            if recorded.is_pruned(place_of(item.intent))
        ]
        own = _Own(journal, _by_day(dropped, timezone), elsewhere)
        days += own.days
        found += own.differences()
        if journal.pruned.mark and journal.pruned.mark not in books.marks:
            found.append(
                Difference(
                    kind="pruned_not_held",
                    detail=f"it has dropped what backup {journal.pruned.mark} covers, and these books do not hold that:"
                    " they were restored from an older backup",
                    edge_id=journal.node_id,
                )
            )
        found += _copy_differences(journal, placed, timezone)
    return sorted(days, key=lambda each: (each.edge_id, each.day, each.type)), found


class _Own:
    """An edge's own part, beside the core's."""

    def __init__(
        self,
        journal: Journal,
        core: dict[_Day, list[Decided]],
        elsewhere: dict[_Day, list[Decided]],
    ) -> None:
        assert journal.pruned is not None, "asked of those alone that dropped something"
        self._journal = journal
        self._part = journal.pruned
        self._core = core
        self._told: dict[_Day, list[PrunedSums]] = defaultdict(list)
        for sums in self._part.sums:
            if sums.state != _VOID:
                self._told[sums.day, sums.type].append(sums)
        for day, told in self._told.items():
            core.setdefault(day, [])
            core[day] = core[day] + _taken_elsewhere(told, core[day], elsewhere.get(day, []))
        self.days = [self._compare(day) for day in sorted({*self._told, *core})]

    def _compare(self, day: _Day) -> PrunedDay:
        told, decided = self._told.get(day, []), self._core.get(day, [])
        edge, core = _told_side(told), _core_side(decided)
        states: dict[str, int] = defaultdict(int)
        for sums in told:
            states[sums.state] += sums.count
        return PrunedDay(
            edge_id=self._journal.node_id,
            incarnation=self._journal.incarnation,
            day=day[0],
            type=day[1],
            count=edge.number,
            amount=edge.cents,
            states=dict(sorted(states.items())),
            core_count=core.number,
            core_amount=core.cents,
            equal=edge == core and _states_agree(states, decided),
        )

    def differences(self) -> list[Difference]:
        """Tell what is wrong with it."""
        found = [self._difference(day) for day in self.days if not day.equal]
        summed = sum(sums.count for sums in self._part.sums)
        dropped = sum(last - first + 1 for first, last in self._part.ordinals)
        if summed != dropped:
            found.append(
                Difference(
                    kind="pruned_differs",
                    detail=f"it has dropped {dropped} ordinals, and its sums tell of {summed} intents",
                    edge_id=self._journal.node_id,
                )
            )
        return found

    def _difference(self, day: PrunedDay) -> Difference:
        same = (day.count, day.amount) == (day.core_count, day.core_amount)
        detail = (
            f"{day.count} {day.type}s of {day.day} are in its sums only; of these the core has"
            f" {'others, or in other states' if same else day.core_count}"
        )
        return Difference(
            kind="pruned_differs",
            detail=detail,
            edge_id=self._journal.node_id,
            expected=day.amount,
            found=day.core_amount,
        )


def _copy_differences(
    journal: Journal, placed: dict[_Writer, list[Decided]], timezone: str
) -> list[Difference]:
    """A witness has dropped no more of a writer's day than the core has decided of it: which ones it held varies."""
    if journal.pruned_copies is None:
        return []
    told: dict[tuple[_Writer, _Day], list[PrunedSums]] = defaultdict(list)
    for sums in journal.pruned_copies.sums:
        told[(sums.writer, sums.incarnation), (sums.day, sums.type)].append(sums)
    known = {writer: _by_day(placed.get(writer, []), timezone) for writer, _ in told}
    found = []
    for (writer, day), sums_of_day in told.items():
        edge, core = _told_side(sums_of_day), _core_side(known[writer].get(day, []))
        if edge.number > core.number or edge.cents > core.cents:
            found.append(
                Difference(
                    kind="pruned_differs",
                    detail=f"it has dropped copies of {edge.number} {day[1]}s of {writer[0]}, {day[0]};"
                    f" of these the core has {core.number}",
                    edge_id=journal.node_id,
                    expected=edge.cents,
                    found=core.cents,
                )
            )
    return found


def _is_of_its_record(item: Decided) -> bool:
    """
    Tell whether an outcome was decided of the record that the inbox has.

    Of one wish that two edges recorded, a restored core may have heard from the other one first.
    """
    first = item.first or item.outcome
    return first.accepted_at in (None, item.intent.accepted_at)


def _taken_elsewhere(
    told: Sequence[PrunedSums], core: Sequence[Decided], elsewhere: Sequence[Decided]
) -> list[Decided]:
    """
    Find what the inbox has under another edge's record, and this edge recorded too: after a restore, if ever.

    The digest of what is lacking tells which ones they are.
    """
    edge, known = _told_side(told), _core_side(core)
    lacking = edge.number - known.number
    if lacking <= 0 or comb(len(elsewhere), lacking) > _GUESSES_MAX:
        return []
    wanted = _Side(lacking, edge.cents - known.cents, missing_digest(edge.digest, known.digest))
    for guess in islice(combinations(elsewhere, lacking), _GUESSES_MAX):
        if _core_side(guess) == wanted:
            return list(guess)
    return []


def _states_agree(told: dict[str, int], decided: Sequence[Decided]) -> bool:
    """Tell whether counts by state are possible: a case's first outcome was told, or the one that people decided."""
    at_least: dict[str, int] = defaultdict(int)
    at_most: dict[str, int] = defaultdict(int)
    for item in decided:
        states = {each.state for each in (item.outcome, item.first) if each is not None}
        for state in states:
            at_most[state] += 1
            at_least[state] += len(states) == 1
    return all(
        at_least[state] <= told.get(state, 0) <= at_most[state] for state in {*told, *at_most}
    )


def _told_side(told: Iterable[PrunedSums]) -> _Side:
    sums = list(told)
    return _Side(
        sum(each.count for each in sums),
        sum(each.cents for each in sums),
        add_digests(read_digest(each.digest) for each in sums),
    )


def _core_side(decided: Iterable[Decided]) -> _Side:
    items = list(decided)
    return _Side(
        len(items),
        sum(item.intent.amount_cents for item in items),
        add_digests(digest_of(item.intent) for item in items),
    )


def _by_day(decided: Iterable[Decided], timezone: str) -> dict[_Day, list[Decided]]:
    days: dict[_Day, list[Decided]] = defaultdict(list)
    for item in decided:
        days[_day_of(item, timezone)].append(item)
    return days


def _day_of(item: Decided, timezone: str) -> _Day:
    # The record that was decided may be another one than is at hand: its time is in the outcome.
    accepted_at = (item.first or item.outcome).accepted_at or item.intent.accepted_at
    return local_date(accepted_at, timezone), "payment" if item.intent.is_payment else "message"
