"""``core bodies``: in which versions the core writes what it publishes, and who can read it."""

from pathlib import Path

import click
import msgspec

from cache_sync.documents import KNOWN_VERSIONS
from core_cis.audit import by_command, write_down
from core_cis.options import data_option, json_option, open_known_store
from core_cis.republishing import republish
from core_cis.written_versions import (
    Unready,
    order_versions,
    read_reads,
    read_written,
    who_cannot_read,
)

kind_argument = click.argument("kind", type=click.Choice(sorted(KNOWN_VERSIONS)))


@click.group("bodies")
def bodies_group() -> None:
    """Choose in which versions documents are written while a fleet is upgraded."""


@bodies_group.command("list")
@data_option
@json_option
def list_command(data_dir: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """List the kinds of bodies: what is written, what this release could write, and which edges cannot read it."""
    with open_known_store(data_dir) as store:
        written, reads = read_written(store.connection), read_reads(store.connection)
    rows = [
        {
            "kind": kind,
            "written": written[kind],
            "newest": newest,
            "cannot_read_written": who_cannot_read(reads, kind, written[kind]),
            "cannot_read_newest": who_cannot_read(reads, kind, newest),
        }
        for kind, newest in sorted(KNOWN_VERSIONS.items())
    ]
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    for kind, newest in sorted(KNOWN_VERSIONS.items()):
        click.echo(f"{kind:<12} written {written[kind]}, newest {newest}")
        for version in sorted({written[kind], newest}):
            for edge in who_cannot_read(reads, kind, version):
                click.echo(f"    {_told(edge, version)}")


@bodies_group.command("write")
@data_option
@kind_argument
@click.argument("version", type=click.IntRange(min=1))
@click.option("--reason", required=True, help="Why, for the audit log.")
@click.option(
    "--force", is_flag=True, help="Although active edges do not read it: they stop applying."
)
def write_command(
    data_dir: Path,
    kind: str,
    version: int,
    reason: str,
    force: bool,  # noqa: FBT001 - click's flag
) -> None:
    """
    Write a kind of bodies in another version from now on; a serving core follows at once.

    What is published already stays as it is until it changes: `core bodies republish` writes it again.
    """
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        unready = order_versions(tx.connection, {kind: version}, force=force)
        act = by_command(
            "bodies.write", subject=kind, reason=reason, version=version, force=int(force)
        )
        write_down(tx, act, store.keys)
    click.echo(f"{kind} documents are written in version {version} from now on")
    for edge in unready.get(kind, []):
        click.echo(f"    {_told(edge, version)}", err=True)


@bodies_group.command("republish")
@data_option
@kind_argument
def republish_command(data_dir: Path, kind: str) -> None:
    """Write the published documents of a kind again that are of another version than the one written now."""
    with open_known_store(data_dir) as store:
        count = republish(store, kind)
    click.echo(f"{count} {kind} documents were written again")


def _told(edge: Unready, version: int) -> str:
    if edge.reads is None:
        return f"edge {edge.node_id} has not said that it reads version {version}"
    return f"edge {edge.node_id} reads up to version {edge.reads} only, not {version}"
