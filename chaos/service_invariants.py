"""What must hold of the service while something is broken: payments are taken, and nobody suffers who need not."""

from collections import defaultdict
from datetime import datetime, timedelta

from chaos.findings import Finding, conclude
from chaos.history import Attempt, History
from chaos.money_invariants import TAKEN, entries_by_intent, first_taken

CROWD_MIN = 20
_LET_IN = frozenset({200, 201})
_REFUSED = frozenset({401, 403})
_WAIT = frozenset({429, 503})


def _in_outage(history: History, attempt: Attempt) -> bool:
    moments = history.milestones
    return (
        moments.broken_at is not None
        and attempt.sent_at >= moments.broken_at
        and history.phase(attempt.received_at) == "outage"
    )


def taken_in_outage(history: History) -> Finding:
    """Payments were taken at every edge that customers can reach; by the edges alone while the core is silent."""
    silent = history.fault.core_silent
    states = frozenset({"accepted"}) if silent else TAKEN
    counts = {edge: 0 for edge in history.edges if edge not in history.fault.away}
    for attempt in history.attempts:
        inside = history.phase(attempt.received_at) == "outage"
        if inside and attempt.edge in counts and attempt.state in states:
            counts[attempt.edge] += 1
    return conclude(
        "taken-in-outage",
        "Payments accepted while the core was dead" if silent else "Payments taken all the while",
        how="Answers “accepted” between the fault and its healing"
        if silent
        else "Answers “accepted” or “posted” between the fault and its healing",
        found=", ".join(f"{count} at {edge}" for edge, count in counts.items()),
        violations=[f"{edge} accepted none" for edge, count in counts.items() if not count],
    )


def taken_elsewhere(history: History) -> Finding:
    """Payments were taken at every edge that the fault does not concern."""
    counts = dict.fromkeys(_others(history), 0)
    for attempt in history.attempts:
        if _in_outage(history, attempt) and attempt.edge in counts and attempt.state in TAKEN:
            counts[attempt.edge] += 1
    return conclude(
        "taken-elsewhere",
        "Payments taken at the other edges",
        how="Answers “accepted” or “posted” between the fault and its healing",
        found=", ".join(f"{count} at {edge}" for edge, count in counts.items()) or "no other edge",
        violations=[f"{edge} accepted none" for edge, count in counts.items() if not count],
        vacuous="" if counts else "the fault left no edge alone",
    )


def _others(history: History) -> list[str]:
    concerned = {*history.fault.without_core, *history.fault.away}
    return [edge for edge in history.edges if edge not in concerned]


def others_undisturbed(history: History) -> Finding:
    """An edge that the fault does not concern stays normal from the beginning to the end."""
    others = _others(history)
    moments = history.milestones
    seen = [
        sample
        for sample in history.samples
        if sample.edge in others and sample.mode and sample.at >= moments.begun_at
    ]
    wrong = [
        f"{sample.at:%H:%M:%S.%f} {sample.edge}: {sample.mode} ({sample.reason})"
        for sample in seen
        if sample.mode != "normal"
    ]
    return conclude(
        "others-undisturbed",
        "The others stay normal",
        how=f"Each status of {', '.join(others) or 'no edge'}",
        found=f"{len(seen):,} looks, {len(wrong)} not normal",
        violations=wrong,
        vacuous="" if seen else "the fault left no edge alone",
    )


def nothing_promised_alone(history: History) -> Finding:
    """An edge that reaches neither core nor sibling tells nobody "accepted": no second disk has the payment."""
    asked = [attempt for attempt in history.attempts if _in_outage(history, attempt)]
    wrong = [
        f"{attempt.sent_at:%H:%M:%S.%f} {attempt.edge}: {attempt.intent_id} {attempt.state}"
        for attempt in asked
        if attempt.state in TAKEN
    ]
    return conclude(
        "nothing-promised-alone",
        "Nothing is promised from one disk",
        how="Every answer to a payment while each edge was alone",
        found=f"{len(asked)} tried, {len(wrong)} promised",
        violations=wrong,
        vacuous="" if asked else "nobody tried to pay",
    )


def posted_unheard(history: History) -> Finding:
    """The core posted payments whose answers were lost, so that posting once was put to the test."""
    moments = history.milestones
    entries = entries_by_intent(history)
    accepted = [
        intent_id for intent_id, seen in first_taken(history).items() if seen.state == "accepted"
    ]
    lost = [
        intent_id
        for intent_id in accepted
        for _, entry in entries.get(intent_id, [])
        if moments.broken_at and moments.healing_at
        if moments.broken_at <= entry.posted_at < moments.healing_at
    ]
    return conclude(
        "posted-unheard",
        "Answers of the core were lost",
        how="Payments told as accepted that the core had posted before the lines were mended",
        found=f"{len(lost)} of {len(accepted)} accepted ones",
        violations=[],
        vacuous="" if lost else "no answer of the core was lost",
    )


