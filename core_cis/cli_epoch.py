"""``core epoch``: which history of the books this is."""

from pathlib import Path

import click
import msgspec

from cache_sync.document_table import read_head
from cache_sync.publication import raise_epoch
from cache_sync.shards import FIRST_SHARD
from core_cis.audit import by_command, write_down
from core_cis.awaited_edges import await_every_edge, await_nobody, awaited_edges
from core_cis.backups import read_unheld, release_all
from core_cis.options import data_option, json_option, open_known_store


@click.group("epoch")
def epoch_group() -> None:
    """Tell or raise the epoch: every restore from a backup begins a new one."""


@epoch_group.command("show")
@data_option
@json_option
def show_command(data_dir: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Tell the epoch, how far its documents are, and whom a restored core waits for; all shards are in one epoch."""
    with open_known_store(data_dir) as store:
        heads = {shard: read_head(store.connection, shard) for shard in store.shards}
        awaited = awaited_edges(store.connection)
        unheld = read_unheld(store.connection)
    epoch, head = heads[FIRST_SHARD].epoch, heads[FIRST_SHARD].head
    if as_json:
        places = {shard: place.head for shard, place in heads.items()}
        told: dict[str, object] = {"epoch": epoch, "head": head, "heads": places}
        click.echo(msgspec.json.encode(told | {"awaited": awaited, "unheld": unheld}))
        return
    if len(heads) == 1:
        click.echo(f"epoch {epoch}, head {head}")
    else:
        click.echo(f"epoch {epoch}")
        for shard, place in heads.items():
            click.echo(f"shard {shard}, head {place.head}")
    for name in awaited:
        click.echo(f"awaited: edge {name} has not brought back yet what it keeps")
    for each in unheld:
        click.echo(
            f"restored from too old a backup: edge {each.node_id} has dropped what backup {each.mark} covers, and these"
            f" books do not hold that: restore {each.mark} or a later one"
        )


@epoch_group.command("raise")
@data_option
def raise_command(data_dir: Path) -> None:
    """
    Begin a new epoch, after a restore from a backup.

    Every edge then builds its snapshot anew beside the one it serves, and brings back what the core decided after the
    backup was made. Until all active edges have done so the core decides nothing new; `core epoch proceed` ends the
    wait for one that is lost. Reconcile afterwards.
    """
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        heads = [read_head(tx.connection, shard) for shard in store.shards]
        epoch = max(head.epoch for head in heads) + 1
        for shard in store.shards:
            raise_epoch(tx.connection, shard, epoch)
        write_down(tx, by_command("epoch.raise", epoch=epoch), store.keys)
        release_all(tx)
        awaited = await_every_edge(tx, epoch)
    click.echo(
        f"epoch {epoch} has begun; edges build anew. Then run: core reconcile, and core backup"
    )
    if awaited:
        click.echo(
            f"intents are decided again when these have brought back theirs: {', '.join(awaited)}"
        )


@epoch_group.command("proceed")
@data_option
def proceed_command(data_dir: Path) -> None:
    """
    Decide intents again although not every edge has brought back what it keeps of before the restore.

    For an edge that is lost or stays away. What only it kept is then missing; a customer who repeats such a payment
    under its key may be told otherwise than before. It can still be brought back later. Also for books that are older
    than what edges have dropped, when no later backup is left: `core reconcile` names the days that differ.
    """
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        awaited = await_nobody(tx)
        write_down(tx, by_command("epoch.proceed", awaited=len(awaited)), store.keys)
    if not awaited:
        click.echo("no edge is awaited")
    for name in awaited:
        click.echo(f"edge {name} is not waited for any more")
