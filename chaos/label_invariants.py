"""What must hold of what customers saw: every page answered, every label true, nobody's own view going back."""

import itertools
from collections import defaultdict
from datetime import datetime, timedelta

from chaos.findings import Finding, conclude
from chaos.history import History, Read
from chaos.money_invariants import dollars

DEGRADED_SECONDS_MAX = 3.0
ARCHIVE_SECONDS_MAX = 1.0
# A frame that was on its way when the core died may still move the as-of time this long after: to a node that has not
# got it, through a sibling that has, once that node has given the core up.
LAST_FRAME_SECONDS = 6.0
OK = 200
_POSITION_PARTS = 3


def _pages(history: History) -> list[Read]:
    return [read for read in history.reads if not read.archive]


def _in_outage(history: History, *, after_seconds: float = 0.0) -> list[Read]:
    """Reads asked and answered while the fault was certainly there, by edge and time."""
    moments = history.milestones
    if moments.broken_at is None or moments.healing_at is None:
        return []
    begin = moments.broken_at + timedelta(seconds=after_seconds)
    inside = [
        read
        for read in _pages(history)
        if read.sent_at >= begin and read.received_at <= moments.healing_at
    ]
    return sorted(inside, key=lambda read: (read.edge, read.sent_at))


def _describe(read: Read) -> str:
    return f"{read.sent_at:%H:%M:%S.%f} {read.edge} {read.what} of {read.account_id}"


def reads_answered(history: History) -> Finding:
    """Every page is answered, in the outage as before, also for accounts that nobody had asked for."""
    return _answered(history, [read for read in _pages(history) if not history.out_of_reach(read)])


def pages_answered_alone(history: History) -> Finding:
    """As `reads_answered`, but of a payment that nobody has taken an edge may say that it knows nothing."""
    reads = [
        read
        for read in _pages(history)
        # That a promised one is known everywhere is another rule's business.
        if not history.out_of_reach(read)
        and not (read.what == "payment" and read.problem in {"not_found", "payment_unknown"})
    ]
    return _answered(history, reads)


def _answered(history: History, pages: list[Read]) -> Finding:
    failed = [read for read in pages if read.status != OK]
    untouched = {
        read.account_id
        for read in _in_outage(history)
        if read.untouched and not history.out_of_reach(read)
    }
    return conclude(
        "reads-answered",
        "No page failed",
        how=f"All pages, whole drill; {len(untouched)} accounts never asked for before the outage",
        found=f"{len(failed)} of {len(pages):,} failed",
        violations=[
            f"{_describe(read)}: {read.status or 'no answer'} {read.problem}".rstrip()
            for read in failed
        ],
        vacuous="" if untouched else "no untouched account was read in the outage",
    )


def archive_bounded(history: History) -> Finding:
    """What only the core holds is refused plainly and soon while the core is away; it never hangs."""
    asked = [read for read in history.reads if read.archive and not history.out_of_reach(read)]
    slowest = max(((read.received_at - read.sent_at).total_seconds() for read in asked), default=0)
    wrong = [
        f"{_describe(read)}: {read.status or 'no answer'} {read.problem} after {seconds:.2f} s"
        for read in asked
        if (seconds := (read.received_at - read.sent_at).total_seconds()) > ARCHIVE_SECONDS_MAX
        or (read.status != OK and not read.problem)
        or read.status in {0, 500}
    ]
    return conclude(
        "archive-bounded",
        "Older bills: an answer or a plain sentence",
        how=f"{len(asked)} statements that only the core holds",
        found=f"slowest answer {slowest * 1000:.0f} ms",
        violations=wrong,
    )


def as_of_stands_still(history: History) -> Finding:
    """While the core is dead the as-of time is never after its death and does not move."""
    moments = history.milestones
    reads = [read for read in _in_outage(history) if read.status == OK]
    wrong = [f"{_describe(read)}: no as-of time" for read in reads if read.as_of is None]
    wrong += [
        f"{_describe(read)}: as of {read.as_of:%H:%M:%S.%f}, but the core fell silent at "
        f"{moments.broken_at:%H:%M:%S.%f}"
        for read in reads
        if read.as_of is not None
        and moments.broken_at is not None
        and read.as_of > moments.broken_at
    ]
    settled = [read for read in _in_outage(history, after_seconds=LAST_FRAME_SECONDS) if read.as_of]
    for edge in history.edges:
        shown = sorted({read.as_of for read in settled if read.edge == edge and read.as_of})
        if len(shown) > 1:
            wrong.append(f"{edge}: as of {shown[0]:%H:%M:%S.%f} and of {shown[-1]:%H:%M:%S.%f}")
    return conclude(
        "as-of-still",
        "As-of time stood still",
        how="Every page in the outage, against the moment the core was killed or cut off",
        found=f"{len(reads):,} pages, {len(wrong)} wrong",
        violations=wrong,
        vacuous="" if settled else "no page was read in the outage",
    )


