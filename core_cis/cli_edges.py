"""``core edges``: the edges of the fleet."""

from pathlib import Path

import click
import msgspec

from cache_sync.document_table import ShardHead, read_head
from core_cis.audit import by_command, write_down
from core_cis.edge_places import EdgePlace, read_places
from core_cis.grants import grant_shards
from core_cis.keys import share_tokens
from core_cis.options import data_option, json_option, open_known_store
from core_cis.publishing import publish_everything_shown
from core_cis.registry import (
    Serving,
    add_edge,
    move_edge,
    read_edges,
    revoke_edge,
    write_edge_config,
)
from failover.node_config import ProcessorAccess


def _parse_shards(_: click.Context, __: click.Parameter, text: str) -> list[str]:
    shards = [shard.strip() for shard in text.split(",")] if text else []
    if not all(shard.isascii() and shard.isdigit() for shard in shards):
        raise click.BadParameter("name shards by number, separated by commas: 0,3")
    return shards


shards_option = click.option(
    "--shards",
    default="",
    metavar="0,3",
    callback=_parse_shards,
    help="The shards that it may read, separated by commas.",
)


@click.group("edges")
def edges_group() -> None:
    """Register edges, write their configuration, expel them."""


@edges_group.command("add")
@data_option
@click.argument("name")
@click.option(
    "--peer-url",
    required=True,
    metavar="URL",
    help="Where its siblings and the core reach its peer API.",
)
@click.option(
    "--feed-url", default="", metavar="URL", help="Where its siblings can ask it for documents."
)
@shards_option
def add_command(data_dir: Path, name: str, peer_url: str, feed_url: str, shards: list[str]) -> None:
    """Register an edge."""
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        add_edge(tx, name, peer_url, feed_url, shards=shards)
        write_down(tx, by_command("edges.add", subject=name), store.keys)
    click.echo(f"edge {name} is registered; write its configuration with: core edges config {name}")


@edges_group.command("grant")
@data_option
@click.argument("name")
@shards_option
@click.option("--all", "all_shards", is_flag=True, help="All that there are.")
def grant_command(
    data_dir: Path,
    name: str,
    shards: list[str],
    all_shards: bool,  # noqa: FBT001 - click's flag
) -> None:
    """Change which shards an edge may read; it is refused the others at once."""
    if all_shards == bool(shards):
        raise click.UsageError("give --shards or --all")
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        grant_shards(tx.connection, name, shards)
        write_down(
            tx, by_command("edges.grant", subject=name, shards=_readable(shards)), store.keys
        )
    click.echo(f"edge {name} may read {_readable(shards)}; write its configuration again")


@edges_group.command("move")
@data_option
@click.argument("name")
@click.option("--peer-url", metavar="URL", help="Its peer API's address from now on.")
@click.option("--feed-url", metavar="URL", help="Its feed's address from now on; '' for none.")
def move_command(data_dir: Path, name: str, peer_url: str | None, feed_url: str | None) -> None:
    """Change where an edge is reached; write its siblings' configuration again afterwards."""
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        move_edge(tx, name, peer_url=peer_url, feed_url=feed_url)
        write_down(tx, by_command("edges.move", subject=name), store.keys)
    click.echo(f"edge {name} has moved; write its siblings' configuration again, with --force")


@edges_group.command("config")
@data_option
@click.argument("name")
@click.option("--core-url", required=True, metavar="URL", help="Where the edge reaches the core.")
@click.option(
    "--peer", "peers", multiple=True, metavar="NAME=URL", help="Another address for a sibling."
)
@click.option(
    "--feed", "feeds", multiple=True, metavar="NAME=URL", help="Another address for its feed."
)
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="NAME",
    help="Whom it asks for documents, the preferred first; by default the core, then its siblings.",
)
@click.option(
    "--shard",
    "shards",
    multiple=True,
    metavar="SHARD",
    help="A shard that it holds; may be repeated. By default it holds all.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address it listens on.")
