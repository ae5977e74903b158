"""What must hold of money: nothing lost, nothing doubled, nothing out of nowhere, the right day, all books equal."""

from collections import Counter, defaultdict
from datetime import datetime
from zoneinfo import ZoneInfo

from chaos.findings import Finding, conclude
from chaos.history import History, LedgerEntry, Sighting

FINAL = frozenset({"posted", "rejected", "dead_letter", "cancelled"})
TAKEN = frozenset({"accepted", "posted"})

_AFTER: dict[str, frozenset[str]] = {
    "checking": FINAL | {"accepted"},
    "accepted": FINAL,
    # An attempt ended at one edge only; the same key may be taken when it is sent again.
    "void": FINAL | {"accepted", "checking", "declined_limit"},
    "declined_limit": FINAL | {"accepted", "checking", "void"},
}


def dollars(cents: int) -> str:
    """Write minor units as a person reads them."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def by_intent(sightings: list[Sighting]) -> dict[str, list[Sighting]]:
    """Group what customers were told by payment."""
    grouped: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        grouped[sighting.intent_id].append(sighting)
    return grouped


def first_taken(history: History) -> dict[str, Sighting]:
    """Find, for each payment that a customer was told is accepted or posted, the first time that it was said."""
    taken: dict[str, Sighting] = {}
    for sighting in sorted(history.sightings, key=lambda seen: seen.received_at):
        if sighting.state in TAKEN:
            taken.setdefault(sighting.intent_id, sighting)
    return taken


def entries_by_intent(history: History) -> dict[str, list[tuple[str, LedgerEntry]]]:
    """List the core's entries of each payment, with the account they stand in."""
    found: dict[str, list[tuple[str, LedgerEntry]]] = defaultdict(list)
    for account_id, ledger in history.ledgers_after.items():
        for entry in ledger.entries:
            if entry.intent_id:
                found[entry.intent_id].append((account_id, entry))
    return found


def nothing_lost(history: History) -> Finding:
    """Every payment that a customer was told is safe has ended in the core, and every edge says so."""
    taken = first_taken(history)
    final = by_intent(history.final_sightings)
    wrong: list[str] = []
    for intent_id, seen in taken.items():
        core = history.core_intents.get(intent_id)
        state = core.state if core else ""
        if state not in FINAL:
            wrong.append(
                f"{intent_id}: {seen.state} at {seen.edge}, in the core {state or 'unknown'}"
            )
        elif core is not None and core.amount_cents != seen.amount_cents:
            wrong.append(
                f"{intent_id}: told {dollars(seen.amount_cents)}, "
                f"core has {dollars(core.amount_cents)}"
            )
        told = {last.edge: last.state for last in final.get(intent_id, [])}
        wrong += [
            f"{intent_id}: {edge} says {told.get(edge) or 'nothing'}, core {state}"
            for edge in history.edges
            if state in FINAL and told.get(edge) != state
        ]
    wrong += [
        f"{seen.intent_id}: {seen.edge} answered {seen.status} to a payment it was told of before"
        for seen in history.sightings
        # No answer at all says nothing of a payment.
        if seen.status
        and not seen.state
        and seen.intent_id in taken
        and taken[seen.intent_id].received_at <= seen.sent_at
    ]
    wrong += _left_open(history, set(taken))
    posted = sum(core.state == "posted" for core in history.core_intents.values())
    return conclude(
        "nothing-lost",
        "No payment lost",
        how=f"{len(taken)} accepted by customers' receipts, {posted} posted by the core",
        found=f"{len(wrong)} answers that a lost payment gives" if wrong else "0 lost",
        violations=wrong,
        vacuous="" if taken else "no payment was taken",
    )


def _left_open(history: History, taken: set[str]) -> list[str]:
    """List payments that a customer was told to wait for and that never came to an end."""
    last: dict[str, Sighting] = {}
    for seen in sorted(history.sightings, key=lambda seen: seen.received_at):
        if seen.state:
            last[seen.intent_id] = seen
    return [
        f"{intent_id}: still {seen.state} at {seen.edge} at the end"
        for intent_id, seen in last.items()
        if seen.state == "checking"
        and intent_id not in taken
        and (
            intent_id not in history.core_intents
            or history.core_intents[intent_id].state not in FINAL
        )
    ]


