"""What the billing run reads of an account: its service points, its statements, what moved its balance."""

from datetime import date

import msgspec

from cache_sync.documents import MeterRead, PaymentLine, StatementBody
from cache_sync.sql import Connection
from core_cis.readings import read_days

_decode_statement = msgspec.json.Decoder(StatementBody).decode

_SERVICE_POINTS = """
    SELECT s.service_point_id, s.supplied_from, coalesce(s.supplied_to, a.closed_on), m.meter_id, m.initial_register_wh
    FROM service_points s JOIN accounts a USING (account_id) JOIN meters m USING (service_point_id)
    WHERE s.account_id = ? AND m.removed_on IS NULL ORDER BY s.service_point_id
"""
_MOVES = """
    SELECT t.transaction_id, t.kind, t.payment_id, t.value_date, -sum(e.amount_cents), t.description
    FROM ledger_entries e JOIN ledger_transactions t USING (transaction_id)
    WHERE e.account_id = ? AND t.kind <> 'charge' AND t.value_date <= ?
    GROUP BY t.transaction_id ORDER BY t.value_date, t.transaction_id
"""


class BilledServicePoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    A service point as it is billed.

    Attributes:
        first_day: The first day of supply, where that is not known of readings; None before there are any.
        end_day: The first day without supply; None while it goes on.
        last_read_day: The last local day that was read to its end; None before there is one.
    """

    service_point_id: str
    meter_id: str
    initial_register_wh: int
    first_day: date | None
    end_day: date | None
    last_read_day: date | None


class BillingHistory:
    """An account's statements, as far as the next one follows from them."""

    def __init__(self) -> None:
        self.previous: StatementBody | None = None
        self.cycle_day: int | None = None
        self.listed_payments: set[str] = set()
        self._reads: dict[str, MeterRead] = {}

    def add(self, statement: StatementBody) -> None:
        """Count a statement in; they come oldest first."""
        self.previous = statement
        self.cycle_day = self.cycle_day or statement.period_to.day
        self.listed_payments.update(payment.payment_id for payment in statement.payments)
        self._reads.update((read.service_point_id, read) for read in statement.meters)

    def billed_to(self, point: BilledServicePoint) -> date | None:
        """Tell the first day of a service point that was not billed; None before its first bill."""
        read = self._reads.get(point.service_point_id)
        return read.read_to if read else None

    def register_wh(self, point: BilledServicePoint) -> int:
        """Tell what a meter's register showed at the end of its latest bill, before it at its beginning."""
        read = self._reads.get(point.service_point_id)
        return (
            read.end_register_wh
            if read and read.meter_id == point.meter_id
            else point.initial_register_wh
        )


def read_history(connection: Connection, account_id: str) -> BillingHistory:
    """Read an account's statements."""
    history = BillingHistory()
    for (body,) in connection.execute(
        "SELECT body FROM statements WHERE account_id = ? ORDER BY period_to", (account_id,)
    ):
        history.add(_decode_statement(body))
    return history


def read_service_points(connection: Connection, account_id: str) -> list[BilledServicePoint]:
    """List an account's service points, also those without readings."""
    points = []
    for service_point_id, supplied_from, end, meter_id, register_wh in connection.execute(
        _SERVICE_POINTS, (account_id,)
    ).fetchall():
        days = read_days(connection, service_point_id)
        first_read_day, last_read_day = days or (None, None)
        points.append(
            BilledServicePoint(
                service_point_id=service_point_id,
                meter_id=meter_id,
                initial_register_wh=register_wh,
                first_day=date.fromisoformat(supplied_from) if supplied_from else first_read_day,
                end_day=date.fromisoformat(end) if end else None,
                last_read_day=last_read_day,
            )
        )
    return points


def unlisted_payments(
    connection: Connection, account_id: str, issued_on: date, listed: set[str]
) -> list[PaymentLine]:
    """
    Find what moved the balance up to a day and stands on no statement yet: payments, reversals, corrections.

    A payment that arrives with a value date before the latest statement was issued stands on the next one.
    """
    lines = [
        PaymentLine(
            payment_id=payment_id if kind == "payment" else f"{kind} {transaction_id}",
            value_date=date.fromisoformat(value_date),
            amount_cents=amount_cents,
            description=msgspec.UNSET if kind == "payment" else description,
        )
        for transaction_id, kind, payment_id, value_date, amount_cents, description in connection.execute(
            _MOVES, (account_id, issued_on.isoformat())
        )
    ]
    return [line for line in lines if line.payment_id not in listed]