def age_true(history: History) -> Finding:
    """No page claims to be younger than it is, measured against its own label and against the core's death."""
    moments = history.milestones
    reads = [read for read in _pages(history) if read.status == OK]
    wrong: list[str] = []
    margin: float | None = None
    for read in reads:
        if read.age_seconds is None or read.as_of is None:
            wrong.append(f"{_describe(read)}: no age")
            continue
        since = [read.as_of]
        dead = history.fault.core_silent and history.phase(read.sent_at) == "outage"
        if dead and moments.healing_at and read.received_at <= moments.healing_at:
            since.append(moments.broken_at or read.as_of)
        least = max((read.sent_at - moment).total_seconds() for moment in since)
        margin = min(read.age_seconds - least, read.age_seconds if margin is None else margin)
        if read.age_seconds < least:
            wrong.append(
                f"{_describe(read)}: claims {read.age_seconds:.0f} s, is at least {least:.3f} s old"
            )
    return conclude(
        "age-true",
        "No page claims to be fresher than it is",
        how="Age shown against the time since as-of, and since the core died",
        found=f"{len(reads):,} pages, {len(wrong)} too young",
        violations=wrong,
        vacuous="" if reads else "no page was read",
    )


def age_grows(history: History) -> Finding:
    """While the core is dead the age shown grows as time does."""
    wrong: list[str] = []
    compared = 0
    reads = [
        read
        for read in _in_outage(history, after_seconds=LAST_FRAME_SECONDS)
        if read.status == OK and read.age_seconds is not None
    ]
    for edge, group in itertools.groupby(reads, key=lambda read: read.edge):
        oldest: tuple[datetime, float] | None = None
        first: Read | None = None
        last: Read | None = None
        for read in sorted(group, key=lambda read: read.received_at):
            age = read.age_seconds or 0.0
            if oldest is not None and oldest[0] <= read.sent_at:
                compared += 1
                if age < oldest[1]:
                    wrong.append(f"{_describe(read)}: {age:.0f} s, was {oldest[1]:.0f} s before")
            if oldest is None or age >= oldest[1]:
                oldest = (read.received_at, age)
            first, last = first or read, read
        if first is not None and last is not None:
            passed = (last.sent_at - first.received_at).total_seconds()
            grown = (last.age_seconds or 0.0) - (first.age_seconds or 0.0)
            # Ages are shown in whole seconds.
            if grown < passed - 1.0:
                wrong.append(f"{edge}: grew {grown:.0f} s in {passed:.1f} s")
    return conclude(
        "age-grows",
        "Age grew through the outage",
        how="Each page's age against the one shown before at the same edge",
        found=f"{compared:,} compared, {len(wrong)} shrank or stood",
        violations=wrong,
        vacuous="" if compared else "too few pages in the outage",
    )


def balance_belongs_to_label(history: History) -> Finding:
    """A balance shown as of T contains everything that the core posted before T."""
    wrong: list[str] = []
    checked = 0
    for read in history.reads:
        ledger = history.ledgers_after.get(read.account_id)
        if read.balance_cents is None or read.as_of is None or ledger is None:
            continue
        checked += 1
        possible = {sum(e.amount_cents for e in ledger.entries if e.posted_at < read.as_of)}
        running = possible.copy().pop()
        for entry in sorted(ledger.entries, key=lambda entry: entry.posted_at):
            if read.as_of <= entry.posted_at <= read.received_at:
                running += entry.amount_cents
                possible.add(running)
        if read.balance_cents not in possible:
            told = " or ".join(dollars(cents) for cents in sorted(possible))
            wrong.append(
                f"{_describe(read)}: {dollars(read.balance_cents)} as of "
                f"{read.as_of:%H:%M:%S.%f}; the books then said {told}"
            )
    return conclude(
        "balance-true",
        "Balances belong to their as-of time",
        how="Each balance shown against the books up to its as-of time",
        found=f"{checked:,} balances, {len(wrong)} wrong",
        violations=wrong,
        vacuous="" if checked else "no balance was read",
    )


