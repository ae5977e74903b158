"""``core snapshot``: the files that nodes begin with."""

import asyncio
import ctypes
import os
import random
import signal
import sys
from pathlib import Path

import click
import msgspec

from cache_sync.clock import SystemClock
from cache_sync.errors import SnapshotRefused, SyncError
from cache_sync.snapshot_file import CHUNK_BYTES, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, trusting
from cache_sync.snapshot_file_cut import check_file
from cache_sync.snapshot_file_shelf import Shelved
from core_cis.errors import CoreError
from core_cis.keys import load_keys
from core_cis.options import data_option, json_option, open_known_store
from core_cis.snapshot_builder import build_snapshot, building
from core_cis.snapshot_shelves import is_of_history, shelf_of
from failover.logs import configure_logs
from failover.node_config import CORE_NODE_ID
from failover.signing import is_signed

_PR_SET_PDEATHSIG = 1
_NICENESS = 10

shard_option = click.option(
    "--shard", "wanted", default="", metavar="SHARD", help="One shard; all when it is not said."
)


@click.group("snapshot")
def snapshot_group() -> None:
    """Build, list and check the snapshot files that new nodes begin with."""


@snapshot_group.command("build")
@data_option
@shard_option
@click.option(
    "--chunk-bytes",
    type=click.IntRange(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
    default=CHUNK_BYTES,
    show_default=True,
    help="What is hashed and fetched at once.",
)
@click.option("--parent", type=int, hidden=True, help="The core that waits for it.")
@json_option
def build_command(
    data_dir: Path,
    wanted: str,
    chunk_bytes: int,
    parent: int | None,
    as_json: bool,  # noqa: FBT001 - click's flag
) -> None:
    """Build the next file of every shard, beside a core that serves or not; the newest two are kept."""
    configure_logs("snapshot")
    if parent is not None:
        _give_way_to(parent)
    built = []
    try:
        with building(data_dir):
            for shard in _shards(data_dir, wanted):
                shelved = asyncio.run(
                    build_snapshot(
                        data_dir,
                        shard,
                        clock=SystemClock(),
                        rng=random.Random(int.from_bytes(os.urandom(8), "big")),  # noqa: S311 - names, jitter
                        chunk_bytes=chunk_bytes,
                    )
                )
                built.append(shelved)
                if not as_json:
                    click.echo(_line(shelved, ""))
    except (CoreError, SyncError) as error:
        raise click.ClickException(f"no snapshot file was built: {error}") from error
    if as_json:
        click.echo(msgspec.json.encode({"items": [_row(shelved) for shelved in built]}))


@snapshot_group.command("list")
@data_option
@shard_option
@json_option
def list_command(data_dir: Path, wanted: str, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """List the files, the furthest first, and whether they are offered."""
    found = _found(data_dir, wanted)
    if as_json:
        rows = [_row(shelved) | {"offered": offered} for shelved, offered in found]
        click.echo(msgspec.json.encode({"items": rows}))
        return
    for shelved, offered in found:
        click.echo(_line(shelved, "" if offered else "  not of this history: not offered"))
    if not found:
        click.echo("no snapshot files")


@snapshot_group.command("verify")
@data_option
@shard_option
@json_option
def verify_command(data_dir: Path, wanted: str, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """
    Check every byte of the files, their signatures, and their rows against what they say.

    Ends with code 1 when one is wrong. Remove a wrong file; edges refuse it anyway and read the feed.
    """
    keys = load_keys(data_dir)
    check = trusting({CORE_NODE_ID: keys.public_key}, is_signed)
    results = []
    for shelved, _ in _found(data_dir, wanted):
        wrong = ""
        try:
            check_file(shelved, check)
        except SnapshotRefused as error:
            wrong = error.reason
        except SyncError as error:
            wrong = str(error)
        results.append((shelved, wrong))
        if not as_json:
            click.echo(_line(shelved, f"  {wrong or 'good'}"))
    if as_json:
        rows = [_row(shelved) | {"wrong": wrong} for shelved, wrong in results]
        click.echo(msgspec.json.encode({"items": rows}))
    elif not results:
        click.echo("no snapshot files")
    if any(wrong for _, wrong in results):
        sys.exit(1)


def _shards(data_dir: Path, wanted: str) -> list[str]:
    with open_known_store(data_dir) as store:
        shards = store.shards
    if wanted and wanted not in shards:
        raise click.UsageError(f"this core has no shard {wanted!r}")
    return [wanted] if wanted else shards


def _found(data_dir: Path, wanted: str) -> list[tuple[Shelved, bool]]:
    with open_known_store(data_dir) as store:
        if wanted and wanted not in store.shards:
            raise click.UsageError(f"this core has no shard {wanted!r}")
        return [
            (shelved, is_of_history(store.connection, shelved.manifest))
            for shard in ([wanted] if wanted else store.shards)
            for shelved in shelf_of(data_dir, shard).files()
        ]


def _row(shelved: Shelved) -> dict[str, object]:
    manifest = shelved.manifest
    return {
        "file": str(shelved.path),
        "shard": manifest.shard,
        "epoch": manifest.epoch,
        "seq": manifest.seq,
        "rows": manifest.rows,
        "bytes": manifest.file_bytes,
        "as_of": manifest.as_of,
        "sha256": manifest.sha256,
    }


def _line(shelved: Shelved, told: str) -> str:
    manifest = shelved.manifest
    as_of = manifest.as_of.isoformat(timespec="seconds")
    return (
        f"shard {manifest.shard}  epoch {manifest.epoch}  seq {manifest.seq}  {manifest.rows} rows  "
        f"{manifest.file_bytes} bytes  as of {as_of}  {shelved.path.name}{told}"
    )


def _give_way_to(parent: int) -> None:
    """End with the core that waits for this, and let everything else run first."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It ended before the kernel knew.
        sys.exit(1)
    os.nice(_NICENESS)
