"""``edge``: a portal node. ``serve`` runs one, ``status`` and ``queue`` tell how it is, also while it is down."""

from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from cache_sync.clock import SystemClock
from cache_sync.file_keys import FileKeys
from cache_sync.replica_reader import ReplicaReader
from edge_portal.cli_breaker import breaker_group
from edge_portal.cli_keys import fitting_keys, key_command, key_file_option, rekey_command
from edge_portal.cli_verify import verify_command
from edge_portal.errors import ConfigError
from edge_portal.given_keys import given_keys
from edge_portal.mode_order import ModeOrder, give_order
from edge_portal.node_status import BreakerOrderStatus, EdgeStatus, NodeStatus
from edge_portal.options import data_option, json_option
from edge_portal.settings import EdgePaths, load_settings
from edge_portal.supervisor import Supervisor
from failover.errors import JournalError
from failover.intent_states import UNDECIDED
from failover.journal_reader import JournalReader
from failover.logs import configure_logs
from failover.mode_lease import LeaseReader
from failover.peer_messages import RecordedIntent
from failover.sibling_news import NewsReader


@click.group("edge")
def main() -> None:
    """Run and inspect an edge: the portal that outlives the core."""


@main.command("serve")
@click.option(
    "--config",
    "config_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Its configuration, as written by: core edges config.",
)
@data_option
@click.option("--port", type=click.IntRange(0, 65535), help="Replaces the configured port.")
@click.option("--workers", type=click.IntRange(1, 64), help="Replaces the configured number.")
@key_file_option
def serve_command(
    config_file: Path,
    data: Path,
    port: int | None,
    workers: int | None,
    key_file: Path | None,
) -> None:
    """Serve customers until Ctrl-C or SIGTERM."""
    configure_logs("supervisor")
    try:
        settings = load_settings(
            config_file, data, port=port, workers=workers, file_keys=given_keys(key_file)
        )
        Supervisor(settings, config_file, clock=SystemClock()).run()
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


@main.command("status")
@data_option
@key_file_option
@json_option
def status_command(data: Path, key_file: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Tell mode, age, queue, breaker and processes."""
    try:
        status = read_status(data, fitting_keys(data, key_file))
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(status))
        return
    lag = "none" if status.lag_seconds is None else f"{status.lag_seconds:.1f} s"
    click.echo(f"mode       {status.mode} ({status.reason})")
    click.echo(f"as of      {status.as_of or 'no snapshot'}")
    click.echo(f"age        {'at least ' if status.lag_at_least else ''}{lag}")
    click.echo(f"feed       {status.feed} {status.feed_reason}".rstrip())
    click.echo(f"breaker    {status.breaker}{_held_by(status.breaker_order)}")
    click.echo(
        f"queue      {status.queue.pending} pending, {status.queue.amount} in minor units, "
        f"oldest {status.queue.oldest_seconds:.1f} s, {status.queue.parked} parked"
    )
    click.echo(f"keys       {', '.join(status.keys.held) or 'none: files lie plain'}")
    for process in status.processes:
        click.echo(f"process    {process.name} {process.pid}, restarted {process.restarts} times")


@main.command("mode")
@data_option
@click.argument("order", type=click.Choice(["degraded", "automatic"]))
def mode_command(data: Path, order: Literal["degraded", "automatic"]) -> None:
    """
    Order the mode: `degraded` before planned maintenance of the core, `automatic` after it.

    Reads and payments go on; customers see the banner and the limits of an outage. It holds over restarts.
    """
    paths = EdgePaths(data.absolute())
    if not paths.data.is_dir():
        raise click.ClickException(f"{data} is no edge's data folder")
    try:
        give_order(paths.mode_order, ModeOrder(order))
    except OSError as error:
        raise click.ClickException(f"{paths.mode_order}: {error.strerror}") from error
    click.echo(f"ordered: {order}")


@main.command("queue")
@data_option
@key_file_option
@json_option
def queue_command(data: Path, key_file: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """List the payments that wait for the core: own ones, and copies held for siblings."""
    try:
        keys = fitting_keys(data, key_file)
        waiting = read_queue(JournalReader(EdgePaths(data.absolute()).journal, keys=keys))
    except (ConfigError, JournalError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode({"items": [_row(item) for item in waiting]}))
        return
    for item in waiting:
        intent = item.intent
        held = ",".join(item.confirmed) or "no second copy"
        click.echo(
            f"{intent.intent_id}  {item.source:<6}  {intent.amount_cents:>9} {intent.currency}  "
            f"{intent.accepted_at.isoformat(timespec='seconds')}  {item.state:<8}  {held}"
        )
    click.echo(f"{len(waiting)} waiting")


main.add_command(breaker_group)
main.add_command(verify_command)
main.add_command(key_command)
main.add_command(rekey_command)


def read_status(data: Path, keys: FileKeys) -> EdgeStatus:
    """Read how an edge is from its data folder, whose files are under these keys."""
    clock, paths = SystemClock(), EdgePaths(data.absolute())
    return NodeStatus(
        data.name,
        paths,
        lease=LeaseReader(paths.lease, clock),
        snapshot=ReplicaReader(paths.snapshot, clock=clock, keys=keys),
        clock=clock,
        journal=JournalReader(paths.journal, keys=keys),
        keys=keys,
        siblings=NewsReader(paths.sibling_news, clock=clock),
    ).read()


def read_queue(reader: JournalReader) -> list[RecordedIntent]:
    """Return what the journal holds undecided, in the order of recording."""
    waiting: list[RecordedIntent] = []
    sources: tuple[Any, ...] = ("own", "copies")
    for source in sources:
        after: int | None = 0
        while after is not None:
            page = reader.page(source, after=after)
            waiting += [item for item in page.items if item.state in UNDECIDED]
            after = page.next_after
    return waiting


def _held_by(order: BreakerOrderStatus | None) -> str:
    if order is None:
        return ""
    until = f" until {order.ends_at.isoformat(timespec='seconds')}" if order.ends_at else ""
    given = order.given_at.isoformat(timespec="seconds")
    return f", held {order.breaker}{until}: {order.reason} ({order.by}, {given})"


def _row(item: RecordedIntent) -> dict[str, Any]:
    intent = item.intent
    return {
        "id": intent.intent_id,
        "source": item.source,
        "edge_id": intent.edge_id,
        "account_id": intent.account_id,
        "amount": intent.amount_cents,
        "currency": intent.currency,
        "accepted_at": intent.accepted_at,
        "state": item.state,
        "offered_core": item.offered_core,
        "witnesses": item.witnesses,
        "confirmed": item.confirmed,
    }


if __name__ == "__main__":
    main(prog_name="ridethrough edge")
