"""What is asked of the core by account: the ledger, for operators; archived statements, for edges."""

from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath

from cache_sync.shards import shard_of
from cache_sync.sql import DatabaseError
from core_cis.api.guards import fleet_guard, operator_guard, services
from core_cis.api.problems import problems
from core_cis.bookkeeping import AccountLedger, read_ledger
from failover.web import Problem, caller, remaining_seconds

_ARCHIVE_SECONDS = 5.0
_STATEMENT = (
    "SELECT body FROM statements WHERE account_id = ? AND statement_id = ? AND length(body) > 0"
)


@get(
    "/accounts/{account_id:str}/ledger",
    guards=[operator_guard],
    summary="An account's ledger",
    responses=problems(401, 404),
)
async def show_ledger(request: Request[Any, Any, Any], account_id: FromPath[str]) -> AccountLedger:
    """
    List what every ledger transaction did to an account.

    For operators (`Authorization: Bearer`). 404 `unknown_account`.
    """
    running = services(request)
    currency = (await running.utility()).currency
    ledger = await running.ask(
        lambda connection: read_ledger(connection, account_id, currency=currency)
    )
    if ledger is None:
        raise Problem("unknown_account", status=404, title="There is no such account")
    return ledger


@get(
    "/archive/accounts/{account_id:str}/statements/{statement_id:str}",
    guards=[fleet_guard],
    media_type="application/json",
    summary="A statement that edges no longer hold",
    responses=problems(401, 403, 404, 503),
)
async def show_archived_statement(
    request: Request[Any, Any, Any], account_id: FromPath[str], statement_id: FromPath[str]
) -> Response[bytes]:
    """
    Answer a statement of an account (`StatementBody`), as it was issued, whether edges still hold it or not.

    For nodes of the fleet (`Authorization: Node`), on behalf of the account's own customer: the edge checked that. 403
    `wrong_shard` for an account of a shard that the edge may not read, 404 `unknown_statement` also for another
    account's statement, and for one of a customer who was forgotten, 503 `archive_unavailable` where the database does
    not answer while the caller waits.
    """
    seconds = remaining_seconds(request.headers, default=_ARCHIVE_SECONDS, maximum=_ARCHIVE_SECONDS)
    running = services(request)
    shard = shard_of(account_id, len(running.feeds.shards))
    running.check_may_read(caller(request), shard)
    try:
        row = await running.ask(
            lambda connection: connection.execute(
                _STATEMENT, (account_id, statement_id)
            ).fetchone(),
            within_seconds=seconds,
        )
    except DatabaseError as error:
        raise Problem(
            "archive_unavailable", status=503, title="The archive does not answer now", retry="same"
        ) from error
    if row is None:
        raise Problem("unknown_statement", status=404, title="There is no such statement")
    return Response(row[0], media_type="application/json")
