"""The little utility of every simulated world: made once, copied for each."""

import shutil
from datetime import date
from pathlib import Path
from typing import Final

import argon2
import msgspec

from cache_sync.clock import Clock
from core_cis.bookkeeping import post
from core_cis.domain import ledger
from core_cis.publishing import publish_account, publish_credential
from core_cis.registry import Serving, add_edge, write_edge_config
from core_cis.settings import Utility
from core_cis.store import CoreStore, Transaction
from edge_portal.settings import EdgeSettings, load_settings
from failover.node_config import EdgeConfig
from failover.pruning import PruningSettings
from failover.standin import Limits

EDGES: Final = ("east", "north", "west")
ACCOUNTS: Final = tuple(f"A-{number}" for number in range(1, 7))
PASSWORD: Final = "correct horse"  # noqa: S105 - of made-up people
CURRENCY: Final = "USD"
OPENING_CENTS: Final = 100_000
LIMITS: Final = Limits(
    per_payment_cents=20_000,
    account_day_count=8,
    account_day_cents=60_000,
    edge_outstanding_cents=120_000,
)
# What a world spends its time on is not hashing.
_WEAK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def email_of(account_id: str) -> str:
    """Tell whom an account belongs to."""
    return f"{account_id.lower()}@example.org"


def verifier_of(password: str) -> str:
    """Make the verifier of a password, cheaply."""
    return _WEAK.hash(password)


def method_of(account_id: str) -> str:
    """Tell an account's saved method."""
    return f"pm-{account_id}"


# Worlds are short: what a day brings elsewhere a second does here.
_PRUNING: Final = PruningSettings(pass_seconds=2.0, pause=0.01, batch_max=8, whole=1.0, owed=20.0)


class Blueprint:
    """
    A core's folder with customers, and the configurations of its edges, to be copied for each world.

    Args:
        folder: Where it is kept.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._core = folder / "core"
        self._configs: dict[str, Path] = {}
        with CoreStore.open(self._core, clock, utility=Utility(timezone="UTC")) as store:
            with store.transaction() as tx:
                for number, name in enumerate(EDGES):
                    address = f"http://127.0.0.1:{9000 + number}"
                    add_edge(tx, name, address, address)
                for account_id in ACCOUNTS:
                    _fill(tx, account_id)
            with store.transaction() as tx:
                for number, name in enumerate(EDGES):
                    path = folder / f"{name}.json"
                    self._configs[name] = path
                    serving = Serving(
                        core_url="http://127.0.0.1:8999",
                        port=8000 + number,
                        peer_port=9000 + number,
                        feed_port=9000 + number,
                        normal_min_seconds=5.0,
                    )
                    write_edge_config(tx, name, serving, path, keys=store.keys)
            store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def core(self, folder: Path) -> Path:
        """Make a world's core folder."""
        return Path(shutil.copytree(self._core, folder / "core"))

    def edge(self, name: str, folder: Path) -> EdgeSettings:
        """Make the settings of one of a world's edges."""
        settings = load_settings(self._configs[name], folder / name)
        config: EdgeConfig = msgspec.structs.replace(settings.config, standin=LIMITS)
        return msgspec.structs.replace(settings, config=config, pruning=_PRUNING)


def _fill(tx: Transaction, account_id: str) -> None:
    email, customer_id = email_of(account_id), f"C{account_id[1:]}"
    execute = tx.connection.execute
    execute(
        "INSERT INTO customers (customer_id, name, email, email_key, verifier) VALUES (?, ?, ?, ?, ?)",
        (customer_id, f"Customer {account_id}", email, email, verifier_of(PASSWORD)),
    )
    execute(
        "INSERT INTO accounts (account_id, customer_id) VALUES (?, ?)", (account_id, customer_id)
    )
    execute(
        "INSERT INTO payment_methods (method_id, account_id, token, type, label, status)"
        " VALUES (?, ?, ?, 'card', 'Card ending 4242', 'verified')",
        (method_of(account_id), account_id, f"tok_{account_id}"),
    )
    adjust(tx, account_id, OPENING_CENTS, "opening")
    publish_credential(tx, customer_id)


def adjust(tx: Transaction, account_id: str, amount_cents: int, key: str) -> None:
    """Change what an account owes, as staff do."""
    post(
        tx,
        ledger.adjustment(
            account_id=account_id,
            key=f"{account_id} {key}",
            amount_cents=amount_cents,
            value_date=date(2026, 3, 1),
            description="Adjustment",
        ),
    )
    publish_account(tx, account_id)
