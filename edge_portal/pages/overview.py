"""The overview: what is to pay, what works now, usage, the last bills and what happened lately."""

from datetime import date, timedelta

import msgspec
from litestar import Response, get

from cache_sync.documents import FeeSinceBill
from edge_portal import words
from edge_portal.cookies import AnyRequest
from edge_portal.pages.bill_states import bill_rows
from edge_portal.pages.chart_pictures import DayPicture, draw_days
from edge_portal.pages.happenings import Event, message_event
from edge_portal.pages.payment_words import SHORT, number_of
from edge_portal.pages.use_periods import PeriodUse, day_totals, period_use, periods
from edge_portal.pages.visit import Visit, answer, open_visit
from edge_portal.pages.works import works_now

LAST_BILLS = 4
LAST_EVENTS = 4


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """The amount due while the figures are current."""

    heading: str
    sum: str
    when: str
    waiting: str


class LineStep(msgspec.Struct, frozen=True, kw_only=True):
    """Something that stands on the line: billed, paid, due."""

    name: str
    told: str
    next: bool = False


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """One of the three balances, which are never merged."""

    name: str
    sum: str
    told: str


class UseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The current period's usage beside the one before, in words and as a chart."""

    open: bool
    picture: DayPicture
    sum: str
    days: str
    difference: str
    than: str
    cost: str
    last: str


@get("/", sync_to_thread=False, include_in_schema=False)
def overview(request: AnyRequest) -> Response[bytes]:
    """Show the account."""
    visit = open_visit(request)
    view = visit.view
    use = use_summary(visit)
    last_day = use.last if use else None
    stale = bool(visit.band.as_of_label)
    short = words.moment_short(view.freshness.as_of, visit.timezone, visit.today)
    payable = view.left_to_pay_cents if visit.can_pay and not visit.checked else 0
    return answer(
        visit,
        "overview.html",
        title=f"Your account{visit.band.in_title}",
        current="Overview",
        address=view.account.service_points[0].address if view.account.service_points else "",
        balances=balances(visit) if visit.band.state != "live" else None,
        due=amount_due(visit),
        steps=line_steps(visit),
        pay=visit.money(payable) if payable > 0 else None,
        works=works_now(visit, last_day) if view.mode.mode == "degraded" else None,
        use=use,
        rows=bill_rows(visit)[:LAST_BILLS],
        events=events(visit)[:LAST_EVENTS],
        sent=message_event(visit, view.messages[0]) if view.messages else None,
        as_of_short=(visit.band.as_of_label if view.freshness.at_least else short) if stale else "",
    )


def amount_due(visit: Visit) -> Due:
    """Tell what is due now."""
    view = visit.view
    left = view.left_to_pay_cents
    due = view.account.due_date
    when = ""
    if due and left > 0:
        when = f"{'It was due' if due < visit.today else 'Due'} {visit.day_name(due)}"
    if left <= 0 and view.account.latest_statement_id:
        when = (
            "Your next bill comes after this period."
            if left == 0
            else "It counts towards your next bill."
        )
    waiting = sum(payment.amount_cents for payment in view.payments if payment.state == "accepted")
    told = (
        f"Less {visit.money(waiting)} that we accepted and have not posted yet." if waiting else ""
    )
    told = f"{told} {not_counted(visit)}".strip()
    if left < 0:
        return Due(
            heading="Credit on your account", sum=visit.money(-left), when=when, waiting=told
        )
    return Due(heading="Amount due", sum=visit.money(left), when=when, waiting=told)


def not_counted(visit: Visit) -> str:
    """Say of payments that are being checked, or may wait elsewhere, that they are in no balance yet; else empty."""
    checked, elsewhere = visit.checked_words, visit.elsewhere
    if not checked:
        return elsewhere
    one = checked.startswith("your")
    return (
        f"{checked[0].upper()}{checked[1:]} {'is' if one else 'are'} being checked and not counted yet. "
        f"Please do not pay {'it' if one else 'them'} again. {elsewhere}"
    ).strip()


