"""
What must hold of every world, checked from what customers were shown and promised, and the books at the end.

Each checker returns sentences about what is wrong; `CHECKERS` names them all. Mutants (`chaos.simulation.mutants`) show
that each can fail.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

import msgspec

from cache_sync.documents import ACCOUNT, AccountBody
from cache_sync.packed_bodies import unpack_body
from chaos.simulation.facts import Shown, Told
from chaos.simulation.utility import ACCOUNTS, LIMITS, OPENING_CENTS
from chaos.simulation.virtual_time import START
from chaos.simulation.world import World
from core_cis.books import read_books
from core_cis.reconcile import reconcile
from core_cis.reconciliation import Books
from failover.intents import CORE_FINAL

Checker = Callable[[World, Books], Iterator[str]]
Pair = tuple[str, str]

_PROMISED: Final = frozenset({"accepted", "posted"})
_RANK: Final = {"void": 0, "declined_limit": 0, "checking": 1, "accepted": 2} | dict.fromkeys(
    CORE_FINAL, 3
)
# What rounding may hide, and how far two clocks of a world may drift apart in a second.
_AGE_TOLERANCE: Final = 0.002
_DRIFT: Final = 2e-4
_SURELY_NOT: Final = frozenset({"NotTaken", "OverLimit", "InvalidPayment", "KeyReused"})
# The silence that is waited for, an answer that was on its way, and a lease that runs out.
_TOLD_WITHIN: Final = 6.0


def judge(world: World) -> list[str]:
    """Check everything; returns what is wrong, the checker's name first."""
    with world.core.reading() as connection:
        books = read_books(connection)
    return [
        f"{name}: {sentence}"
        for name, check in CHECKERS.items()
        for sentence in check(world, books)
    ]


def all_settles(world: World, _: Books) -> Iterator[str]:
    """When all faults have ended, queues empty, edges catch up and return to normal, in bounded time."""
    if not world.settled:
        yield from world.unsettled() or ["it took too long"]


def nothing_accepted_is_lost(world: World, books: Books) -> Iterator[str]:
    """Whoever was told "accepted" or "posted" finds it decided in the core, "posted" as posted."""
    decided = {
        (item.intent.intent_id, item.intent.fingerprint): item.outcome.state
        for item in books.decided
    }
    for told in world.facts.told:
        if told.state not in _PROMISED:
            continue
        state = decided.get((told.intent_id, told.fingerprint))
        if state is None:
            yield f"{told.intent_id} was {told.state} at {told.edge} and is not in the core"
        elif told.state == "posted" and state != "posted":
            yield f"{told.intent_id} was posted at {told.edge} and is {state} in the core"


def each_id_at_most_once(world: World, books: Books) -> Iterator[str]:
    """No id is posted twice, and of one id with two contents at most one."""
    del world
    posted: dict[str, int] = defaultdict(int)
    for entry in books.ledger:
        if entry.payment_id is not None and entry.kind == "payment":
            posted[entry.payment_id] += 1
    yield from (
        f"{id_} is in the ledger {count} times" for id_, count in posted.items() if count > 1
    )


def money_is_conserved(world: World, books: Books) -> Iterator[str]:
    """A balance is the opening one, and every adjustment, less every posted payment."""
    paid: dict[str, int] = defaultdict(int)
    for payment in books.payments:
        if payment.state == "posted":
            paid[payment.account_id] += payment.amount_cents
    adjusted: dict[str, int] = defaultdict(int)
    for one in world.facts.adjusted:
        adjusted[one.account_id] += one.amount_cents
    for account_id in ACCOUNTS:
        balance, _ = books.balances[account_id]
        expected = OPENING_CENTS + adjusted[account_id] - paid[account_id]
        # A restore forgets adjustments; payments come back.
        if not world.restored and balance != expected:
            yield f"{account_id}: {balance} in the ledger, {expected} by what was done"


def nothing_comes_from_nowhere(world: World, books: Books) -> Iterator[str]:
    """Whatever the core has posted, a customer had asked for: that id, that amount."""
    asked = {(one.account_id, one.intent_id, one.amount_cents) for one in world.facts.asked}
    for payment in books.payments:
        if (payment.account_id, payment.payment_id, payment.amount_cents) not in asked:
            yield f"{payment.payment_id}: {payment.amount_cents} of {payment.account_id} was never asked for"


def refusals_hold(world: World, books: Books) -> Iterator[str]:
    """What every answer said was not taken is not posted."""
    sent = Counter(one.intent_id for one in world.facts.asked)
    refused = Counter(
        one.intent_id for one in world.facts.refused if one.paid and one.why in _SURELY_NOT
    )
    for payment in books.payments:
        id_ = payment.payment_id
        if payment.state == "posted" and sent[id_] == refused[id_]:
            yield f"{id_} is posted, and every one of {sent[id_]} answers was that nothing was taken"