def modes_do_not_flicker(history: History) -> Finding:
    """However often the core comes and goes, an edge returns to normal no oftener than its setting says."""
    moments = history.milestones
    returns: dict[str, int] = defaultdict(int)
    for edge in history.fault.without_core:
        before = ""
        for sample in history.samples:
            if sample.edge != edge or not sample.mode or not _inside(history, sample.at):
                continue
            if sample.mode == "normal" and before not in {"", "normal"}:
                returns[edge] += 1
            before = sample.mode
    allowed = history.fault.returns_max
    wrong = [
        f"{edge}: normal again {count} times, at most {allowed} allowed"
        for edge, count in returns.items()
        if count > allowed
    ]
    return conclude(
        "modes-steady",
        "The mode does not flicker",
        how=f"Returns to normal while the fault lasted, at most {allowed} for each edge",
        found=", ".join(f"{edge} {returns[edge]}" for edge in history.fault.without_core) or "none",
        violations=wrong,
        vacuous="" if moments.broken_at and history.fault.without_core else "nothing was broken",
    )


def _inside(history: History, at: datetime) -> bool:
    moments = history.milestones
    if moments.broken_at is None:
        return False
    end = moments.healing_at or at + timedelta(seconds=1)
    return moments.broken_at <= at < end


def sign_ins_answered(history: History) -> Finding:
    """Everybody in a crowd is answered: let in, refused for a wrong password, or asked to wait; nobody hangs."""
    right = {False: _LET_IN, True: _REFUSED}
    wrong = [
        f"{one.sent_at:%H:%M:%S.%f} {one.edge}: {one.status or 'no answer'} to a "
        f"{'wrong' if one.wrong else 'right'} password"
        for one in history.sign_ins
        if one.status not in right[one.wrong] | _WAIT
    ]
    asked_to_wait = sum(one.status in _WAIT for one in history.sign_ins)
    return conclude(
        "sign-ins-answered",
        "Everybody who signs in is answered",
        how=f"{len(history.sign_ins):,} sign-ins of a crowd, {asked_to_wait:,} of them asked to wait",
        found=f"{len(wrong)} hung, failed or were let in wrongly",
        violations=wrong,
        vacuous="" if len(history.sign_ins) >= CROWD_MIN else "too few signed in to be a crowd",
    )


def one_account_parked(history: History) -> Finding:
    """What the core cannot process is put under review, of one account only; all others are posted."""
    parked = [one for one in history.core_intents.values() if one.state == "dead_letter"]
    accounts = {one.account_id for one in parked}
    posted = sum(one.state == "posted" for one in history.core_intents.values())
    return conclude(
        "one-account-parked",
        "Only what cannot be processed is parked",
        how=f"Payments under review, beside {posted} posted ones",
        found=f"{len(parked)} under review, of {len(accounts)} accounts",
        violations=[f"{one.intent_id} of {one.account_id}" for one in parked]
        if len(accounts) > 1
        else [],
        vacuous="" if parked and posted else "nothing was put under review, or nothing else posted",
    )


def accepted_before_loss(history: History) -> Finding:
    """The edge whose disk was destroyed had accepted payments before, so that losing none was put to the test."""
    counts = dict.fromkeys(history.fault.away, 0)
    for attempt in history.attempts:
        inside = history.phase(attempt.received_at) == "outage"
        if inside and attempt.edge in counts and attempt.state == "accepted":
            counts[attempt.edge] += 1
    return conclude(
        "accepted-before-loss",
        "The lost disk held promises",
        how="Answers “accepted” of that edge without the core, before it was destroyed",
        found=", ".join(f"{count} at {edge}" for edge, count in counts.items()) or "no such edge",
        violations=[f"{edge} had accepted none" for edge, count in counts.items() if not count],
        vacuous="" if counts else "no edge was destroyed",
    )


def damage_noticed(history: History) -> Finding:
    """The edge that began anew said why it did not take the snapshot file, so that refusing it was put to the test."""
    refused = {
        (sample.edge, sample.file_refused)
        for sample in history.samples
        if sample.edge in history.fault.away and sample.file_refused
    }
    return conclude(
        "damage-noticed",
        "The damaged file was refused",
        how="What the edge’s status said of the file",
        found="; ".join(f"{edge}: {why}" for edge, why in sorted(refused)) or "nothing",
        violations=[],
        vacuous="" if refused else "no file was refused",
    )