def line_steps(visit: Visit) -> list[LineStep]:
    """Tell how the amount due came about: billed, paid since, due."""
    view = visit.view
    if not view.statements:
        return []
    bill = view.statements[0]
    fees = view.account.late_fees or []
    charged = sum(fee.amount_cents for fee in fees)
    paid = bill.amount_due_cents + charged - view.left_to_pay_cents
    days = [
        visit.paid_on(payment)
        for payment in view.payments
        if payment.state in {"posted", "accepted"} and visit.paid_on(payment) >= bill.issued_on
    ]
    steps = [
        LineStep(
            name=f"Billed {visit.month_day(bill.issued_on)}",
            told=visit.money(bill.amount_due_cents),
        ),
        *(
            LineStep(
                name=f"{_fee_name(fee)} {visit.month_day(fee.on)}",
                told=visit.money(fee.amount_cents),
            )
            for fee in fees
        ),
    ]
    if paid > 0 and days:
        steps.append(LineStep(name=f"Paid {visit.month_day(max(days))}", told=visit.money(-paid)))
    else:
        steps.append(LineStep(name="Paid since", told="Nothing yet"))
    if view.left_to_pay_cents > 0:
        left = (bill.due_date - visit.today).days
        told = f"in {words.count_of(left, 'day')}" if left > 0 else "today" if left == 0 else ""
        told = told or f"{words.count_of(-left, 'day')} ago"
        verb = "Due" if left >= 0 else "Was due"
        steps.append(
            LineStep(name=f"{verb} {visit.month_day(bill.due_date)}", told=told, next=True)
        )
    else:
        steps.append(LineStep(name="Left to pay", told="Nothing", next=True))
    return steps


def _fee_name(fee: FeeSinceBill) -> str:
    return "Late fee" if fee.amount_cents > 0 else "Late fee taken back"


def balances(visit: Visit) -> list[Balance]:
    """Tell the three balances, with the arithmetic between them."""
    view = visit.view
    short = visit.band.as_of_label
    bill = view.statements[0] if view.statements else None
    billed = (
        f"Your bill of {visit.month_day(bill.issued_on)}. "
        f"{'It was due' if bill.due_date < visit.today else 'Due'} {visit.day_name(bill.due_date)}."
        if bill
        else "You have no bill yet."
    )
    return [
        Balance(name="Billed", sum=visit.money(view.billed_cents), told=billed),
        Balance(
            name=f"Balance as of {short}" if short else "Balance",
            sum=visit.money(view.balance_cents),
            told=_balance_told(visit),
        ),
        Balance(
            name="Left to pay",
            sum=visit.money(max(0, view.left_to_pay_cents)),
            told=_left_told(visit),
        ),
    ]


def _balance_told(visit: Visit) -> str:
    view = visit.view
    bill = view.statements[0] if view.statements else None
    told = "The last balance our main system gave us."
    counted = [
        payment
        for payment in view.payments
        if payment.state == "posted" and bill and visit.paid_on(payment) >= bill.issued_on
    ]
    # The balance counts a posted payment only once its document is here; until then it is in the difference.
    fees = view.account.late_fees or []
    charged = sum(fee.amount_cents for fee in fees)
    paid = view.billed_cents + charged - view.balance_cents
    if charged:
        told += f" {visit.money(charged)} of it are late fees."
    if counted and sum(payment.amount_cents for payment in counted) == paid:
        days = ", ".join(
            dict.fromkeys(visit.month_day(visit.paid_on(payment)) for payment in reversed(counted))
        )
        told += f" It counts the {visit.money(paid)} you paid {days}."
    return told


def _left_told(visit: Visit) -> str:
    view = visit.view
    balance, pending = visit.money(view.balance_cents), visit.money(view.pending_cents)
    if view.pending_cents > 0:
        told = f"{balance} less the {pending} we accepted from you and have not posted yet."
    else:
        nothing = "" if visit.checked else ": nothing is on its way"
        told = f"The same as your balance{nothing}."
    told = f"{told} {not_counted(visit)}".strip()
    if view.left_to_pay_cents < 0:
        told += f" You have a credit of {visit.money(-view.left_to_pay_cents)}."
    return told