def outages_are_told(world: World, _: Books) -> Iterator[str]:
    """No page says "normal" once the core has been away for some seconds."""
    for shown in world.facts.shown:
        gone = [
            shown.at - period[0]
            for period in world.core.away
            if period[0] < shown.at and (len(period) == 1 or shown.at < period[1])
        ]
        if shown.mode == "normal" and gone and max(gone) > _TOLD_WITHIN:
            yield f"{shown.edge} at {shown.at:.3f}: normal, the core is away for {max(gone):.1f} s"


def states_move_forward(world: World, _: Books) -> Iterator[str]:
    """What a customer is told of a payment never goes back, whichever edge tells it; its amount never changes."""
    told: dict[Pair, list[Told]] = defaultdict(list)
    for one in world.facts.told:
        told[one.intent_id, one.fingerprint].append(one)
    for seen in told.values():
        final = {one.state for one in seen if one.state in CORE_FINAL}
        if len(final) > 1:
            yield f"{seen[0].intent_id} ended as {sorted(final)}"
        if len({one.amount_cents for one in seen}) > 1:
            yield f"{seen[0].intent_id} changed its amount"
        yield from _went_back(seen)


def _went_back(seen: list[Told]) -> Iterator[str]:
    for later in seen:
        for earlier in seen:
            same_edge = (earlier.edge, earlier.disks_lost) == (later.edge, later.disks_lost)
            # Another edge may not have heard yet; it never says that nothing was taken.
            if (
                earlier.at <= later.asked_at
                and same_edge
                and _RANK[later.state] < _RANK[earlier.state]
            ):
                yield f"{later.intent_id}: {earlier.state}, then {later.state} at {later.edge}"


def own_writes_are_seen(world: World, _: Books) -> Iterator[str]:
    """A payment that an edge has confirmed is on every page of that account that it shows from then on."""
    taken: dict[tuple[str, str, int], list[Told]] = defaultdict(list)
    for told in world.facts.told:
        if told.state in _PROMISED and told.paid:
            taken[told.account_id, told.edge, told.disks_lost].append(told)
    for shown in world.facts.shown:
        for told in taken[shown.account_id, shown.edge, shown.disks_lost]:
            if told.at <= shown.at and (told.intent_id, told.fingerprint) not in shown.payments:
                yield f"{told.intent_id}: {told.state} at {told.edge}, not shown there {shown.at:.3f}"


def balance_belongs_to_label(world: World, _: Books) -> Iterator[str]:
    """One position has one balance, at whichever edge it is shown."""
    known: dict[tuple[int, int, str], int] = {}
    for shown in world.facts.shown:
        place = (shown.position.epoch, shown.position.seq, shown.account_id)
        other = known.setdefault(place, shown.balance_cents)
        if other != shown.balance_cents:
            yield f"{shown.account_id} at {shown.position}: {other} and {shown.balance_cents}"


def label_contains_its_past(world: World, _: Books) -> Iterator[str]:
    """A balance as of T contains everything that the core wrote before T."""
    if world.restored:
        return
    with world.core.reading() as connection:
        rows = connection.execute(
            "SELECT e.account_id, t.posted_at, e.amount_cents FROM ledger_entries e"
            " JOIN ledger_transactions t USING (transaction_id) WHERE e.account_id IS NOT NULL"
            " ORDER BY t.transaction_id"
        ).fetchall()
    entries: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for account_id, posted_at, cents in rows:
        entries[account_id].append((posted_at, cents))
    for shown in world.facts.shown:
        known = entries[shown.account_id]
        as_of = shown.as_of.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = sum(1 for posted_at, _ in known if posted_at < as_of)
        sums = list(accumulate((cents for _, cents in known), initial=0))
        if shown.balance_cents not in sums[before:]:
            yield (
                f"{shown.account_id} at {shown.edge}, as of {as_of}: {shown.balance_cents},"
                f" by then it was {sums[before]}"
            )


def ages_are_true(world: World, _: Books) -> Iterator[str]:
    """No page claims to be younger than it is."""
    core = world.core.clock
    for shown in world.facts.shown:
        closed_at = (shown.as_of - START - core.skew).total_seconds() / (1 + core.drift)
        age = shown.at - closed_at
        told_as_known = not world.restored and not shown.at_least
        if told_as_known and shown.age_seconds < age * (1 - _DRIFT) - _AGE_TOLERANCE:
            yield f"{shown.edge} at {shown.at:.3f}: {shown.age_seconds:.3f} s shown, is {age:.3f} s"


