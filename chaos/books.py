"""What the core's operators can ask: ledgers, intents, and the reconciliation."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from chaos.errors import ControlError
from chaos.fleet_file import CoreEntry
from chaos.history import CoreIntent, Ledger, LedgerEntry, Reconciliation

ASK_SECONDS_MAX = 10.0
RECONCILE_SECONDS_MAX = 120.0


class Books:
    """The core's operator API; an async context manager."""

    def __init__(self, core: CoreEntry, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._core = core
        self._http = httpx.AsyncClient(
            base_url=core.url,
            transport=transport,
            headers={"Authorization": f"Bearer {core.operator_token}"},
            timeout=ASK_SECONDS_MAX,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def ready(self) -> bool:
        """Whether the core answers."""
        try:
            return (await self._http.get("/readyz", timeout=1.0)).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def ledger(self, account_id: str) -> Ledger:
        """Read one account's ledger. Raises `ControlError`."""
        told = await self._get(f"/accounts/{account_id}/ledger")
        if told is None:
            raise ControlError(f"the core knows no account {account_id}")
        return Ledger(
            account_id=account_id,
            balance_cents=told["balance"],
            entries=[
                LedgerEntry(
                    transaction_id=str(entry["transaction_id"]),
                    intent_id=entry["intent_id"],
                    amount_cents=entry["amount"],
                    value_date=date.fromisoformat(entry["value_date"]),
                    posted_at=datetime.fromisoformat(entry["posted_at"]),
                    description=entry.get("description", ""),
                )
                for entry in told["entries"]
            ],
        )

    async def ledgers(self, account_ids: Iterable[str]) -> dict[str, Ledger]:
        """Read many accounts' ledgers. Raises `ControlError`."""
        return {account_id: await self.ledger(account_id) for account_id in account_ids}

    async def intent(self, intent_id: str) -> CoreIntent:
        """Ask what the core knows of an intent. Raises `ControlError`."""
        told = await self._get(f"/intents/{intent_id}")
        if told is None:
            return CoreIntent(intent_id=intent_id, state="")
        return CoreIntent(
            intent_id=intent_id,
            state=told["state"],
            account_id=told.get("account_id", ""),
            amount_cents=told.get("amount") or 0,
        )

    async def reconcile(self) -> Reconciliation:
        """Run the operator's own reconciliation on the core's data folder."""
        command = [sys.executable, "-P", "-m", "core_cis", "reconcile", "--json"]
        return await asyncio.to_thread(_reconcile, [*command, "--data", self._core.data])

    async def _get(self, path: str) -> dict[str, Any] | None:
        try:
            response = await self._http.get(path)
        except httpx.HTTPError as error:
            raise ControlError(f"the core did not answer {path}: {error}") from error
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.status_code != httpx.codes.OK:
            raise ControlError(f"the core answered {response.status_code} to {path}")
        found: dict[str, Any] = msgspec.json.decode(response.content)
        return found


def _reconcile(command: list[str]) -> Reconciliation:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=RECONCILE_SECONDS_MAX,
            check=False,
        )
        told = msgspec.json.decode(done.stdout)
    except (subprocess.TimeoutExpired, msgspec.DecodeError) as error:
        return Reconciliation(exit_code=-1, differences=[f"it gave no report: {error}"])
    differences = [
        f"{one.get('kind')}: {one.get('detail')} ({one.get('intent_id') or one.get('account_id')})"
        for one in told.get("differences", [])
    ]
    differences += [f"{one.get('intent_id')} is still pending" for one in told.get("pending", [])]
    differences += [f"edge {name} did not answer" for name in told.get("unreachable", [])]
    return Reconciliation(exit_code=done.returncode, differences=differences)