def use_summary(visit: Visit) -> UseSummary | None:
    """Summarise the open period, or the last billed one while it has no readings."""
    view = visit.view
    totals = day_totals(view.usage)
    known = periods(view.statements, totals)
    if not known:
        return None
    use = period_use(known[0], known[1] if len(known) > 1 else None, totals)
    difference = ""
    if use.before_same_wh is not None:
        difference = more_or_less(use.usage_wh, use.before_same_wh)
    days = words.count_of(use.known_days, "day")
    last = visit.month_day(use.last_known) if use.last_known else ""
    whole = not use.period.open
    return UseSummary(
        open=use.period.open,
        picture=draw_days(tuple(use.days), chart_told(visit, use), linked=False),
        sum=words.kwh(use.usage_wh),
        days=words.stop(f"in {days}, {_known_span(visit, use)}"),
        difference=difference,
        than="than the period before" if whole else f"than the first {days} of your last period",
        cost=_cost_so_far(visit, use),
        last=last,
    )


def _known_span(visit: Visit, use: PeriodUse) -> str:
    last = use.last_known or use.period.first
    if last == use.period.first:
        return visit.month_day(last)
    return visit.period(use.period.first, last + timedelta(days=1))


def more_or_less(usage_wh: int, before_wh: int) -> str:
    """Tell a difference in words: ``17 kWh more``."""
    difference = usage_wh - before_wh
    told = words.kwh(abs(difference))
    if told == "0":
        return "as much"
    return f"{told} kWh {'more' if difference > 0 else 'less'}"


def chart_told(visit: Visit, use: PeriodUse) -> str:
    """State a chart's finding for those who do not see it."""
    told = (
        f"Electricity each day in kilowatt-hours, {visit.period(use.period.first, use.period.end)}. "
        f"{words.count_of(use.known_days, 'day')} came to {words.kwh(use.usage_wh)}"
    )
    if use.before_same_wh is not None:
        told += f", against {words.kwh(use.before_same_wh)} in the period before"
    return f"{told}."


def _cost_so_far(visit: Visit, use: PeriodUse) -> str:
    """Estimate an open period's cost by the last bill's average price, in whole units of money."""
    statements = visit.view.statements
    if not use.period.open or not statements or statements[0].usage_wh <= 0:
        return ""
    bill = statements[0]
    cents = use.usage_wh * bill.total_cents // bill.usage_wh
    return visit.money(round(cents, -2)).removesuffix(".00")


def events(visit: Visit) -> list[Event]:
    """List payments, bills and late fees, newest first; what is not settled yet stands on top."""
    found = []
    for payment in visit.view.payments:
        mark, told = SHORT[payment.state]
        name, number = number_of(payment)
        settled = payment.state not in {"accepted", "checking"}
        when = (
            visit.month_day(visit.paid_on(payment))
            if settled
            else visit.event_time(payment.accepted_at)
        )
        found.append(
            Event(
                day=visit.paid_on(payment) if settled else date.max - timedelta(1),
                name=f"Payment of {visit.money(payment.amount_cents)} {told}",
                when=when,
                address=f"/payments/{payment.intent_id}",
                link="See receipt" if name == "Receipt number" else "See payment",
                css="wait then" if not settled else "stop then" if mark == "no" else "",
                number=number,
                number_name=name.partition(" ")[0],
            )
        )
    found += [
        Event(
            day=bill.issued_on,
            name=f"Bill of {visit.money(bill.amount_due_cents)} ready",
            when=visit.month_day(bill.issued_on),
            address=f"/bills/{bill.statement_id}",
            link="See bill",
        )
        for bill in visit.view.statements[:LAST_EVENTS]
    ]
    found += [
        Event(
            day=fee.on,
            name=f"{_fee_name(fee)}, {visit.money(abs(fee.amount_cents))}",
            when=visit.month_day(fee.on),
            address=f"/bills/{fee.statement_id}",
            link="See the bill that it is about",
        )
        for fee in visit.view.account.late_fees or []
    ]
    return sorted(found, key=lambda event: event.day, reverse=True)
