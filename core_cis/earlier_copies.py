"""Copies of posted payments that were accepted before the one that was posted, and what follows for fees."""

from datetime import timedelta

import structlog

from core_cis.collection_reversing import LatePayment, take_back_steps
from core_cis.domain.payments import value_date
from core_cis.fee_dates import append_fee_date
from core_cis.publishing import publish_accounts
from core_cis.settings import ServerSettings
from core_cis.store import Transaction
from failover.intents import Intent, Outcome

_log = structlog.get_logger(__name__)


def hear_earlier(
    tx: Transaction,
    intent: Intent,
    outcome: Outcome,
    settings: ServerSettings,
    *,
    delivered_by: str,
) -> None:
    """
    Append the day of a copy that was accepted before the one that was posted; a day that is implausible is not.

    Late fees and other steps that the payment would have prevented are taken back. Copies that come again, or with a
    later day, change nothing.
    """
    if outcome.state != "posted" or outcome.value_date is None:
        return
    said = value_date(
        intent.accepted_at,
        now=tx.stamp,
        timezone=tx.utility.timezone,
        past_max=timedelta(seconds=settings.past_seconds_max),
        future_max=timedelta(seconds=settings.future_seconds_max),
    )
    if said.day >= outcome.value_date:
        return
    if said.clamped:
        _log.warning(
            "a copy's time of acceptance cannot be believed",
            alarm="value_date",
            edge=intent.edge_id,
        )
        return
    if append_fee_date(tx, intent, said.day, delivered_by=delivered_by):
        paid = LatePayment(payment_id=intent.intent_id, account_id=intent.account_id, on=said.day)
        publish_accounts(tx, take_back_steps(tx, [paid]))
