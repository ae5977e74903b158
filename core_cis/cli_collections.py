"""``core collections``: late fees, past-due notices, disconnection notices and orders, and the terms of them."""

import math
from datetime import date
from pathlib import Path
from typing import Final

import click
import msgspec

from cache_sync.clock import SystemClock
from core_cis.audit import by_command, write_down
from core_cis.cli_ledger import money
from core_cis.collection_edges import hear_edges
from core_cis.collection_records import TakenStep, read_steps
from core_cis.collection_run import CollectionReport, Order, run_collections
from core_cis.collection_terms import TermsInForce, changed, read_terms, set_terms, told
from core_cis.domain.collecting import STEPS, Moratorium, Step, Terms
from core_cis.errors import CollectionRefused
from core_cis.instants import local_date
from core_cis.options import data_option, json_option, open_known_store
from core_cis.peer_journals import PeerJournals
from core_cis.registry import read_edges
from core_cis.store import CoreStore
from failover.node_config import CORE_NODE_ID

EXIT_WAITING: Final = 3
_WORDS: Final[dict[Step, str]] = {
    "late_fee": "late fee",
    "past_due_notice": "past-due notice",
    "disconnection_notice": "disconnection notice",
    "disconnection_order": "disconnection order",
}
_REASONS: Final = {
    "edge_silent": "edge {} does not answer: payments may wait there",
    "edge_expelled": "edge {} was revoked after the bill was out and does not answer",
    "edge_not_past": "edge {} answered too early: run it again in a few minutes",
    "edge_awaited": "this core was restored and waits for edge {}",
    "payment_waiting": "a payment of the account waits at edge {}",
    "case_open": "a payment of the account is under review as {}",
}
_DAY = click.DateTime(["%Y-%m-%d"])


@click.group("collections")
def collections_group() -> None:
    """Charge late fees, note past-due notices, list disconnections; only once all payments made in time are in."""


@collections_group.command("run")
@data_option
@json_option
@click.option("--as-of", type=_DAY, help="The day to decide as of. Default: today.")
@click.option(
    "--step",
    "steps",
    multiple=True,
    type=click.Choice(STEPS),
    help="Only this step; may be repeated.",
)
@click.option("--account", "accounts", multiple=True, help="Only this account; may be repeated.")
@click.option(
    "--without-edge",
    "without",
    multiple=True,
    metavar="NAME",
    help="Decide without this edge's word, such as one that is lost; needs --reason. May be repeated.",
)
@click.option("--reason", default="", help="Why, for the audit log.")
def run_command(
    data_dir: Path,
    as_json: bool,  # noqa: FBT001 - click's flag
    as_of: object,
    steps: tuple[Step, ...],
    accounts: tuple[str, ...],
    without: tuple[str, ...],
    reason: str,
) -> None:
    """
    Take every step whose time has come; run it as often as you like, each is taken once.

    An account waits while an edge has not reported that nothing of it is queued there. Exits with 3 when one does.
    """
    with open_known_store(data_dir) as store:
        today = local_date(SystemClock().now(), store.utility().timezone)
        day = date.fromisoformat(str(as_of)[:10]) if as_of else today
        if day > today:
            raise click.BadParameter(f"{day} has not come yet", param_hint="--as-of")
        report = collect(
            store,
            day,
            steps=steps or STEPS,
            accounts=accounts or None,
            without=without,
            reason=reason,
        )
    click.echo(msgspec.json.encode(report) if as_json else _told(report))
    if report.result == "waiting":
        raise SystemExit(EXIT_WAITING)


def collect(
    store: CoreStore,
    as_of: date,
    *,
    steps: tuple[Step, ...] = STEPS,
    accounts: tuple[str, ...] | None = None,
    without: tuple[str, ...] = (),
    reason: str = "",
    journals: PeerJournals | None = None,
) -> CollectionReport:
    """
    Ask the edges, then decide; an override is in the audit log before anything is decided by it.

    Raises:
        CollectionRefused: No terms were set.
        UnknownAccount: One of the accounts does not exist.
        UsageError: An edge to do without is not registered, or nobody says why.
    """
    in_force = read_terms(store.connection)
    if in_force is None:
        raise CollectionRefused("no terms were set: core collections terms --reason TEXT ...")
    edges = read_edges(store.connection)
    for name in without:
        if name not in {edge.node_id for edge in edges}:
            raise click.UsageError(f"no edge {name} is registered")
    number = _override(store, as_of, without, reason) if without else None
    asked = journals or PeerJournals(
        store.keys.node_secret, tls=store.keys.certify(CORE_NODE_ID, SystemClock().now())
    )
    words = hear_edges(edges, asked, timezone=store.utility().timezone, without=without)
    order = Order(as_of=as_of, in_force=in_force, steps=steps, override_number=number)
    return run_collections(store, order, words, account_ids=accounts, without=without)


