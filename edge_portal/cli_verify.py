"""``edge verify``: does this node hold what the node above it holds?"""

import asyncio
from pathlib import Path
from typing import Final

import click
import msgspec

from cache_sync.clock import SystemClock
from cache_sync.errors import SyncError
from cache_sync.replica_reader import ReplicaReader
from cache_sync.verification import VerificationReport
from edge_portal.cli_keys import fitting_keys, key_file_option
from edge_portal.digest_client import digest_sources
from edge_portal.errors import ConfigError
from edge_portal.held_shards import held_shards, snapshot_folder
from edge_portal.links import Links
from edge_portal.options import data_option, json_option
from edge_portal.settings import EdgeSettings, load_settings
from edge_portal.verifier import (
    VerifiedShard,
    order_verification,
    read_verifications,
    verify_shard,
)

LOOK_SECONDS: Final = 0.5
SHOWN_MAX: Final = 50


@click.command("verify")
@click.option(
    "--config",
    "config_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The edge's configuration.",
)
@data_option
@key_file_option
@click.option("--repair", is_flag=True, help="Have the running edge put right what differs.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(1),
    default=3600.0,
    show_default=True,
    help="How many seconds to wait for a repair.",
)
@json_option
def verify_command(
    config_file: Path,
    data: Path,
    key_file: Path | None,
    repair: bool,  # noqa: FBT001 - click's flag
    wait_seconds: float,
    as_json: bool,  # noqa: FBT001 - click's flag
) -> None:
    """
    Compare every document with the core's, or with a sibling's while the core is down, and print what differs.

    Exits with 1 when something differs or could not be compared. Safe at any time: the edge goes on serving.
    """
    try:
        settings = load_settings(config_file, data, file_keys=fitting_keys(data, key_file))
        reports = asyncio.run(_repaired(settings, wait_seconds) if repair else _compared(settings))
    except (ConfigError, SyncError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{data}: {error.strerror}") from error
    if as_json:
        click.echo(msgspec.json.encode({"items": reports}))
    else:
        for report in reports:
            _print(report)
    if not reports or not all(report.clean for report in reports):
        raise SystemExit(1)


async def _compared(settings: EdgeSettings) -> list[VerificationReport]:
    clock = SystemClock()
    sources = digest_sources(Links(settings.config, settings.paths.data))
    try:
        return [
            await verify_shard(
                shard,
                VerifiedShard(
                    ReplicaReader(folder, clock=clock, keys=settings.file_keys).read, None
                ),
                sources,
                clock=clock,
            )
            for shard in held_shards(settings.config)
            for folder in [snapshot_folder(settings, shard)]
        ]
    finally:
        for source in sources:
            await source.close()


async def _repaired(settings: EdgeSettings, wait_seconds: float) -> list[VerificationReport]:
    clock = SystemClock()
    order = order_verification(settings.paths.verification_order)
    deadline = clock.boot_seconds() + wait_seconds
    while clock.boot_seconds() < deadline:
        kept = read_verifications(settings.paths.verifications)
        if kept.order >= order:
            return list(kept.reports.values())
        await clock.sleep(LOOK_SECONDS)
    raise ConfigError(
        f"the edge has not compared within {wait_seconds:.0f} s: does it run? The order stands"
    )


def _print(report: VerificationReport) -> None:
    click.echo(
        f"shard {report.shard}: {report.compared_rows} documents compared with {report.upstream}"
        f" at {report.epoch}.{report.cursor}"
    )
    for one in report.divergences[:SHOWN_MAX]:
        click.echo(
            f"  {one.difference:<9} {one.account_id} {one.kind} {one.key}"
            f"  (seq {one.seq} here, {one.seq_above} there)"
        )
    unnamed = report.divergent_rows - len(report.divergences[:SHOWN_MAX])
    if unnamed > 0:
        click.echo(f"  and {unnamed} more")
    for count, what in (
        (report.divergent_rows, "differ"),
        (report.repaired_rows, "put right"),
        (report.damaged_above, f"damaged at {report.upstream}: see to that node first"),
        (report.skipped_ranges, "ranges could not be compared now: run it again"),
    ):
        if count:
            click.echo(f"  {count} {what}")
    if report.stopped:
        click.echo(f"  stopped: {report.stopped}")
    click.echo("  equal" if report.clean else "  NOT equal")
