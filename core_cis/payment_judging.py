"""Judging payments by the account, and by what became of their money."""

from datetime import timedelta

import msgspec
import structlog

from core_cis.charge_records import owe_refund
from core_cis.decisions import Decision, decision_of, under_review
from core_cis.domain.payments import GIVEN_BACK, reason_to_reject, value_date
from core_cis.money_of_intents import money_of
from core_cis.payment_posting import read_account_facts, wish_of
from core_cis.settings import ServerSettings
from core_cis.store import Transaction
from failover.intents import Intent

_log = structlog.get_logger(__name__)


def decide_payment(tx: Transaction, intent: Intent, settings: ServerSettings) -> Decision:
    """Judge a payment that has no outcome yet by the account as it stands in this transaction."""
    facts = read_account_facts(tx.connection, intent.account_id, tx.utility.currency)
    money = money_of(tx, intent)
    charged = money.state == "captured"
    method = facts.method(intent.method_id) if facts else None
    label = method.label if method else ""
    reason = reason_to_reject(wish_of(intent, charged=charged), facts, tx.stamp) or money.reason
    if reason is not None:
        if charged:
            owe_refund(tx, intent, money.charge_id, reason)
            reason = GIVEN_BACK.get(reason, reason)
        return decision_of(intent, state="rejected", reason=reason, method_label=label)
    if money.state == "review":
        return decision_of(intent, **under_review(intent), method_label=label)
    counts_on = value_date(
        intent.accepted_at,
        now=tx.stamp,
        timezone=tx.utility.timezone,
        past_max=timedelta(seconds=settings.past_seconds_max),
        future_max=timedelta(seconds=settings.future_seconds_max),
    )
    if counts_on.clamped:
        _log.warning(
            "a time of acceptance cannot be believed", alarm="value_date", edge=intent.edge_id
        )
    return msgspec.structs.replace(
        decision_of(intent, state="posted", method_label=label),
        value_date=counts_on.day,
        value_date_clamped=counts_on.clamped,
    )
