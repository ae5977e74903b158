"""A small utility made to measure: its customer file, a plain tariff, steady readings, the billing run."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from click.testing import CliRunner, Result

from cache_sync.documents import BODY_TYPES, StatementBody
from cache_sync.packed_bodies import unpack_body
from core_cis.__main__ import main
from core_cis.billing_run import BillingReport, run_billing
from core_cis.bookkeeping import balance_cents
from core_cis.domain.metering import QUALITY_MISSING, QUALITY_VALID, IntervalBlock, empty_block
from core_cis.domain.tariff_files import parse_tariff
from core_cis.importing.customer_file import read_customer_file
from core_cis.importing.customers import CustomersImported, import_customers, prepare_passwords
from core_cis.payment_posting import post_office_payment
from core_cis.readings import store_blocks
from core_cis.settings import Utility
from core_cis.store import CoreStore
from core_cis.tariff_store import save_tariff, tariff_keys

NOW = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
PASSWORD = "correct horse"
TARIFF = "test-power-t"


class FixedClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        """Tell the time."""
        return NOW

    def boot_seconds(self) -> float:
        """Tell seconds since a start."""
        return 1000.0

    def boot_id(self) -> str:
        """Tell a boot."""
        return "boot"

    async def sleep(self, seconds: float) -> None:
        """Do not wait."""
        raise AssertionError("nothing here waits")


def customer_row(number: int = 1, /, **cells: str) -> dict[str, str]:
    """Make a row of a customer file: customer C-1 with account A-1, service point SP-1, meter M-1, method pm-1."""
    return {
        "customer_id": f"C-{number}",
        "name": f"Customer {number}",
        "email": f"customer{number}@example.org",
        "account_id": f"A-{number}",
        "service_point_id": f"SP-{number}",
        "address": f"{number} Mill Road",
        "meter_id": f"M-{number}",
        "tariff": TARIFF,
        "method_id": f"pm-{number}",
        "method_type": "bank_account",
        "method_label": "Savings ending 0001",
        "method_token": f"tok_{number}",
        "password": PASSWORD,
        **cells,
    }


def customer_csv(*rows: Mapping[str, str]) -> bytes:
    """Write rows as a customer file with all their columns."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def tariff_json(price: str = "0.10", monthly: str = "10", **identity: str) -> bytes:
    """Write a flat tariff: a price for every kWh and one charge a month."""
    hours = [[0] * 24] * 12
    document = {
        "schema_version": 0,
        "identity": {
            "utility_id": "Test Power",
            "plan_code": "T",
            "plan_name": "Test plan",
            **identity,
        },
        "effective_range": {"start": None, "end": None},
        "energy": {
            "periods": [
                {
                    "tiers": [
                        {"rate": price, "adj": "0", "max": None, "max_unit": "kWh", "sell": None}
                    ]
                }
            ]
        },
        "schedule": {"weekday": hours, "weekend": hours, "holiday_policy": "unknown"},
        "fixed_charges": [{"amount": monthly, "unit": "$/month"}],
        "min_charge": None,
        "unsupported": [],
        "metering": "none",
        "source_documents": [],
    }
    return json.dumps(document).encode()


class SmallUtility:
    """A core in a folder, and what a utility does with it."""

    def __init__(self, data_dir: Path, timezone: str = "America/New_York") -> None:
        self.data_dir = data_dir
        self.zone = ZoneInfo(timezone)
        self.store = CoreStore.open(data_dir, FixedClock(), utility=Utility(timezone=timezone))

    def tariff(
        self, price: str = "0.10", monthly: str = "10", *, since: str = "2020-01-01", **names: str
    ) -> str:
        """Import a flat tariff."""
        tariff = parse_tariff(
            tariff_json(price, monthly, **names), effective_from=date.fromisoformat(since)
        )
        with self.store.transaction() as tx:
            return save_tariff(tx, tariff)

    def customers(self, *rows: Mapping[str, str]) -> CustomersImported:
        """Import customers."""
        checked = read_customer_file(
            customer_csv(*rows), tariffs=tariff_keys(self.store.connection)
        )
        passwords = prepare_passwords(self.store.connection, checked)
        with self.store.transaction() as tx:
            return import_customers(tx, checked, passwords)

    def read(
        self,
        first: str,
        last: str,
        *,
        service_point_id: str = "SP-1",
        wh: int = 1000,
        missing: Iterable[tuple[str, int]] = (),
    ) -> None:
        """Store the same usage in every hour of some days (inclusive), but for (day, hour of it) that are missing."""
        left_out = set(missing)
        day, end = date.fromisoformat(first), date.fromisoformat(last)
        blocks: list[IntervalBlock] = []
        while day <= end:
            empty = empty_block(day, self.zone, 3600)
            usage = [
                None if (day.isoformat(), hour) in left_out else wh for hour in range(len(empty.wh))
            ]
            quality = [QUALITY_MISSING if value is None else QUALITY_VALID for value in usage]
            blocks.append(msgspec.structs.replace(empty, wh=tuple(usage), quality=tuple(quality)))
            day += timedelta(days=1)
        with self.store.transaction() as tx:
            meter_id = "M-" + service_point_id.removeprefix("SP-")
            store_blocks(tx, service_point_id, blocks, meter_id=meter_id)

    def pay(self, payment_id: str, cents: int, day: str, *, account_id: str = "A-1") -> None:
        """Post a payment that reached the office."""
        with self.store.transaction() as tx:
            post_office_payment(
                tx,
                payment_id=payment_id,
                account_id=account_id,
                amount_cents=cents,
                method_id="counter",
                accepted_at=datetime.combine(date.fromisoformat(day), time(15), UTC),
                value_date=date.fromisoformat(day),
            )

    def bill(self, through: str, *account_ids: str) -> BillingReport:
        """Run billing."""
        return run_billing(self.store, date.fromisoformat(through), account_ids=account_ids or None)

    def statements(self, account_id: str = "A-1") -> list[StatementBody]:
        """Read an account's published statements, oldest first."""
        bodies = self.documents("statement", account_id).values()
        return sorted(bodies, key=lambda body: body.period_to)

    def documents(self, kind: str, account_id: str = "A-1") -> dict[str, Any]:
        """Read an account's published documents of a kind by key, without what was withdrawn."""
        return {
            key: msgspec.json.decode(unpack_body(body), type=BODY_TYPES[kind])
            for key, body in self.store.connection.execute(
                "SELECT key, body FROM documents WHERE account_id = ? AND kind = ? AND body IS NOT NULL",
                (account_id, kind),
            )
        }

    def balance(self, account_id: str = "A-1") -> int:
        """Sum an account's ledger."""
        return balance_cents(self.store.connection, account_id)

    def head(self) -> int:
        """Tell the newest document's position."""
        return int(self.store.connection.execute("SELECT max(head) FROM shard_head").fetchone()[0])

    def count(self, table: str) -> int:
        """Count a table's rows."""
        return int(self.store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our names

    def books(self) -> list[int]:
        """Count what an import could have changed."""
        tables = ("customers", "accounts", "service_points", "meters", "payment_methods", "tariffs")
        return [*map(self.count, (*tables, "interval_blocks", "import_findings")), self.head()]

    def run_import(self, verb: str, data: bytes, *options: str) -> Result:
        """Run `core import` beside the open store, with a file of the given bytes."""
        file = self.data_dir.with_name("in put.file")
        file.write_bytes(data)
        arguments = ["import", verb, "--data", str(self.data_dir), *options, str(file)]
        return CliRunner().invoke(main, arguments)