def posted_once(history: History) -> Finding:
    """Every posted payment has exactly one entry, in its own account, of its own amount."""
    entries = entries_by_intent(history)
    wrong: list[str] = []
    for intent_id, core in history.core_intents.items():
        found = entries.get(intent_id, [])
        wanted = 1 if core.state == "posted" else 0
        if len(found) != wanted:
            ids = ", ".join(entry.transaction_id for _, entry in found)
            wrong.append(f"{intent_id}: {core.state}, posted {len(found)} times ({ids})")
        wrong += [
            f"{intent_id}: {dollars(-entry.amount_cents)} in {account_id}, "
            f"should be {dollars(core.amount_cents)} in {core.account_id}"
            for account_id, entry in found
            if account_id != core.account_id or entry.amount_cents != -core.amount_cents
        ]
    wrong += [
        f"{intent_id}: posted {len(found)} times"
        for intent_id, found in entries.items()
        if len(found) > 1 and intent_id not in history.core_intents
    ]
    posted = sum(core.state == "posted" for core in history.core_intents.values())
    return conclude(
        "posted-once",
        "No payment posted twice",
        how=f"Entries of {posted} posted payments counted in {len(history.ledgers_after)} ledgers",
        found=f"{len(wrong)} doubled or misposted",
        violations=wrong,
        vacuous="" if posted else "no payment was posted",
    )


def money_conserved(history: History) -> Finding:
    """Each balance is the one before less the payments posted since, and nothing else has moved."""
    wrong: list[str] = []
    moved = 0
    unused = _unposted_before(history)
    for account_id, after in history.ledgers_after.items():
        before = history.ledgers_before.get(account_id)
        if before is None:
            wrong.append(f"{account_id}: its ledger was not there before")
            continue
        known = Counter((entry.transaction_id, entry.amount_cents) for entry in before.entries)
        new: list[LedgerEntry] = []
        for entry in after.entries:
            mark = (entry.transaction_id, entry.amount_cents)
            if known[mark] > 0:
                known[mark] -= 1
            else:
                new.append(entry)
        gone = [transaction for (transaction, _), count in known.items() if count > 0]
        wrong += [f"{account_id}: entry {transaction} is gone" for transaction in gone]
        wrong += [
            f"{account_id}: {entry.transaction_id} moved {dollars(entry.amount_cents)} "
            f"that no payment explains"
            for entry in new
            if not _explains(unused, account_id, entry)
        ]
        total = sum(entry.amount_cents for entry in after.entries)
        if total != after.balance_cents:
            wrong.append(
                f"{account_id}: balance {dollars(after.balance_cents)}, entries {dollars(total)}"
            )
        paid = sum(entry.amount_cents for entry in new)
        moved -= paid
        if before.balance_cents + paid != after.balance_cents:
            wrong.append(
                f"{account_id}: {dollars(before.balance_cents)} and {dollars(paid)} since "
                f"are not {dollars(after.balance_cents)}"
            )
    missing = [
        account for account in history.ledgers_before if account not in history.ledgers_after
    ]
    wrong += [f"{account_id}: its ledger is gone" for account_id in missing]
    return conclude(
        "money-conserved",
        "Money conserved",
        how=f"Balance before, less {dollars(moved)} paid, against balance after",
        found=f"{len(wrong)} of {len(history.ledgers_after)} ledgers do not add up",
        violations=wrong,
        vacuous="" if history.ledgers_after else "no ledger was read",
    )


def _unposted_before(history: History) -> Counter[tuple[str, str, int]]:
    """Count the entries that posted payments explain and that were in no ledger before: one each."""
    old = {entry.intent_id for book in history.ledgers_before.values() for entry in book.entries}
    return Counter(
        (intent_id, core.account_id, -core.amount_cents)
        for intent_id, core in history.core_intents.items()
        if core.state == "posted" and intent_id not in old
    )


def _explains(unused: Counter[tuple[str, str, int]], account_id: str, entry: LedgerEntry) -> bool:
    """Tell whether a payment explains an entry, and use it up: a second entry needs another payment."""
    mark = (entry.intent_id or "", account_id, entry.amount_cents)
    unused[mark] -= 1
    return unused[mark] >= 0


