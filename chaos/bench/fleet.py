"""A fleet to measure: a core whose documents were made by the thousand, edges before it, no demo data."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from cache_sync.clock import SystemClock
from cache_sync.documents import CredentialBody
from chaos.bench.population import Population, account_id_of, in_batches
from chaos.errors import FleetError
from chaos.fleet import Fleet, FleetOptions
from chaos.fleet_file import Customer, write_private
from chaos.proxy_control import HOST
from core_cis.settings import Utility
from core_cis.store import CoreStore
from edge_portal.session import Tokens
from edge_portal.settings import load_settings
from failover.node_config import read_config, write_config

_ACCOUNTS_A_COMMIT = 500
# Limits that a customer would meet and a benchmark must not.
_PLENTY = 1_000_000_000
_STATUS_SECONDS_MAX = 60.0


def fill_core(folder: Path, accounts: int, tell: Callable[[str], None]) -> None:
    """Make a core's folder with a population's documents, published as the core publishes."""
    with CoreStore.open(
        folder, SystemClock(), utility=Utility(name="Northwater Power & Light")
    ) as store:
        population = Population(lookup_key=store.keys.lookup_key_bytes)
        done = 0
        for changes in in_batches(population, accounts, _ACCOUNTS_A_COMMIT):
            with store.transaction() as tx:
                for change in changes:
                    tx.publish_encoded(*change.name, change.body, change.version)
            done += _ACCOUNTS_A_COMMIT
            if done % 50_000 == 0:
                tell(f"  {done} accounts")


class BenchFleet:
    """
    A fleet that is made, changed, started and stopped for one measurement.

    Args:
        folder: Empty.
        accounts: Of its population.
        tell: Told how far it is.
        edges: How many.
        core: A core's folder with such a population, which is taken over; made when it is not given.
        demo_data: Its core is filled with demo data in place of such a population: with books that payments go into.
    """

    def __init__(
        self,
        folder: Path,
        accounts: int,
        tell: Callable[[str], None],
        *,
        edges: int = 1,
        core: Path | None = None,
        demo_data: bool = False,
    ) -> None:
        self.accounts = accounts
        self.fleet = Fleet(
            folder, FleetOptions(edges=edges, accounts=accounts if demo_data else None)
        )
        if not demo_data:
            if core is None:
                fill_core(folder / "core", accounts, tell)
            else:
                core.rename(folder / "core")
            # Nobody signs in by password here; the file says that the core has been filled.
            first = Customer(account_id=account_id_of(0), email="", password="")
            write_private(self.fleet.logins_file, msgspec.json.encode([first]))
        self.fleet.prepare()
        for name in self.fleet.edges:
            # One worker a core: what is compared has one too.
            self.configure(name, workers=1)

    def configure(self, name: str, **changes: Any) -> None:
        """Change an edge's configuration before it is started."""
        path = self.fleet.edge_config(name)
        config = msgspec.structs.replace(read_config(path), **changes)
        write_config(path, config, overwrite=True)

    def without_limits(self, name: str) -> None:
        """Let an edge take any number of payments."""
        limits = read_config(self.fleet.edge_config(name)).standin
        plenty = msgspec.structs.replace(
            limits,
            account_day_count=_PLENTY,
            account_day_cents=_PLENTY,
            edge_outstanding_cents=_PLENTY,
        )
        self.configure(name, standin=plenty)

    def without_proxy(self, name: str) -> None:
        """Have an edge reach the core directly: the fault proxy's own time is not what is measured."""
        self.configure(name, core_url=self.fleet.core_url)

    def peers_directly(self, name: str) -> None:
        """Have an edge reach its siblings directly too."""
        peers = [
            msgspec.structs.replace(
                peer, url=f"http://{HOST}:{self.fleet.plan.edge(peer.node_id).peer_port}"
            )
            for peer in read_config(self.fleet.edge_config(name)).peers
        ]
        self.configure(name, peers=peers)

    def tokens(self, name: str, *, sessions: int = 1, accounts: int | None = None) -> list[str]:
        """Issue tokens of every account's customer, or the first ones', as sign-ins would; the accounts in turn."""
        settings = load_settings(self.fleet.edge_config(name), self.fleet.edge_data(name))
        tokens = Tokens(settings.keys.session)
        population = Population(lookup_key=settings.keys.lookup)
        now = datetime.now(UTC)
        changes = [population.credential(number) for number in range(accounts or self.accounts)]
        bodies = [msgspec.json.decode(one.body or b"", type=CredentialBody) for one in changes]
        return [
            tokens.issue(change.name.key, body, now=now, session_id=f"{session:08x}{number:016x}")
            for session in range(sessions)
            for number, (change, body) in enumerate(zip(changes, bodies, strict=True))
        ]

    @contextlib.contextmanager
    def running(self) -> Iterator[Fleet]:
        """Run it for the block; no process is left."""
        try:
            self.fleet.start()
            yield self.fleet
        finally:
            self.fleet.stop()


def wait_status(fleet: Fleet, name: str, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """
    Wait until an edge's ``/status`` says what is wanted.

    Raises:
        FleetError: It does not within a minute.
    """
    until = time.monotonic() + _STATUS_SECONDS_MAX
    while time.monotonic() < until:
        answer = httpx.get(f"{fleet.edge_url(name)}/status", timeout=10, trust_env=False)
        if wanted(answer.json()):
            return
        time.sleep(0.1)
    raise FleetError(f"the status of {name} did not become what is measured")


def takes_payments_alone(status: dict[str, Any]) -> bool:
    """Tell from an edge's status that it knows the core to be away and takes payments with its witness."""
    return bool(status["mode"] == "degraded" and status["payments_open"])
