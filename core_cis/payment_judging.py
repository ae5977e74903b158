"""Judging payments by the account, and by what became of their money."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec
import structlog

from cache_sync.sql import places
from core_cis.charge_records import find_charges, owe_refund
from core_cis.decisions import Decision, decision_of, under_review
from core_cis.domain.accounts import AccountFacts
from core_cis.domain.payments import GIVEN_BACK, reason_to_reject, value_date
from core_cis.money_of_intents import Money, money_known, money_of
from core_cis.payment_posting import read_account_facts, read_facts, wish_of
from core_cis.settings import ServerSettings
from core_cis.store import Transaction
from failover.intents import Capture, Intent

_log = structlog.get_logger(__name__)

# Of what the core knows anything yet: an outcome, or attempts that failed.
_KNOWN = """
    SELECT intent_id FROM inbox WHERE intent_id IN ({0})
    UNION SELECT intent_id FROM intake_failures WHERE intent_id IN ({0})
"""


class Standing(NamedTuple):
    """What a payment is judged by: its account as it stands in this transaction, None for none, and its money."""

    facts: AccountFacts | None
    money: Money


def plain_payments(tx: Transaction, intents: Sequence[Intent]) -> list[Intent]:
    """Pick the payments of which nothing is known yet, which have their id alone and bring no word of a charge."""
    ids = [intent.intent_id for intent in intents]
    known = {id_ for (id_,) in tx.connection.execute(_KNOWN.format(places(ids)), ids * 2)}
    times = Counter(ids)
    return [
        intent
        for intent in intents
        if intent.is_payment
        and times[intent.intent_id] == 1
        and intent.intent_id not in known
        and not isinstance(intent.capture, Capture)
    ]


def read_standings(tx: Transaction, intents: Sequence[Intent]) -> list[Standing]:
    """
    Read what payments that bring no word of a charge are judged by, in few statements.

    Raises:
        MoneyUnknown: One may have been charged, and the processor has not said so or not.
    """
    accounts = [*dict.fromkeys(intent.account_id for intent in intents)]
    facts = read_facts(tx.connection, accounts, tx.utility.currency)
    charges = find_charges(tx.connection, [intent.intent_id for intent in intents])
    return [
        Standing(
            facts.get(intent.account_id),
            money_known(charges.get((intent.intent_id, intent.fingerprint))),
        )
        for intent in intents
    ]


def decide_payment(
    tx: Transaction, intent: Intent, settings: ServerSettings, standing: Standing | None = None
) -> Decision:
    """Judge a payment that has no outcome yet by its ``standing``, which is read where it is not given."""
    if standing is None:
        known = read_account_facts(tx.connection, intent.account_id, tx.utility.currency)
        standing = Standing(known, money_of(tx, intent))
    facts, money = standing
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