def states_follow_arrows(history: History) -> Finding:
    """What a customer is told of a payment only ever moves forward."""
    wrong: list[str] = []
    changes = 0
    for intent_id, seen in by_intent(history.sightings + history.final_sightings).items():
        told = sorted((one for one in seen if one.state), key=lambda one: one.received_at)
        for number, later in enumerate(told):
            for earlier in told[:number]:
                if earlier.received_at > later.sent_at or earlier.state == later.state:
                    continue
                changes += 1
                if later.state not in _AFTER.get(earlier.state, frozenset()):
                    wrong.append(
                        f"{intent_id}: {earlier.state} at {earlier.edge}, "
                        f"then {later.state} at {later.edge}"
                    )
                if earlier.amount_cents != later.amount_cents:
                    wrong.append(f"{intent_id}: its amount changed")
    return conclude(
        "states-forward",
        "Receipts only move forward",
        how=f"{len(history.sightings)} receipts in the order they were shown",
        found=f"{len(wrong)} went back",
        violations=sorted(set(wrong)),
        vacuous="" if history.sightings else "no receipt was seen",
    )


def dates_kept(history: History) -> Finding:
    """A payment counts on the day it was accepted, in the utility's time zone, whenever it was posted."""
    zone = ZoneInfo(history.timezone)
    first_sent: dict[str, datetime] = {}
    for attempt in history.attempts:
        known = first_sent.get(attempt.intent_id, attempt.sent_at)
        first_sent[attempt.intent_id] = min(known, attempt.sent_at)
    entries = entries_by_intent(history)
    wrong: list[str] = []
    checked = 0
    for intent_id, seen in first_taken(history).items():
        begun = first_sent.get(intent_id, seen.sent_at)
        days = {moment.astimezone(zone).date() for moment in (begun, seen.received_at)}
        for _, entry in entries.get(intent_id, []):
            checked += 1
            if entry.value_date not in days:
                wrong.append(f"{intent_id}: dated {entry.value_date}, accepted {max(days)}")
    told = {
        (seen.intent_id, seen.value_date)
        for seen in history.sightings + history.final_sightings
        if seen.value_date is not None
    }
    wrong += [
        f"{intent_id}: {value_date} on the receipt, {entry.value_date} in the books"
        for intent_id, value_date in sorted(told)
        for _, entry in entries.get(intent_id, [])
        if entry.value_date != value_date
    ]
    return conclude(
        "dates-kept",
        "Dates kept",
        how="Value date in the books against the day of acceptance",
        found=f"{checked - min(checked, len(wrong))} of {checked} kept",
        violations=wrong,
        vacuous="" if checked else "no payment was posted",
    )


def balances_agree(history: History) -> Finding:
    """At the end every edge shows for every account what the core's books say, with nothing pending."""
    wrong: list[str] = []
    for shown in history.final_accounts:
        ledger = history.ledgers_after.get(shown.account_id)
        if shown.balance_cents is None:
            wrong.append(f"{shown.account_id}: {shown.edge} answered {shown.status}")
        elif ledger is None or shown.balance_cents != ledger.balance_cents:
            books = "no ledger" if ledger is None else dollars(ledger.balance_cents)
            wrong.append(
                f"{shown.account_id}: {dollars(shown.balance_cents)} at {shown.edge}, {books} in core"
            )
        elif shown.pending_cents:
            wrong.append(
                f"{shown.account_id}: {dollars(shown.pending_cents)} still pending at {shown.edge}"
            )
    accounts = len({shown.account_id for shown in history.final_accounts})
    return conclude(
        "balances-agree",
        "Balances agree",
        how=f"{len(history.edges)} edges and the core compared, {accounts} accounts",
        found=f"{len(wrong)} differ",
        violations=wrong,
        vacuous="" if accounts else "no balance was compared",
    )


def reconciled(history: History) -> Finding:
    """The operator's own reconciliation finds no difference."""
    result = history.reconciliation
    differences = [] if result is None else list(result.differences)
    if result is not None and result.exit_code and not differences:
        differences = [f"reconciliation ended with {result.exit_code}"]
    return conclude(
        "reconciled",
        "Operator’s reconciliation is clean",
        how="core reconcile: accepted payments beside ledger entries, for each edge",
        found=f"{len(differences)} differences",
        violations=differences,
        vacuous="" if result is not None else "it was not run",
    )
