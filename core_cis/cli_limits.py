"""``core limits``: what edges may take while the core is away."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from core_cis.audit import by_command, write_down
from core_cis.errors import LimitInvalid
from core_cis.options import data_option, json_option, open_known_store
from core_cis.standin_limits import ACTION, LimitsInForce, read_limits, set_limits
from core_cis.standin_shares import EdgeShare, read_shares
from core_cis.store import CoreStore

_NO_METHODS: Final = "none"


class _Shown(msgspec.Struct, frozen=True):
    in_force: LimitsInForce
    shares: list[EdgeShare]


@click.group("limits")
def limits_group() -> None:
    """Show and set the stand-in limits; edges follow within a second, and go on without the core."""


@limits_group.command("show")
@data_option
@json_option
def show_command(data_dir: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Show the limits in force, and what each edge owns of the total."""
    with open_known_store(data_dir) as store:
        _show(store, as_json=as_json)


@limits_group.command("set")
@data_option
@json_option
@click.option("--reason", required=True, help="Why, for the audit log.")
@click.option("--per-payment-cents", type=int, help="One payment, minor units.")
@click.option("--account-day-count", type=int, help="Payments of one account in 24 hours.")
@click.option("--account-day-cents", type=int, help="Their sum, minor units.")
@click.option("--edge-outstanding-cents", type=int, help="The most that one edge may own.")
@click.option("--fleet-outstanding-cents", type=int, help="All edges together.")
@click.option("--snapshot-age-seconds", type=int, help="How old a snapshot may be.")
@click.option("--outage-seconds", type=int, help="How long an outage may last.")
@click.option(
    "--method-types",
    metavar="card,bank_account",
    help=f"Which verified methods may be used, separated by commas, or {_NO_METHODS!r}.",
)
def set_command(
    data_dir: Path,
    as_json: bool,  # noqa: FBT001 - click's flag
    reason: str,
    method_types: str | None,
    **numbers: int | None,
) -> None:
    """Change limits; those that are not named stay as they are."""
    asked: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    if method_types is not None:
        asked["method_types"] = [] if method_types == _NO_METHODS else method_types.split(",")
    if not reason.strip():
        raise click.BadParameter("say why", param_hint="--reason")
    if not asked:
        raise click.UsageError("name a limit to change")
    with open_known_store(data_dir) as store:
        with store.transaction(alone=True) as tx:
            try:
                limits = read_limits(tx.connection).limits.changed(asked)
            except LimitInvalid as error:
                option = error.field.replace("_", "-")
                raise click.BadParameter(error.rule, param_hint=f"--{option}") from error
            act = by_command(ACTION, reason=reason)
            act = msgspec.structs.replace(act, detail=set_limits(tx, limits).told())
            write_down(tx, act, store.keys)
        _show(store, as_json=as_json)


def _show(store: CoreStore, *, as_json: bool) -> None:
    with store.reading() as connection:
        shown = _Shown(read_limits(connection), read_shares(connection))
    if as_json:
        click.echo(msgspec.json.encode(shown))
        return
    found = shown.in_force
    click.echo(
        f"order {found.version}; each of {found.edges} edges is to own {found.share_cents} cents of the total"
        if found.version
        else "no order: edges follow their own files, which begin with"
    )
    for name, value in msgspec.structs.asdict(found.limits).items():
        click.echo(f"{name:<26} {', '.join(value) if isinstance(value, tuple) else value}")
    for share in shown.shares if found.version else []:
        click.echo(
            f"edge {share.node_id}: told {share.share_cents} of order {share.version}, {share.counted_cents} count"
        )
