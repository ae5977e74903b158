"""``core epoch``: which history of the books this is."""

from pathlib import Path

import click
import msgspec

from cache_sync.document_table import read_head
from cache_sync.publication import raise_epoch
from cache_sync.shards import FIRST_SHARD
from core_cis.audit import by_command, write_down
from core_cis.options import data_option, json_option, open_known_store


@click.group("epoch")
def epoch_group() -> None:
    """Tell or raise the epoch: every restore from a backup begins a new one."""


@epoch_group.command("show")
@data_option
@json_option
def show_command(data_dir: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Tell the epoch and how far its documents are; all shards are in the same epoch."""
    with open_known_store(data_dir) as store:
        heads = {shard: read_head(store.connection, shard) for shard in store.shards}
    epoch, head = heads[FIRST_SHARD].epoch, heads[FIRST_SHARD].head
    if as_json:
        places = {shard: place.head for shard, place in heads.items()}
        click.echo(msgspec.json.encode({"epoch": epoch, "head": head, "heads": places}))
        return
    if len(heads) == 1:
        click.echo(f"epoch {epoch}, head {head}")
        return
    click.echo(f"epoch {epoch}")
    for shard, place in heads.items():
        click.echo(f"shard {shard}, head {place.head}")


@epoch_group.command("raise")
@data_option
def raise_command(data_dir: Path) -> None:
    """
    Begin a new epoch, after a restore from a backup.

    Every edge then builds its snapshot anew beside the one it serves. Reconcile afterwards: payments that were posted
    after the backup was made are named.
    """
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        heads = [read_head(tx.connection, shard) for shard in store.shards]
        epoch = max(head.epoch for head in heads) + 1
        for shard in store.shards:
            raise_epoch(tx.connection, shard, epoch)
        write_down(tx, by_command("epoch.raise", epoch=epoch), store.keys)
    click.echo(f"epoch {epoch} has begun; edges build anew. Then run: core reconcile")
