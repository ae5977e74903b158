"""``core forget``: everything about a person goes, here and at every edge."""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path

import click
import msgspec

from cache_sync.clock import SystemClock
from core_cis.audit import by_command, write_down
from core_cis.awaited_edges import awaited_edges
from core_cis.clearing import clear_database, clear_files
from core_cis.erasures import erased_shards
from core_cis.errors import EdgeUnreachable
from core_cis.forgetting import (
    Obstacle,
    Prospect,
    Tombstones,
    erase,
    find_customer,
    look_ahead,
    withdrawn,
)
from core_cis.options import data_option, json_option, open_known_store
from core_cis.peer_journals import PeerJournals
from core_cis.registry import read_edges
from core_cis.store import CoreStore, Transaction
from failover.node_config import CORE_NODE_ID

EXIT_REFUSED = 1
EXIT_UNFINISHED = 3


class ForgetReport(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the command did, or would do.

    ``result``: ``preview``, ``refused`` (see ``obstacles``), ``forgotten``, or ``unfinished`` when the books have
    forgotten and something beside them has not (``unfinished`` says what). ``withdrawn`` is where the tombstones stand:
    an edge that has got as far (`core edges list`) shows nothing any more. ``skipped`` are edges that were not asked.
    """

    result: str
    customer_id: str
    account_ids: list[str]
    counts: dict[str, int]
    obstacles: list[Obstacle] = []
    already: bool = False
    withdrawn: list[Tombstones] = []
    unfinished: list[str] = []
    skipped: list[str] = []


@click.command("forget")
@data_option
@json_option
@click.argument("customer")
@click.option("--yes", "sure", is_flag=True, help="Do it; without, nothing is changed.")
@click.option(
    "--without-edge",
    "without",
    multiple=True,
    metavar="NAME",
    help="Do not ask this edge whether payments wait there: for one that is lost. May be repeated.",
)
@click.option(
    "--no-rewrite",
    is_flag=True,
    help="Leave pages of the database as they are for now; the command can be run again for them.",
)
@click.option("--reason", default="", help="Why, for the audit log; never a name.")
def forget_command(
    data_dir: Path,
    as_json: bool,  # noqa: FBT001 - click's flag
    customer: str,
    sure: bool,  # noqa: FBT001 - click's flag
    without: tuple[str, ...],
    no_rewrite: bool,  # noqa: FBT001 - click's flag
    reason: str,
) -> None:
    """
    Remove what is known of a person, from the books and from every edge.

    CUSTOMER is an id, or the e-mail address. Without --yes it says what would go and what is in the way. What the
    ledger needs stays: ids, amounts and days. There is no way back.

    Ends with 1 when it is refused, and with 3 when something could not be cleared now: run it again then.
    """
    with open_known_store(data_dir) as store:
        customer_id = find_customer(store.connection, customer)
        report = forget(
            store, customer_id, sure=sure, without=without, rewrite=not no_rewrite, reason=reason
        )
    click.echo(msgspec.json.encode(report) if as_json else _told(report))
    if report.result == "refused":
        raise SystemExit(EXIT_REFUSED)
    if report.result == "unfinished":
        raise SystemExit(EXIT_UNFINISHED)


def forget(
    store: CoreStore,
    customer_id: str,
    *,
    sure: bool,
    without: Collection[str] = (),
    rewrite: bool = True,
    reason: str = "",
    journals: PeerJournals | None = None,
) -> ForgetReport:
    """
    Look what forgetting a customer would do, and do it when ``sure`` and nothing is in the way.

    One who was forgotten before is not forgotten again, but what was left to clear is cleared.

    Raises:
        ForgetRefused: Something came in the way between the look and the deed: nothing was changed.
        EdgesAwaited: Likewise.
        UsageError: An edge that is not to be asked is not registered.
    """
    edges = {edge.node_id for edge in read_edges(store.connection)}
    for name in without:
        if name not in edges:
            raise click.UsageError(f"no edge {name} is registered")
    prospect = look_ahead(store.connection, customer_id)
    already = prospect.forgotten_at is not None
    if not already:
        found = [
            *prospect.obstacles,
            *_awaited(store),
            *waiting_at_edges(store, prospect, without=without, journals=journals),
        ]
        if found or not sure:
            return _report(prospect, "refused" if found else "preview", found, without)

        def work(tx: Transaction) -> Prospect:
            done = erase(tx, customer_id, len(store.shards))
            if done.forgotten_at is None:
                act = by_command("customer.forget", subject=customer_id, reason=reason)
                write_down(tx, msgspec.structs.replace(act, detail=dict(done.counts)), store.keys)
            return done

        prospect = store.run(work, alone=True)
    elif not sure:
        return _report(prospect, "preview", [], without, already=True)
    left = [clear_files(store.data_dir, erased_shards(store.connection, customer_id))]
    left += [clear_database(store.database)] if rewrite else []
    unfinished = [each for each in left if each]
    return msgspec.structs.replace(
        _report(
            prospect, "unfinished" if unfinished else "forgotten", [], without, already=already
        ),
        withdrawn=withdrawn(store.connection, customer_id),
        unfinished=unfinished,
    )


def waiting_at_edges(
    store: CoreStore,
    prospect: Prospect,
    *,
    without: Collection[str] = (),
    journals: PeerJournals | None = None,
) -> list[Obstacle]:
    """Ask every active edge for payments of a customer's accounts that the core has not decided yet."""
    tls = store.keys.certify(CORE_NODE_ID, SystemClock().now())
    asked = journals or PeerJournals(store.keys.node_secret, tls=tls)
    waiting: dict[str, str] = {}
    found = []
    for edge in read_edges(store.connection):
        if edge.status != "active" or edge.node_id in without:
            continue
        try:
            items = asyncio.run(asked.waiting(edge.node_id, edge.peer_url))
        except EdgeUnreachable:
            told = (
                f"edge {edge.node_id} does not answer: payments may wait there. Bring it back, or, if it is lost,"
                f" add --without-edge {edge.node_id}"
            )
            found.append(Obstacle(kind="edge_silent", detail=told))
            continue
        for item in items:
            if item.intent.account_id in prospect.account_ids:
                waiting.setdefault(item.intent.intent_id, edge.node_id)
    found += [
        Obstacle(
            kind="payment_waiting",
            detail=f"payment {intent_id} waits for the core at edge {node_id}: let it drain first",
        )
        for intent_id, node_id in waiting.items()
    ]
    return found


def _awaited(store: CoreStore) -> list[Obstacle]:
    told = "this core was restored and waits for edge {}, which may bring something of the customer back"
    return [
        Obstacle(kind="edges_awaited", detail=told.format(name))
        for name in awaited_edges(store.connection)
    ]


def _report(
    prospect: Prospect,
    result: str,
    obstacles: Sequence[Obstacle],
    skipped: Collection[str],
    *,
    already: bool = False,
) -> ForgetReport:
    return ForgetReport(
        result=result,
        customer_id=prospect.customer_id,
        account_ids=prospect.account_ids,
        counts=prospect.counts,
        obstacles=list(obstacles),
        already=already,
        skipped=sorted(skipped),
    )


def _told(report: ForgetReport) -> str:
    lines = []
    accounts = ", ".join(report.account_ids) or "none"
    if report.already:
        lines.append(f"customer {report.customer_id} was forgotten before; nothing more is known")
    else:
        lines.append(f"customer {report.customer_id}, accounts: {accounts}")
        lines += [f"  {table:<24}{count:>8}" for table, count in report.counts.items() if count]
    lines += [f"in the way: {each.detail}" for each in report.obstacles]
    lines += [f"not asked: edge {name}" for name in report.skipped]
    lines += [
        f"shard {each.shard}: {each.documents} documents withdrawn; an edge at seq {each.through} of epoch"
        f" {each.epoch} or beyond shows none of them (core edges list)"
        for each in report.withdrawn
    ]
    lines += [f"not finished: {each}" for each in report.unfinished]
    lines.append(_LAST[report.result])
    return "\n".join(lines)


_LAST = {
    "preview": "nothing was changed; --yes does it, and there is no way back",
    "refused": "nothing was changed",
    "forgotten": "forgotten. Backups and copies that you keep elsewhere are yours to remove",
    "unfinished": "forgotten in the books; run the same command again for the rest",
}
