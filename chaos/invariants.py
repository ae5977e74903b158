"""
What must hold through a core blackout, judged from an independent history and the core's final books alone.

Pure: the same history always gives the same verdicts, so a report can be judged again.
"""

from collections.abc import Callable

from chaos import label_invariants as labels
from chaos import money_invariants as money
from chaos.findings import Finding
from chaos.history import History

CORE_BLACKOUT: tuple[Callable[[History], Finding], ...] = (
    money.nothing_lost,
    money.posted_once,
    money.money_conserved,
    money.balances_agree,
    money.reconciled,
    money.dates_kept,
    money.states_follow_arrows,
    labels.taken_in_outage,
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


def judge(history: History) -> list[Finding]:
    """Judge every invariant of a core blackout."""
    return [invariant(history) for invariant in CORE_BLACKOUT]
