"""``core drain``: hold the drain, let it go on, bound its pace."""

from pathlib import Path

import click
import msgspec

from core_cis.audit import by_command, write_down
from core_cis.drain_orders import FLEET, PACE_MAX, DrainOrder, give_order, read_orders
from core_cis.options import data_option, json_option, open_known_store

_edge_option = click.option("--edge", default=FLEET, metavar="NAME", help="One edge; else all.")
_reason_option = click.option("--reason", required=True, help="Why, for the audit log.")


@click.group("drain")
def drain_group() -> None:
    """Order how queued payments come in; a serving core follows at once, and after every restart."""


@drain_group.command("show")
@data_option
@json_option
def show_command(data_dir: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Show the orders in force."""
    with open_known_store(data_dir) as store:
        orders = read_orders(store.connection)
    if as_json:
        click.echo(msgspec.json.encode(orders.given))
        return
    for name, order in sorted(orders.given.items()) or [(FLEET, DrainOrder())]:
        pace = f"at most {order.pace} a second" if order.pace else "at the core's own pace"
        click.echo(f"{name or 'all edges':<20} {'held' if order.held else 'draining'}, {pace}")


@drain_group.command("hold")
@data_option
@_edge_option
@_reason_option
def hold_command(data_dir: Path, edge: str, reason: str) -> None:
    """Take no queued payment until `core drain resume`; payments made now are still posted at once."""
    _change(data_dir, edge, "drain.hold", reason, held=True)


@drain_group.command("resume")
@data_option
@_edge_option
@_reason_option
def resume_command(data_dir: Path, edge: str, reason: str) -> None:
    """Take queued payments again."""
    _change(data_dir, edge, "drain.resume", reason, held=False)


@drain_group.command("pace")
@data_option
@_edge_option
@_reason_option
@click.option(
    "--per-second", type=click.IntRange(1, PACE_MAX), help="The most; none: the core's own pace."
)
def pace_command(data_dir: Path, edge: str, reason: str, per_second: int | None) -> None:
    """Bound how many queued payments a second are taken."""
    _change(data_dir, edge, "drain.pace", reason, pace=per_second)


def _change(
    data_dir: Path, edge: str, action: str, reason: str, **changes: bool | int | None
) -> None:
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        order = msgspec.structs.replace(read_orders(tx.connection).of(edge), **changes)
        give_order(tx, edge, order)
        act = by_command(action, subject=edge, reason=reason)
        act = msgspec.structs.replace(act, detail={"held": int(order.held), "pace": order.pace})
        write_down(tx, act, store.keys)
    click.echo(f"{edge or 'all edges'}: {'held' if order.held else 'draining'}")
