"""Which payments the core takes, why it does not take the others, and the day on which one counts."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from core_cis.domain.accounts import AccountFacts

RejectReason = Literal[
    "unknown_account",
    "account_closed",
    "method_unknown",
    "method_unverified",
    "method_expired",
    "currency_mismatch",
    "amount_out_of_range",
    "past_not_after",
    "id_conflict",
    "declined",
    "declined_insufficient_funds",
    "declined_expired",
    "declined_needs_confirmation",
    "declined_method_unusable",
    "not_captured",
    "refund_unknown_account",
    "refund_account_closed",
    "refund_currency_mismatch",
]

GIVEN_BACK: Mapping[RejectReason, RejectReason] = {
    "unknown_account": "refund_unknown_account",
    "account_closed": "refund_account_closed",
    "currency_mismatch": "refund_currency_mismatch",
}
"""How a reason is told of money that was taken already and goes back."""

AMOUNT_CENTS_MIN = 1
AMOUNT_CENTS_MAX = 10_000_000


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """
    A payment that somebody wants: what the core judges of an intent.

    With ``charged`` the money was taken already: it is posted wherever an account can have it, and else given back.
    """

    account_id: str
    amount_cents: int
    currency: str
    method_id: str
    accepted_at: datetime
    not_after: datetime | None = None
    charged: bool = False


class ValueDate(msgspec.Struct, frozen=True):
    """The day on which a payment counts as paid; ``clamped`` when its acceptance was implausible."""

    day: date
    clamped: bool


def reason_to_reject(
    wish: Wish, account: AccountFacts | None, now: datetime
) -> RejectReason | None:
    """
    Judge a payment; None when it is to be posted.

    Args:
        wish: The payment.
        account: Its account, None when there is no such account.
        now: Core time of the commit that would post it: ``not_after`` is compared with it.
    """
    if account is None:
        return "unknown_account"
    if account.status != "active":
        return "account_closed"
    if wish.charged:
        return None if wish.currency == account.currency else "currency_mismatch"
    return _reason_of_terms(wish, account, now) or _reason_of_method(wish, account)


def _reason_of_terms(wish: Wish, account: AccountFacts, now: datetime) -> RejectReason | None:
    if wish.not_after is not None and now > wish.not_after:
        return "past_not_after"
    if not AMOUNT_CENTS_MIN <= wish.amount_cents <= AMOUNT_CENTS_MAX:
        return "amount_out_of_range"
    if wish.currency != account.currency:
        return "currency_mismatch"
    return None


def _reason_of_method(wish: Wish, account: AccountFacts) -> RejectReason | None:
    method = account.method(wish.method_id)
    if method is None:
        return "method_unknown"
    if method.status == "expired":
        return "method_expired"
    if method.status == "unverified":
        return "method_unverified"
    return None


def value_date(
    accepted_at: datetime,
    *,
    now: datetime,
    timezone: str,
    past_max: timedelta,
    future_max: timedelta,
) -> ValueDate:
    """
    Tell the day on which a payment counts: its acceptance, in the utility's time zone, however late it is posted.

    An acceptance outside ``[now - past_max, now + future_max]`` cannot be believed: the nearest bound, and never a
    day after today, is taken instead.
    """
    believed = min(max(accepted_at, now - past_max), now + future_max)
    zone = ZoneInfo(timezone)
    day = min(believed.astimezone(zone).date(), now.astimezone(zone).date())
    return ValueDate(day, clamped=believed != accepted_at)