@click.option("--port", required=True, type=click.IntRange(0, 65535), help="Its customers' port.")
@click.option(
    "--peer-port", required=True, type=click.IntRange(0, 65535), help="Its siblings' port."
)
@click.option(
    "--feed-port",
    default=0,
    type=click.IntRange(0, 65535),
    help="Where it passes documents on to siblings; 0, the default, where it does not.",
)
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Web workers."
)
@click.option(
    "--normal-min-seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="The least time between two returns to normal.",
)
@click.option(
    "--secure-cookies/--insecure-cookies",
    default=None,
    help="Cookies for HTTPS only; by default only on a loopback address they are not.",
)
@click.option(
    "--processor",
    "processor_url",
    metavar="URL",
    help="Let it charge saved methods there while the core is away; only for an edge that card rules allow that.",
)
@click.option(
    "--processor-secret-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="On the edge's machine: the file with the processor account's key.",
)
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file."
)
@click.option(
    "--force", is_flag=True, help="Write it again, with new keys where the old ones are lost."
)
def config_command(  # noqa: PLR0913, PLR0917 - one parameter an option
    data_dir: Path,
    name: str,
    core_url: str,
    peers: tuple[str, ...],
    feeds: tuple[str, ...],
    upstreams: tuple[str, ...],
    shards: tuple[str, ...],
    host: str,
    port: int,
    peer_port: int,
    feed_port: int,
    workers: int,
    normal_min_seconds: float,
    processor_url: str | None,
    processor_secret_file: Path | None,
    out: Path,
    secure_cookies: bool | None,  # noqa: FBT001 - click's flag
    force: bool,  # noqa: FBT001 - click's flag
) -> None:
    """Write the file that an edge is started with; it holds its keys, so only its owner may read it."""
    if (processor_url is None) != (processor_secret_file is None):
        raise click.UsageError("--processor and --processor-secret-file belong together")
    made = processor_url is not None and _share_tokens(data_dir)
    loopback = host in {"127.0.0.1", "::1", "localhost"}
    serving = Serving(
        core_url=core_url,
        host=host,
        port=port,
        peer_port=peer_port,
        feed_port=feed_port,
        workers=workers,
        peer_urls=dict(_name_and_url(peer, "--peer") for peer in peers),
        feed_urls=dict(_name_and_url(feed, "--feed") for feed in feeds),
        upstreams=upstreams,
        held_shards=shards,
        normal_min_seconds=normal_min_seconds,
        insecure_cookies=loopback if secure_cookies is None else not secure_cookies,
    )
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        if processor_url is not None:
            access = ProcessorAccess(
                url=processor_url,
                secret_file=str(processor_secret_file),
                token_key=store.keys.token_key,
            )
            serving = msgspec.structs.replace(serving, processor=access)
        write_edge_config(tx, name, serving, out, keys=store.keys, force=force)
        if made:
            publish_everything_shown(tx)
        write_down(tx, by_command("edges.config", subject=name, again=int(force)), store.keys)
    click.echo(f"wrote {out}")
    if made:
        click.echo("tokens are published from now on, sealed: start a serving core anew")


@edges_group.command("list")
@data_option
@json_option
def list_command(data_dir: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """List the registered edges, and how far each holds every shard for good, as it last said."""
    with open_known_store(data_dir) as store:
        edges = read_edges(store.connection)
        places = read_places(store.connection)
        heads = {shard: read_head(store.connection, shard) for shard in store.shards}
    if as_json:
        rows = [
            msgspec.structs.asdict(edge) | {"places": places.get(edge.node_id, [])}
            for edge in edges
        ]
        click.echo(msgspec.json.encode(rows))
        return
    for edge in edges:
        click.echo(f"{edge.node_id:<20} {edge.status:<8} {edge.peer_url}")
        if edge.status == "active":
            click.echo(f"    may read {_readable(edge.shards)}")
            for line in _holdings(places.get(edge.node_id, []), heads):
                click.echo(f"    {line}")


@edges_group.command("revoke")
@data_option
@click.argument("name")
def revoke_command(data_dir: Path, name: str) -> None:
    """Expel an edge; what it accepted before is still posted when a sibling brings it."""
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        revoke_edge(tx, name)
        write_down(tx, by_command("edges.revoke", subject=name), store.keys)
    click.echo(f"edge {name} is revoked")


def _readable(shards: list[str]) -> str:
    return f"shards {', '.join(shards)}" if shards else "all shards"


def _holdings(places: list[EdgePlace], heads: dict[str, ShardHead]) -> list[str]:
    if not places:
        return ["has not said yet what it holds"]
    lines = []
    for place in places:
        head = heads.get(place.shard)
        said = place.reported_at.isoformat(timespec="seconds")
        place_ = f"shard {place.shard}: epoch {place.epoch}, seq {place.seq}"
        if head is None or place.epoch != head.epoch:
            told = "of another epoch: it begins anew"
        elif place.seq < head.floor:
            told = f"below the floor {head.floor}: it begins anew"
        else:
            told = f"of {head.head}"
        lines.append(f"{place_} {told}; said at {said}")
    return lines


def _share_tokens(data_dir: Path) -> bool:
    # Looked at first: a mistyped folder must not become a core.
    with open_known_store(data_dir):
        pass
    return share_tokens(data_dir)


def _name_and_url(text: str, option: str) -> tuple[str, str]:
    name, separator, url = text.partition("=")
    if not separator or not url:
        raise click.BadParameter(f"{text!r} is not NAME=URL", param_hint=option)
    return name, url