def nobody_goes_back(world: World, _: Books) -> Iterator[str]:
    """A customer's view goes back only where the page says so, and at one edge never within an epoch."""
    seen: dict[tuple[str, int], tuple[int, int]] = {}
    here: dict[tuple[str, int], tuple[int, int]] = {}
    for shown in world.facts.shown:
        place = (shown.position.epoch, shown.position.seq)
        session, edge = (shown.account_id, shown.session), (shown.edge, shown.disks_lost)
        if place < seen.get(session, (0, 0)) and not shown.behind:
            yield f"{shown.account_id} was shown {place} after {seen[session]} at {shown.edge}"
        if place < here.get(edge, (0, 0)):
            yield f"{shown.edge} went back from {here[edge]} to {place}"
        if not shown.behind:
            seen[session] = max(place, seen.get(session, (0, 0)))
        here[edge] = max(place, here.get(edge, (0, 0)))


def copies_are_held(world: World, _: Books) -> Iterator[str]:
    """What a witness has confirmed it holds, or tells its outcome, unless it has lost its disk."""
    if world.lost_disk:
        return
    held = set[tuple[str, str, str, str]]().union(
        *(edge.held_copies() for edge in world.edges.values())
    )
    for edge in world.edges.values():
        for *_whose, witness, id_ in sorted(edge.confirmed_copies() - held):
            if id_ in world.edges[witness].pruned_ids():
                continue
            yield f"{witness} confirmed {id_} of {edge.name} and does not hold it"


def limits_hold(world: World, _: Books) -> Iterator[str]:
    """What an edge has outstanding never exceeds its share."""
    for at, edge, cents in world.exposures:
        if cents > LIMITS.edge_outstanding_cents:
            yield f"{edge} at {at:.3f}: {cents} outstanding"
            return


def edges_equal_the_core(world: World, books: Books) -> Iterator[str]:
    """In the end every edge shows every account as the core has it, each payment once, nothing pending."""
    if not world.settled:
        return
    last: dict[tuple[str, str], Shown] = {}
    for shown in world.facts.shown:
        last[shown.edge, shown.account_id] = shown
    for (edge, account_id), shown in last.items():
        balance, _ = books.balances[account_id]
        if shown.balance_cents != balance or shown.pending_cents:
            yield f"{account_id} at {edge}: {shown.balance_cents}, {shown.pending_cents} pending; {balance}"
        states = {
            (one.payment_id, one.fingerprint): one.state
            for one in books.payments
            if one.account_id == account_id
        }
        for pair, (state, _) in shown.payments.items():
            if state != states.get(pair) and (state in CORE_FINAL or pair in states):
                yield f"{pair[0]} at {edge}: {state}, {states.get(pair)} in the core"


def documents_equal_the_books(world: World, books: Books) -> Iterator[str]:
    """What the core has published of an account is what its ledger says."""
    with world.core.reading() as connection:
        rows = connection.execute(
            "SELECT account_id, body FROM documents WHERE kind = ?", (ACCOUNT,)
        ).fetchall()
    for account_id, body in rows:
        published = msgspec.json.decode(unpack_body(body), type=AccountBody).balance_cents
        if published != books.balances[account_id][0]:
            yield f"{account_id}: {published} published, {books.balances[account_id][0]} in the ledger"


def passwords_end_sessions(world: World, _: Books) -> Iterator[str]:
    """A token from before a change of password opens nothing once the change has arrived."""
    if not world.restored:
        yield from world.facts.stale_tokens


def operators_agree(world: World, books: Books) -> Iterator[str]:
    """The operators' own reconciliation of journals and books finds no difference."""
    if not world.settled:
        return
    journals = [edge.read_all() for edge in world.edges.values()]
    report = reconcile(journals, books, timezone="UTC")
    for difference in report.differences:
        yield f"{difference.kind} {difference.intent_id} {difference.detail}"


CHECKERS: Final[dict[str, Checker]] = {
    "nothing accepted is lost": nothing_accepted_is_lost,
    "each id at most once": each_id_at_most_once,
    "money is conserved": money_is_conserved,
    "nothing comes from nowhere": nothing_comes_from_nowhere,
    "refusals hold": refusals_hold,
    "outages are told": outages_are_told,
    "states move forward": states_move_forward,
    "own writes are seen": own_writes_are_seen,
    "one position, one balance": balance_belongs_to_label,
    "a label contains its past": label_contains_its_past,
    "ages are true": ages_are_true,
    "nobody goes back": nobody_goes_back,
    "copies are held": copies_are_held,
    "limits hold": limits_hold,
    "edges equal the core": edges_equal_the_core,
    "documents equal the books": documents_equal_the_books,
    "passwords end sessions": passwords_end_sessions,
    "operators agree": operators_agree,
    "all settles": all_settles,
}
