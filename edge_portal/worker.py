"""
A web worker: reads the snapshot, hands payments to the agent, asks the core for archived statements.

Several workers accept on one socket that the supervisor opened: one that dies or freezes takes no connection along that
another could have served.
"""

import asyncio
import os
import socket

from cache_sync.clock import Clock, SystemClock
from cache_sync.once_a_turn import OnceATurn
from cache_sync.turn_reader import TurnReader
from edge_portal.agent_link import AgentLink
from edge_portal.app import create_app
from edge_portal.archive import ArchiveReader
from edge_portal.child import all_of, child_command, seeded_rng
from edge_portal.core_client import ARCHIVE_CALLS_MAX, CoreArchiveClient
from edge_portal.form_keys import FormKeys
from edge_portal.held_snapshots import HeldSnapshots, open_held
from edge_portal.links import Links
from edge_portal.node_status import NodeStatus, archive_is_closed
from edge_portal.pages.site import Site
from edge_portal.portal import Portal
from edge_portal.receipt_desk import ReceiptDesk
from edge_portal.redis_sharing import shared_accounts
from edge_portal.session import Tokens
from edge_portal.settings import EdgeSettings
from edge_portal.signin import SignIn
from edge_portal.snapshot_watch import SnapshotWatch
from failover.http_server import serve
from failover.journal_reader import JournalReader
from failover.mode_lease import LeaseReader
from failover.node_config import EdgeConfig
from failover.sibling_news import NewsReader

SESSION_ID_BYTES = 12


async def run_worker(settings: EdgeSettings, sockets: list[int], stop: asyncio.Event) -> None:
    """Serve customers on the public socket until told to stop."""
    config, paths, clock = settings.config, settings.paths, SystemClock()
    snapshot = open_held(settings, clock=clock, reader=TurnReader)
    lease = LeaseReader(paths.lease, clock)
    journal = JournalReader(paths.journal, keys=settings.file_keys)
    siblings = NewsReader(paths.sibling_news, fleet_key=settings.keys.lookup, clock=clock)
    node = NodeStatus(
        config.node_id,
        paths,
        lease=lease,
        snapshot=snapshot,
        clock=clock,
        journal=journal,
        keys=settings.file_keys,
        siblings=siblings,
    )
    agent = AgentLink(paths.data)
    archive_client = Links(config).core("archive", ARCHIVE_CALLS_MAX)
    tokens = Tokens(settings.keys.session)
    sign_in = SignIn(lookup_key=settings.keys.lookup, clock=clock)
    shared = shared_accounts(settings, clock=clock, rng=seeded_rng())
    portal = Portal(
        snapshot=snapshot,
        journal=journal,
        mode=OnceATurn(node.mode).get,
        agent=agent,
        archive=ArchiveReader(
            CoreArchiveClient(archive_client),
            closed=lambda: archive_is_closed(lease.read()),
            clock=clock,
            rng=seeded_rng(),
        ),
        sign_in=sign_in,
        tokens=tokens,
        form_keys=FormKeys(settings.keys.form, os.urandom),
        new_session_id=lambda: os.urandom(SESSION_ID_BYTES).hex(),
        shared=shared,
        siblings=siblings,
    )
    app = create_app(
        portal,
        node,
        _site(config),
        secure_cookies=not config.insecure_cookies,
        clock=clock,
        receipts=ReceiptDesk(
            journal=journal,
            agent=agent,
            node_id=config.node_id,
            signing_key=config.signing_key,
            core_key=config.core_public_key,
            utility=config.utility.name,
        ),
        watch=_watch(snapshot, journal, clock) if shared is None else None,
    )
    try:
        with socket.socket(fileno=sockets[0]) as public:
            serving = serve(app, public, stop=stop)
            await all_of(stop, serving, *([] if shared is None else [shared.run(stop)]))
    finally:
        if shared is not None:
            shared.close()
        sign_in.close()
        await agent.close()
        await archive_client.close()


def _site(config: EdgeConfig) -> Site:
    return Site(
        utility_name=config.utility.name,
        utility_phone=config.utility.phone,
        timezone=config.utility.timezone,
        currency=config.utility.currency,
        retention_months=config.retention_months,
    )


def _watch(snapshot: HeldSnapshots, journal: JournalReader, clock: Clock) -> SnapshotWatch | None:
    """Watch the snapshot of a core with one shard: of several, or of a Redis, no one place says that nothing moved."""
    return None if snapshot.only is None else SnapshotWatch(snapshot.only, journal, clock)


main = child_command("worker", run_worker)

if __name__ == "__main__":
    main()
