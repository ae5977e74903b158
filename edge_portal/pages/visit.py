"""One request of a signed-in customer: who, which account, as of when; and the words that all its pages share."""

from datetime import date, datetime
from typing import Any

import msgspec
from litestar import Response

from edge_portal import words
from edge_portal.cookies import (
    AnyRequest,
    keep_position,
    keep_session,
    label,
    portal_of,
    seen_by,
    session_of,
)
from edge_portal.overlay import as_told
from edge_portal.pages.band import Band, PageKind, band_of, being_checked, checked_words
from edge_portal.pages.elsewhere import elsewhere_told
from edge_portal.pages.rendering import render
from edge_portal.pages.site import Site, site_of
from edge_portal.portal import Portal
from edge_portal.session import Session
from edge_portal.views import AccountView, method_label
from failover.intents import Receipt
from failover.own_pages import page


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a page needs to know before it says anything.

    ``now`` is the core's estimated time and ``today`` its day in the account's zone.
    """

    request: AnyRequest
    portal: Portal
    site: Site
    session: Session
    view: AccountView
    now: datetime
    today: date
    band: Band

    @property
    def timezone(self) -> str:
        """The account's zone."""
        return self.view.account.timezone

    @property
    def currency(self) -> str:
        """The account's currency."""
        return self.view.account.currency

    @property
    def can_pay(self) -> bool:
        """Whether a payment can be taken here now: otherwise pages have a sentence, not a button."""
        return self.view.mode.can_pay(self.view.freshness)

    @property
    def can_send(self) -> bool:
        """Whether anything can be recorded here now; stand-in limits to payments are none to messages."""
        return self.view.mode.payments_open

    @property
    def checked(self) -> Receipt | None:
        """The newest payment that nobody has confirmed yet: while there is one, no page invites to pay again."""
        return next(iter(being_checked(self.view.payments)), None)

    @property
    def elsewhere(self) -> str:
        """Say which payments this node may not show; empty when it knows of none."""
        return elsewhere_told(self.view)

    @property
    def checked_words(self) -> str:
        """Name what is being checked: ``your payment of $50.00``."""
        return checked_words(self.view.payments, self.currency)

    def money(self, cents: int) -> str:
        """Write an amount in the account's currency."""
        return words.money(cents, self.currency)

    def signed_money(self, cents: int) -> str:
        """Write a change of money."""
        return words.signed_money(cents, self.currency)

    def month_day(self, day: date) -> str:
        """Write a day as this customer reads it today."""
        return words.month_day(day, self.today)

    def day_name(self, day: date) -> str:
        """Write a day with its weekday."""
        return words.day_name(day, self.today)

    def period(self, first: date, end: date) -> str:
        """Write the days of ``[first, end)``."""
        return words.period(first, end, self.today)

    def event_time(self, moment: datetime) -> str:
        """Write when something happened."""
        return words.event_time(moment, self.timezone, self.today)

    def day_of(self, moment: datetime) -> date:
        """Tell which day an instant falls on for this customer."""
        return words.local_date(moment, self.timezone)

    def paid_on(self, payment: Receipt) -> date:
        """Tell which day a payment counts as paid."""
        return payment.value_date or self.day_of(payment.accepted_at)

    def method_label(self, method_id: str) -> str:
        """Name a saved way to pay."""
        return method_label(self.view.account, method_id)


def open_visit(request: AnyRequest, kind: PageKind = "account") -> Visit:
    """
    Authenticate a page request and read its account.

    Raises:
        NotSignedIn: To be answered with the sign-in page.
        NoSnapshot: Nothing can be shown at all.
        NotFound: The account is not in this snapshot.
    """
    session = session_of(request)
    view = portal_of(request).view(session.account_id, seen_by(request))
    return visit_of(request, session, view, kind)


def visit_of(
    request: AnyRequest, session: Session, view: AccountView, kind: PageKind = "account"
) -> Visit:
    """Make the visit of a customer whose account was read."""
    view = msgspec.structs.replace(view, payments=[as_told(one) for one in view.payments])
    now = words.core_now(view.freshness)
    return Visit(
        request=request,
        portal=portal_of(request),
        site=site_of(request),
        session=session,
        view=view,
        now=now,
        today=words.local_date(now, view.account.timezone),
        band=band_of(view, kind),
    )


def answer(
    visit: Visit, template: str, *, title: str, current: str, status: int = 200, **context: Any
) -> Response[bytes]:
    """
    Render a page of a visit with its labels and cookies.

    ``current`` names the entry of the navigation that the page belongs to.
    """
    content = render(
        template,
        {
            **context,
            "visit": visit,
            "site": visit.site,
            "band": visit.band,
            "session": visit.session,
            "title": title,
            "current": current,
        },
    )
    return carry(visit, page(content, status))


def carry(visit: Visit, response: Response[Any], *, renew: bool = True) -> Response[Any]:
    """Put a visit's labels and cookies on its response; not to ``renew`` leaves the session to its end."""
    label(response, visit.view.freshness, visit.view.mode.mode)
    keep_position(visit.request, response, visit.view.freshness.position)
    if renew and visit.session.renew:
        keep_session(visit.request, response, visit.portal.renew(visit.session))
    return response
