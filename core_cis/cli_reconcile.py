"""``core reconcile``: every accepted payment beside its ledger entry."""

from pathlib import Path

import click
import msgspec

from cache_sync.clock import SystemClock
from core_cis.books import read_books
from core_cis.cli_ledger import money
from core_cis.errors import BadSettlement, EdgeUnreachable
from core_cis.options import data_option, json_option, open_known_store
from core_cis.peer_journals import PeerJournals
from core_cis.reconcile import reconcile
from core_cis.reconciliation import Difference, Journal, Line, PrunedDay, Report
from core_cis.registry import read_edges
from core_cis.report_csv import payments_csv
from core_cis.report_signing import sign_report
from core_cis.settlement import SettlementLine, read_settlement
from core_cis.store import CoreStore
from failover.node_config import CORE_NODE_ID

EXIT_CODES = {"equal": 0, "different": 1, "incomplete": 3}


@click.command("reconcile")
@data_option
@json_option
@click.option(
    "--skip-unreachable",
    is_flag=True,
    help="Do without edges that do not answer; they are still named.",
)
@click.option(
    "--settlement",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The payment processor's settlement file, CSV or JSON lines, to be compared too.",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every payment into this file too.",
)
def reconcile_command(
    data_dir: Path,
    as_json: bool,  # noqa: FBT001 - click's flag
    skip_unreachable: bool,  # noqa: FBT001 - click's flag
    settlement: Path | None,
    csv_path: Path | None,
) -> None:
    """
    Compare what edges accepted with the ledger, to the cent.

    Exits with 0 when all is equal, with 1 and a name for every difference, and with 3 when nothing differs but
    payments are still on their way to the core or an edge does not answer.
    """
    with open_known_store(data_dir) as store:
        registered = read_edges(store.connection)
        try:
            lines = read_settlement(settlement) if settlement is not None else None
        except BadSettlement as error:
            raise click.ClickException(str(error)) from error
        report, skipped = run_reconciliation(
            store, skip_unreachable=skip_unreachable, settlement=lines
        )
    if csv_path is not None:
        csv_path.write_text(
            payments_csv([*report.payments, *report.pending]), encoding="utf-8", newline=""
        )
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        _print(report)
    if not registered:
        click.echo("no edge is registered: there was nothing to compare", err=True)
    for name in skipped:
        click.echo(f"skipped: edge {name} does not answer", err=True)
    raise SystemExit(EXIT_CODES[report.result])


def run_reconciliation(
    store: CoreStore,
    *,
    skip_unreachable: bool = False,
    journals: PeerJournals | None = None,
    settlement: list[SettlementLine] | None = None,
) -> tuple[Report, list[str]]:
    """
    Ask every registered edge, then read the books, and compare.

    Returns:
        The report, and the edges that were skipped because they do not answer.
    """
    found: list[Journal] = []
    silent: list[str] = []
    tls = store.keys.certify(CORE_NODE_ID, SystemClock().now())
    asked = journals or PeerJournals(store.keys.node_secret, tls=tls)
    for edge in read_edges(store.connection):
        if edge.status != "active":
            continue
        try:
            found.append(asked.read(edge.node_id, edge.peer_url))
        except EdgeUnreachable:
            silent.append(edge.node_id)
    report = reconcile(
        found,
        read_books(store.connection),
        unreachable=() if skip_unreachable else silent,
        settlement=settlement,
        timezone=store.utility().timezone,
    )
    report = sign_report(msgspec.structs.replace(report, made_at=SystemClock().now()), store.keys)
    return report, silent if skip_unreachable else []


def _print(report: Report) -> None:
    for line in report.payments:
        _print_line(line)
    if report.pending:
        click.echo("\nstill on their way to the core:")
        for line in report.pending:
            _print_line(line)
    click.echo(
        f"\n{'edge':<16}{'accepted':>22}{'posted':>22}{'ledger':>16}{'not posted':>22}{'pending':>22}"
    )
    for edge in report.edges:
        click.echo(
            f"{edge.edge_id:<16}"
            f"{_count(edge.accepted, edge.accepted_amount):>22}"
            f"{_count(edge.posted, edge.posted_amount):>22}"
            f"{money(edge.ledger_amount):>16}"
            f"{_count(edge.not_posted, edge.not_posted_amount):>22}"
            f"{_count(edge.pending, edge.pending_amount):>22}"
        )
    click.echo(f"\n{'day':<12}{'edge':<16}{'outage since':<22}accepted = posted + ... + pending")
    for group in report.groups:
        parts = " + ".join(
            f"{name.replace('_', ' ')} {_count(getattr(group, name), getattr(group, f'{name}_amount'))}"
            for name in ("posted", "rejected", "dead_letter", "cancelled", "pending")
        )
        since = f"{group.outage:%Y-%m-%d %H:%M:%S}Z" if group.outage else "-"
        accepted = _count(group.accepted, group.accepted_amount)
        click.echo(f"{group.day!s:<12}{group.edge_id:<16}{since:<22}{accepted} = {parts}")
    for sums in report.messages:
        parts = " + ".join(
            f"{name.replace('_', ' ')} {getattr(sums, name)}"
            for name in ("posted", "rejected", "dead_letter", "cancelled", "pending")
        )
        click.echo(f"messages of {sums.edge_id}, {sums.type}: {sums.accepted} = {parts}")
    _print_pruned(report.pruned)
    for name in report.unreachable:
        click.echo(f"not reconciled: edge {name} does not answer")
    for difference in report.differences:
        click.echo(f"difference: {_sentence(difference)}")
    click.echo(f"\nresult: {report.result}")


def _print_pruned(days: list[PrunedDay]) -> None:
    if not days:
        return
    click.echo("\nkept by the edge in its day's sums only, as a backup covers it:")
    for day in days:
        verdict = "equal" if day.equal else "different"
        click.echo(
            f"{day.day!s:<12}{day.edge_id:<16}{day.type + 's':<10}{_count(day.count, day.amount):>22}  "
            f"in the core {_count(day.core_count, day.core_amount):>22}  {verdict}"
        )


def _print_line(line: Line) -> None:
    entry = (
        f"transaction {line.transaction_id} {money(line.ledger_amount)}"
        if line.transaction_id and line.ledger_amount is not None
        else "-"
    )
    click.echo(
        f"{line.edge_id:<16}{line.intent_id}  {line.account_id:<14}{money(line.amount):>14}  "
        f"{line.state:<12}{line.value_date or '-'!s:<12}{entry:<36}{line.verdict}"
    )


def _count(count: int, cents: int) -> str:
    return f"{count} / {money(cents)}"


def _sentence(difference: Difference) -> str:
    where = ", ".join(
        f"{label} {value}"
        for label, value in (
            ("edge", difference.edge_id),
            ("intent", difference.intent_id),
            ("account", difference.account_id),
        )
        if value
    )
    amounts = ""
    if difference.expected is not None:
        found = "nothing" if difference.found is None else money(difference.found)
        amounts = f": expected {money(difference.expected)}, found {found}"
    return f"{difference.kind}: {difference.detail} ({where}){amounts}"
