"""Tariffs in the core's tables, and which one prices a service point when."""

from collections.abc import Sequence
from datetime import date

from cache_sync.sql import Connection
from core_cis.domain.tariff_files import parse_tariff
from core_cis.domain.tariffs import Tariff, tariff_key, tariff_to_json
from core_cis.errors import TariffConflict
from core_cis.publishing import publish_account
from core_cis.store import Transaction


def save_tariff(tx: Transaction, tariff: Tariff) -> str:
    """
    Keep a version of a plan, replacing the one that started on the same day; return the plan's key.

    Bills that were made stay as they are. Accounts that show the plan's name are published again.

    Raises:
        TariffConflict: Its prices are in another currency than the books.
    """
    key = tariff_key(tariff)
    source = tariff.source
    if tariff.currency != tx.utility.currency:
        raise TariffConflict(
            f"{key} is in {tariff.currency}, the books are in {tx.utility.currency}"
        )
    tx.connection.execute(
        "INSERT INTO tariffs (code, effective_from, name, utility, source, body) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (code, effective_from) DO UPDATE SET name = excluded.name, utility = excluded.utility,"
        " source = excluded.source, body = excluded.body",
        (
            key,
            (tariff.effective_from or date.min).isoformat(),
            tariff.name,
            tariff.utility,
            "" if source is None else source.url or source.title,
            tariff_to_json(tariff).decode(),
        ),
    )
    for (account_id,) in tx.connection.execute(
        "SELECT DISTINCT s.account_id FROM service_points s JOIN service_point_tariffs p USING (service_point_id)"
        " WHERE p.tariff_code = ? ORDER BY s.account_id",
        (key,),
    ).fetchall():
        publish_account(tx, account_id)
    return key


def tariff_keys(connection: Connection) -> frozenset[str]:
    """List the keys of the plans that the core has."""
    return frozenset(key for (key,) in connection.execute("SELECT DISTINCT code FROM tariffs"))


class TariffShelf:
    """Tariffs parsed once and kept: a billing run asks for the same few a thousand times."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._plans: dict[str, list[Tariff]] = {}

    def plan(self, key: str) -> list[Tariff]:
        """Give every version of a plan, oldest first; empty when there is none."""
        if key not in self._plans:
            rows = self._connection.execute(
                "SELECT body FROM tariffs WHERE code = ? ORDER BY effective_from", (key,)
            ).fetchall()
            self._plans[key] = [parse_tariff(body.encode()) for (body,) in rows]
        return self._plans[key]

    def of_service_point(self, service_point_id: str) -> list[tuple[date, Sequence[Tariff]]]:
        """Give a service point's plans with the day each was assigned from, oldest first."""
        return [
            (date.fromisoformat(assigned_from), self.plan(key))
            for assigned_from, key in self._connection.execute(
                "SELECT effective_from, tariff_code FROM service_point_tariffs WHERE service_point_id = ?"
                " ORDER BY effective_from",
                (service_point_id,),
            ).fetchall()
        ]
