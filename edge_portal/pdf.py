"""
A bill as a PDF file: tagged for screen readers (PDF/UA-1) and fit for archives (PDF/A-2a), by typst.

The same bill always gives the same bytes: the date inside is the day of issue, the fonts are typst's own, and nothing
of this machine or of now goes in.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import typst

from cache_sync.documents import AccountBody, MeterRead, StatementBody
from edge_portal import words
from edge_portal.pages.bill_words import line_words

TEMPLATE: Final = Path(__file__).resolve().parent / "templates" / "bill.typ"


@cache
def _thread() -> ThreadPoolExecutor:
    """Return the one thread that typesets: a compiler belongs to one thread, and reads must not wait for it."""
    return ThreadPoolExecutor(1, thread_name_prefix="typesetting")


@cache
def _compiler() -> typst.Compiler:
    return typst.Compiler(str(TEMPLATE), ignore_system_fonts=True)


async def statement_pdf(account: AccountBody, statement: StatementBody) -> bytes:
    """Typeset a bill off the event loop; a few milliseconds of one thread."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread(), typeset, account, statement)


def typeset(account: AccountBody, statement: StatementBody) -> bytes:
    """Typeset a bill. To be called from one thread only."""
    data = msgspec.json.encode(bill_text(account, statement)).decode()
    content = _compiler().compile(
        format="pdf", sys_inputs={"data": data}, pdf_standards=["ua-1", "a-2a"]
    )
    assert isinstance(content, bytes)
    return content


def bill_text(account: AccountBody, statement: StatementBody) -> dict[str, Any]:
    """Put a bill into the words that are printed. Years are always told: paper outlives the year."""
    currency = statement.currency
    money = {
        "previous": statement.previous_balance_cents,
        "payments": -statement.payments_received_cents,
        "total": statement.total_cents,
        "due": statement.amount_due_cents,
    }
    addresses = {point.service_point_id: point.address for point in account.service_points}
    issued = statement.issued_on
    return {
        "title": f"Bill of {words.full_date(issued)}",
        "issued": [issued.year, issued.month, issued.day],
        "issued_on": words.full_date(issued),
        "due_on": words.full_date(statement.due_date),
        "period": _period(statement),
        "utility": account.utility_name,
        "customer": account.customer_name,
        "account": account.account_id,
        "number": statement.statement_id,
        "address": "; ".join(dict.fromkeys(addresses.values())),
        "usage": f"{words.kwh(statement.usage_wh)} kWh",
        "estimated": f"{words.part_kwh(statement.estimated_wh)} kWh"
        if statement.estimated_wh
        else "",
        **{name: words.money(cents, currency) for name, cents in money.items()},
        "lines": [
            [told.description, told.quantity, told.price, told.amount, told.estimated]
            for told in (line_words(line, currency) for line in statement.lines)
        ],
        "received": [
            [
                line.description or f"Paid {words.full_date(line.value_date)}",
                words.money(-line.amount_cents, currency),
            ]
            for line in statement.payments
        ],
        "meters": [_meter(meter) for meter in statement.meters],
        "tariffs": [
            f"{tariff.name}, {tariff.utility}, prices from {words.full_date(tariff.effective_from)}."
            for tariff in statement.tariffs
        ],
    }


def _period(statement: StatementBody) -> str:
    # With no day of today, both ends carry their year unless they share it.
    no_year = statement.issued_on.replace(year=1, day=1)
    return words.period(statement.period_from, statement.period_to, no_year)


def _meter(meter: MeterRead) -> list[str]:
    how = "Estimated" if meter.end_read == "estimated" else "Actual"
    return [
        meter.meter_id,
        words.full_date(meter.read_from),
        words.kwh(meter.begin_register_wh),
        words.full_date(meter.read_to),
        f"{words.kwh(meter.end_register_wh)} ({how.lower()})",
        f"{words.kwh(meter.usage_wh)} kWh",
    ]