def _override(store: CoreStore, as_of: date, without: tuple[str, ...], reason: str) -> int:
    if not reason.strip():
        raise click.UsageError("--without-edge needs --reason: say why")
    act = by_command(
        "collections.override",
        subject=" ".join(sorted(without)),
        reason=reason,
        as_of=as_of.isoformat(),
    )
    with store.transaction(alone=True) as tx:
        return write_down(tx, act, store.keys).number


@collections_group.command("terms")
@data_option
@json_option
@click.option("--late-fee-cents", type=int, help="The flat part of the late fee, minor units.")
@click.option("--late-fee-percent", type=float, help="The other part, of the overdue portion.")
@click.option("--grace-days", type=int, help="Days after the due date that are still in time.")
@click.option("--past-due-days", type=int, help="From the due date to the past-due notice.")
@click.option("--disconnection-notice-days", type=int, help="From that to the next notice.")
@click.option("--disconnection-days", type=int, help="From that to the order.")
@click.option(
    "--moratorium",
    "moratoria",
    multiple=True,
    metavar="FIRST..LAST",
    help="Days without disconnections, both included; those given replace the ones before. May be repeated.",
)
@click.option("--no-moratorium", is_flag=True, help="End every moratorium.")
@click.option("--reason", default="", help="Why, for the audit log; needed to change anything.")
def terms_command(
    data_dir: Path,
    as_json: bool,  # noqa: FBT001 - click's flag
    late_fee_percent: float | None,
    moratoria: tuple[str, ...],
    no_moratorium: bool,  # noqa: FBT001 - click's flag
    reason: str,
    **numbers: int | None,
) -> None:
    """Show the terms, or change those that are named; the first change sets all others to their defaults."""
    asked = {name: value for name, value in numbers.items() if value is not None}
    if late_fee_percent is not None:
        if not math.isfinite(late_fee_percent):
            raise click.BadParameter(
                f"{late_fee_percent} is not a percentage", param_hint="--late-fee-percent"
            )
        asked["late_fee_basis_points"] = round(late_fee_percent * 100)
    held = tuple(_moratorium(each, reason) for each in moratoria) or (() if no_moratorium else None)
    wants_change = bool(asked) or held is not None
    if wants_change and not reason.strip():
        raise click.UsageError("--reason is needed to change terms: say why")
    with open_known_store(data_dir) as store:
        if wants_change or reason:
            with store.transaction(alone=True) as tx:
                known = read_terms(tx.connection)
                terms = changed(known.terms if known else Terms(), asked, moratoria=held)
                act = by_command("collections.terms", reason=reason)
                act = msgspec.structs.replace(act, detail=told(set_terms(tx, terms)))
                write_down(tx, act, store.keys)
        _show_terms(read_terms(store.connection), as_json=as_json)


def _moratorium(text: str, reason: str) -> Moratorium:
    first, _, last = text.partition("..")
    try:
        return Moratorium(
            first=date.fromisoformat(first), last=date.fromisoformat(last), reason=reason
        )
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not FIRST..LAST, such as 2026-11-15..2027-03-31",
            param_hint="--moratorium",
        ) from error


def _show_terms(found: TermsInForce | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    if found is None:
        click.echo("no terms were set: nothing is collected")
        return
    for name, value in told(found).items():
        click.echo(f"{name:<28} {value if value != '' else 'none'}")


@collections_group.command("list")
@data_option
@json_option
@click.option("--account", "accounts", multiple=True, help="Only this account; may be repeated.")
def list_command(data_dir: Path, as_json: bool, accounts: tuple[str, ...]) -> None:  # noqa: FBT001 - click's flag
    """List the steps that were taken, oldest first, those taken back too."""
    with open_known_store(data_dir) as store, store.reading() as connection:
        steps = read_steps(connection, accounts or None)
    if as_json:
        click.echo(msgspec.json.encode(steps))
        return
    for step in steps:
        click.echo(_line(step))


def _line(step: TakenStep) -> str:
    fee = f"  fee {money(step.fee)}" if step.fee else ""
    over = "  by override" if step.override_number is not None else ""
    back = "" if step.stands else f"  taken back for payment {step.reversed_by}"
    return (
        f"{step.as_of}  {step.account_id:<14}  {_WORDS[step.step]:<22}  bill {step.statement_id}"
        f"  overdue {money(step.overdue)}{fee}{over}{back}"
    )


def _told(report: CollectionReport) -> str:
    lines = [
        f"{done.account_id:<14}  {_WORDS[done.step]:<22}  overdue {money(done.overdue):>12}"
        + (f"  fee {money(done.fee):>10}" if done.fee else "")
        for done in report.taken
    ]
    for each in report.waiting:
        why = "; ".join(_REASONS[wait.reason].format(wait.about) for wait in each.waits)
        lines.append(f"{each.account_id:<14}  {_WORDS[each.step]:<22}  WAITS: {why}")
    lines += [f"without the word of edge {name}" for name in report.without]
    lines.append(
        f"{len(report.taken)} steps taken, {len(report.waiting)} wait, as of {report.as_of}"
    )
    return "\n".join(lines)