def _seq(read: Read) -> tuple[int, int] | None:
    parts = read.position.split(".")
    if len(parts) != _POSITION_PARTS or not parts[0].isdigit() or not parts[2].isdigit():
        return None
    return int(parts[0]), int(parts[2])


def reads_monotonic(history: History) -> Finding:
    """Nobody's view goes back: not in position unless the page says so, and never without one's own payments."""
    wrong: list[str] = []
    sessions: dict[str, list[Read]] = defaultdict(list)
    for read in _pages(history):
        # A browser's page carries its position in a cookie that these customers do not keep.
        if read.status == OK and not read.what.startswith("page "):
            sessions[read.session].append(read)
    for reads in sessions.values():
        furthest: tuple[int, int] | None = None
        for read in sorted(reads, key=lambda read: read.sent_at):
            here = _seq(read)
            if here is None:
                wrong.append(f"{_describe(read)}: no position")
                continue
            # Only the account says in words that it is catching up; balances are shown nowhere else.
            furthest = max(here, furthest or here)
            if read.what == "account" and here < furthest and not read.catching_up:
                wrong.append(f"{_describe(read)}: at {here[1]}, was at {furthest[1]} before")
            wrong += _own_payment_missing(history, read)
    return conclude(
        "reads-monotonic",
        "Nobody’s view went back",
        how=f"{len(sessions)} customers moving between edges, each with their own payments",
        found=f"{len(wrong)} went back",
        violations=wrong,
        vacuous="" if sessions else "no page was read",
    )


def _own_payment_missing(history: History, read: Read) -> list[str]:
    before = history.ledgers_before.get(read.account_id)
    if before is None or read.balance_cents is None or read.pending_cents is None:
        return []
    if read.catching_up or not read.own_cents:
        return []
    left = read.balance_cents - read.pending_cents
    most = before.balance_cents - read.own_cents
    if most - read.own_maybe_cents <= left <= most:
        return []
    paid = f"{dollars(read.own_cents)} of {dollars(before.balance_cents)}"
    return [f"{_describe(read)}: {dollars(left)} left to pay, after {paid} were paid"]


def degraded_in_time(history: History) -> Finding:
    """Every edge says within seconds that the core is away, and goes on saying so."""
    moments = history.milestones
    wrong: list[str] = []
    found: list[str] = []
    for edge in history.fault.without_core:
        seconds = seconds_to_degrade(history, edge)
        found.append(f"{edge} {'never' if seconds is None else f'{seconds:.1f} s'}")
        if seconds is None or seconds > DEGRADED_SECONDS_MAX:
            wrong.append(found[-1])
    wrong += [
        f"{_describe(read)}: shown as {read.mode or 'no mode'}"
        for read in _in_outage(history, after_seconds=DEGRADED_SECONDS_MAX)
        if read.edge in history.fault.without_core and read.status == OK and read.mode != "degraded"
    ]
    return conclude(
        "degraded-in-time",
        f"The mode shows within {DEGRADED_SECONDS_MAX:.0f} s",
        how="Each such edge’s status and the mode on every page after the fault",
        found=", ".join(found),
        violations=wrong,
        vacuous="" if moments.broken_at and found else "nothing was broken",
    )


def seconds_to_degrade(history: History, edge: str) -> float | None:
    """Measure from the fault to the first time that an edge was seen degraded; None when it never was."""
    begun = history.milestones.broken_from
    if begun is None:
        return None
    seen = [
        s.at for s in history.samples if s.edge == edge and s.mode == "degraded" and s.at > begun
    ]
    seen += [
        read.received_at
        for read in history.reads
        if read.edge == edge and read.mode == "degraded" and read.received_at > begun
    ]
    return (min(seen) - begun).total_seconds() if seen else None


def normal_returns(history: History) -> Finding:
    """Every edge comes back to normal by itself, with nothing left waiting."""
    moments = history.milestones
    back = moments.normal_at
    wrong = [f"{edge} did not return to normal" for edge in history.edges if edge not in back]
    last = {sample.edge: sample for sample in history.samples if sample.mode}
    wrong += [
        f"{edge}: {last[edge].pending} payments still waiting"
        for edge in history.edges
        if edge in last and last[edge].pending
    ]
    ready = moments.healed_at
    found = [
        f"{edge} {(back[edge] - ready).total_seconds():.0f} s"
        for edge in history.edges
        if ready is not None and edge in back
    ]
    return conclude(
        "normal-returns",
        "Normal by itself",
        how="Each edge’s status after the core was back",
        found=", ".join(found) or "none",
        violations=wrong,
    )
