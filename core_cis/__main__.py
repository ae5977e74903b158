"""``ridethrough core``: the system of record on the command line."""

import importlib
from pathlib import Path

import click

from cache_sync.shards import SHARDS_MAX
from core_cis.options import data_option, database_option, open_store, utility_options
from core_cis.settings import DEFAULT_HOST, DEFAULT_OPERATOR_PORT, DEFAULT_PORT, ServerSettings
from core_cis.snapshot_settings import SnapshotSettings
from failover.node_addresses import is_loopback

# Verbs that live elsewhere and are imported only when they are asked for: a command starts in a blink.
_ELSEWHERE = {
    "import": ("core_cis.cli_import", "import_group"),
    "audit": ("core_cis.cli_audit", "audit_group"),
    "drain": ("core_cis.cli_drain", "drain_group"),
    "bodies": ("core_cis.cli_bodies", "bodies_group"),
    "bill": ("core_cis.cli_bill", "bill_command"),
    "collections": ("core_cis.cli_collections", "collections_group"),
    "demo-data": ("core_cis.cli_demo_data", "demo_data_command"),
    "backup": ("core_cis.cli_backup", "backup_command"),
    "backups": ("core_cis.cli_backups", "backups_group"),
    "epoch": ("core_cis.cli_epoch", "epoch_group"),
    "edges": ("core_cis.cli_edges", "edges_group"),
    "forget": ("core_cis.cli_forget", "forget_command"),
    "limits": ("core_cis.cli_limits", "limits_group"),
    "tickets": ("core_cis.cli_tickets", "tickets_group"),
    "ledger": ("core_cis.cli_ledger", "ledger_command"),
    "set-password": ("core_cis.cli_set_password", "set_password_command"),
    "snapshot": ("core_cis.cli_snapshot", "snapshot_group"),
    "receipt": ("core_cis.cli_receipt", "receipt_group"),
    "reconcile": ("core_cis.cli_reconcile", "reconcile_command"),
}


class _CoreGroup(click.Group):
    """Finds commands in other modules when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, name = _ELSEWHERE[cmd_name]
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command), f"{name} is a command"
        return command


@click.group(cls=_CoreGroup)
@click.version_option(package_name="ridethrough", prog_name="ridethrough core")
def main() -> None:
    """Keep the utility's books: customers, meters, tariffs, bills, the ledger."""


@main.command("init")
@data_option
@database_option
@click.option(
    "--shards",
    type=click.IntRange(1, SHARDS_MAX),
    help="Into how many shards a new core parts its accounts, 1 by default; never changed afterwards.",
)
@utility_options
def init_command(
    data_dir: Path, database: str | None, shards: int | None, **utility: str | int | None
) -> None:
    """Make a core, or change the settings of one."""
    with open_store(data_dir, database, shards, **utility) as store:
        known = store.utility()
        where = "" if store.database.file else f" and {store.database.name}"
    click.echo(f"{known.name}: {known.timezone}, {known.currency}, in {data_dir}{where}")


@main.command("serve")
@data_option
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="The port; 0 for any.",
)
@click.option(
    "--tls",
    is_flag=True,
    help="Hear nodes only with certificates of the fleet; always so when --host is beyond this machine.",
)
@click.option(
    "--operator-port",
    type=click.IntRange(0, 65535),
    help=f"With TLS, the port of this machine where operators come in, {DEFAULT_OPERATOR_PORT} by default.",
)
@click.option(
    "--snapshot-hours",
    type=click.FloatRange(min=0),
    default=SnapshotSettings().hours,
    show_default=True,
    help="How often snapshot files are built, when documents have changed; 0 for never.",
)
@click.option(
    "--snapshot-documents",
    type=click.IntRange(min=0),
    default=SnapshotSettings().documents_min,
    show_default=True,
    help="From how many documents on: the feed of fewer is read as fast.",
)
@click.option(
    "--edge-away-days",
    type=click.FloatRange(min=0),
    default=ServerSettings().edge_away_days,
    show_default=True,
    help="How long deletes are kept for an edge that says nothing; later it has to begin anew.",
)
@click.option(
    "--tombstone-hours",
    type=click.FloatRange(min=0),
    default=ServerSettings().tombstone_hours,
    show_default=True,
    help="How long deletes are kept at least, for nodes that are beginning.",
)
@database_option
@utility_options
def serve_command(  # noqa: PLR0913, PLR0917 - one parameter an option
    data_dir: Path,
    database: str | None,
    host: str,
    port: int,
    tls: bool,  # noqa: FBT001 - click's flag
    operator_port: int | None,
    snapshot_hours: float,
    snapshot_documents: int,
    edge_away_days: float,
    tombstone_hours: float,
    **utility: str | int | None,
) -> None:
    """Serve feed, intake and operators until SIGTERM or Ctrl-C."""
    import asyncio  # noqa: PLC0415 - the other commands start without it

    from core_cis.errors import CoreBusy  # noqa: PLC0415 - likewise
    from core_cis.serving import Listening, serve_core  # noqa: PLC0415 - likewise, and litestar with it

    tls = tls or not is_loopback(host)
    if operator_port is not None and not tls:
        raise click.UsageError(
            "--operator-port is for a core with --tls: without, operators use --port"
        )
    with open_store(data_dir, database, **utility):
        pass
    try:
        snapshots = SnapshotSettings(hours=snapshot_hours, documents_min=snapshot_documents)
        limits = ServerSettings(edge_away_days=edge_away_days, tombstone_hours=tombstone_hours)
        listening = Listening(
            host=host,
            port=port,
            tls=tls,
            operator_port=DEFAULT_OPERATOR_PORT if operator_port is None else operator_port,
        )
        asyncio.run(serve_core(data_dir, listening, snapshots, limits))
    except (CoreBusy, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name="ridethrough core")
