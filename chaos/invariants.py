"""
What must hold through a drill, judged from an independent history and the core's final books alone.

Pure: the same history always gives the same verdicts, so a report can be judged again.
"""

from collections.abc import Callable, Iterable

from chaos import label_invariants as labels
from chaos import money_invariants as money
from chaos import service_invariants as service
from chaos.findings import Finding
from chaos.history import History

Invariant = Callable[[History], Finding]

MONEY: tuple[Invariant, ...] = (
    money.nothing_lost,
    money.posted_once,
    money.money_conserved,
    money.balances_agree,
    money.reconciled,
    money.dates_kept,
    money.states_follow_arrows,
)
# Whatever is broken: what customers read is true and comes.
READING: tuple[Invariant, ...] = (
    labels.reads_answered,
    labels.archive_bounded,
    labels.age_true,
    labels.balance_belongs_to_label,
    labels.reads_monotonic,
)
# The core is silent for every edge, all the while.
CORE_BLACKOUT: tuple[Invariant, ...] = (
    *MONEY,
    service.taken_in_outage,
    labels.reads_answered,
    labels.archive_bounded,
    labels.as_of_stands_still,
    labels.age_true,
    labels.age_grows,
    labels.balance_belongs_to_label,
    labels.reads_monotonic,
    labels.degraded_in_time,
    labels.normal_returns,
)


def judge(history: History, invariants: Iterable[Invariant] = CORE_BLACKOUT) -> list[Finding]:
    """Judge every one of a drill's invariants, in their order."""
    return [invariant(history) for invariant in invariants]
