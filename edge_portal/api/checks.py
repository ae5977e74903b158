"""``POST /payments/check``: whether a payment that is about to be made is paid already. Takes nothing."""

from typing import Any

import msgspec
from litestar import Response, post

from edge_portal.api.access import BODY_BYTES_MAX, answer_view, decode_form, open_view
from edge_portal.api.bodies import (
    MayMissAnswer,
    PaymentAnswer,
    may_miss_answer,
    payment_answer,
)
from edge_portal.api.describing import described_body
from edge_portal.api.taking import IdempotencyKey
from edge_portal.cookies import AnyRequest
from edge_portal.covering import Covering, Why, covering
from edge_portal.payment_checks import check_amount, check_key
from edge_portal.views import AccountView
from failover.intents import intent_id
from failover.web import read_body


class CheckForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /payments/check``."""

    amount: int


class CoveredAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    What covers a payment already, newest first.

    ``nothing_left``: with it, ``over`` more than is left to pay would be paid. ``same_sum``: the same sum was paid on
    the same day. ``elsewhere``: nothing that is known here covers it, but other edges may have accepted ``unseen``
    payments, at least, that are not known here.
    """

    why: Why
    over: int
    payments: list[PaymentAnswer]
    unseen: int


class CheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a payment of ``amount`` would stand beside those that are known here.

    ``covered_by`` is null where nothing covers it. It is a warning: the payment can be made all the same. ``may_miss``
    is null where all payments that any edge has accepted are known here.
    """

    amount: int
    currency: str
    left_to_pay: int
    covered_by: CoveredAnswer | None
    may_miss: MayMissAnswer | None


@post(
    "/payments/check",
    status_code=200,
    operation_class=described_body(CheckForm),
    summary="Ask before paying",
)
async def check_payment(
    request: AnyRequest, idempotency_key: IdempotencyKey = None
) -> Response[CheckAnswer]:
    """
    Tell whether payments that wait, or were posted since the last bill, cover ``amount`` already. Nothing is paid.

    With the ``Idempotency-Key`` of the payment that is meant, that payment does not count against itself.
    """
    view = open_view(request, statements=True)
    form = decode_form(await read_body(request, max_bytes=BODY_BYTES_MAX), CheckForm)
    check_amount(form.amount)
    but = ""
    if idempotency_key:
        check_key(idempotency_key)
        but = intent_id(view.account.account_id, idempotency_key)
    told: Response[Any] = answer_view(
        _check_answer(view, form.amount, covering(view, form.amount, but=but)), view
    )
    return told


def _check_answer(view: AccountView, amount: int, found: Covering | None) -> CheckAnswer:
    return CheckAnswer(
        amount=amount,
        currency=view.account.currency,
        left_to_pay=view.left_to_pay_cents,
        may_miss=may_miss_answer(view),
        covered_by=None
        if found is None
        else CoveredAnswer(
            why=found.why,
            over=found.over_cents,
            payments=[payment_answer(payment) for payment in found.payments],
            unseen=found.unseen,
        ),
    )
