"""What operators can see and do, for the console's pages and for programs alike; every action is written down."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, TypeVar

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.offload import in_thread
from cache_sync.sql import Connection, read
from core_cis.audit import (
    Act,
    AuditFinding,
    AuditLine,
    answered,
    head_of,
    read_log,
    verify_log,
    write_down,
)
from core_cis.cases import (
    Case,
    RejectionReason,
    Resolved,
    count_open,
    read_case,
    read_cases,
    refund_case,
    reject_case,
    retry_case,
)
from core_cis.drain_orders import FLEET, DrainOrder, DrainOrders, give_order, read_orders
from core_cis.errors import EdgeUnreachable
from core_cis.intake import Intake, check_signatures
from core_cis.keys import CoreKeys
from core_cis.ops.collection_view import CollectionView, view_collections
from core_cis.ops.rehearsal import Rehearsal, parts, predictions, summed, waiting
from core_cis.ops.standings import Heard, Overview, edge_overviews
from core_cis.peer_journals import PeerJournals
from core_cis.registry import Edge, edge_keys, read_edges
from core_cis.services import CoreServices
from core_cis.standin_limits import FleetLimits, LimitsInForce, read_limits, set_limits, told_as
from core_cis.standin_shares import EdgeShare, read_shares
from core_cis.store import CoreStore, Transaction
from core_cis.ticket_history import TicketHistory, read_history
from core_cis.tickets import Ticket, close_ticket, list_tickets
from core_cis.writer import Turn
from failover.intents import Intent, Outcome
from failover.peer_messages import NodeStanding, RecordedIntent

_LOOK_SECONDS_MAX = 3.0
_ACT_SECONDS_MAX = 10.0
_VERIFY_SECONDS_MAX = 60.0
_PART_SECONDS_MAX = 60.0
_ResultT = TypeVar("_ResultT")
_log = structlog.get_logger(__name__)

CaseAction = Literal["retry", "reject", "refund"]


class EdgeLimits(msgspec.Struct, frozen=True, kw_only=True, rename=told_as):
    """
    The stand-in limits that an edge said it holds: the order's version, its share of the total, what waits there.

    ``version`` is None of an edge that never answered; one that does not ``answers`` said so earlier. ``counted_cents``
    is what counts for it in the total: more than its share while it has not been heard to follow what it was told.
    """

    node_id: str
    answers: bool
    counted_cents: int
    version: int | None = None
    share_cents: int = 0
    outstanding_cents: int = 0


class _Books(NamedTuple):
    edges: list[Edge]
    orders: DrainOrders
    open_cases: int
    failing: int
    lines: int
    head: str


class OperationsDesk:
    """
    One running core's operators.

    Args:
        services: The core.
        keys: The core's: they sign the audit log.
        clock: Time.
        journals: How edges are asked.
    """

    def __init__(
        self, services: CoreServices, keys: CoreKeys, clock: Clock, journals: PeerJournals
    ) -> None:
        self._services = services
        self._keys = keys
        self._clock = clock
        self._journals = journals
        self._heard: dict[str, Heard] = {}
        self._whole = True

    async def overview(self) -> Overview:
        """Ask every edge what waits, and lay the orders in force beside it."""
        books, utility = await self._services.ask(_books), await self._services.utility()
        now = self._clock.now()
        silent = await self._listen(books.edges)
        names = [edge.node_id for edge in books.edges if edge.status == "active"]
        names += [each.writer for said in self._heard.values() for each in said.standing.holdings]
        edges = edge_overviews(names, self._heard, silent, books.orders, now)
        fleet = books.orders.of(FLEET)
        return Overview(
            seen_at=now,
            currency=utility.currency,
            edges=edges,
            pending=sum(edge.pending for edge in edges),
            amount=sum(edge.amount for edge in edges),
            one_copy_amount=sum(edge.one_copy_amount for edge in edges),
            oldest_seconds=max(
                (edge.oldest_seconds for edge in edges if edge.oldest_seconds is not None),
                default=None,
            ),
            held=fleet.held,
            pace=fleet.pace,
            credits=self._services.intake.pacing.credits,
            open_cases=books.open_cases,
            failing=books.failing,
            audit_lines=books.lines,
            audit_head=books.head,
            audit_whole=self._whole,
        )

    async def fleet(self) -> tuple[list[Edge], str]:
        """Tell the active edges, and the utility's time zone."""
        edges = await self._services.ask(read_edges)
        utility = await self._services.utility()
        return [edge for edge in edges if edge.status == "active"], utility.timezone

    async def orders(self) -> DrainOrders:
        """Tell the orders to the drain that are in force."""
        return await self._services.ask(read_orders)

    async def order(self, act: Act, order: DrainOrder) -> AuditLine:
        """
        Give an order to the drain of the edge that the act names, or of the fleet.

        Raises:
            UnknownEdge: There is no such edge.
        """

        def work(tx: Transaction, _: CoreStore) -> Act:
            give_order(tx, act.subject, order)
            detail = {"held": int(order.held), "pace": order.pace}
            return msgspec.structs.replace(act, detail=detail)

        return await self._act(act, work)

    async def limits(self) -> LimitsInForce:
        """Tell the stand-in limits in force."""
        return await self._services.ask(read_limits)

    async def limits_heard(self) -> tuple[LimitsInForce, list[EdgeLimits]]:
        """Tell the stand-in limits in force, and which of them every active edge holds."""
        books = await self._services.ask(_books)
        silent = await self._listen(books.edges)
        shares = await self._services.ask(read_shares)
        return await self.limits(), [self._edge_limits(share, silent) for share in shares]

    def _edge_limits(self, share: EdgeShare, silent: list[str]) -> EdgeLimits:
        name, counted = share.node_id, share.counted_cents
        said = self._heard.get(name)
        if said is None:
            return EdgeLimits(node_id=name, answers=False, counted_cents=counted)
        return EdgeLimits(
            node_id=name,
            answers=name not in silent,
            counted_cents=counted,
            version=said.standing.limits_version,
            share_cents=said.standing.limits_share_cents,
            outstanding_cents=said.standing.amount_cents,
        )

    async def set_limits(self, act: Act, limits: FleetLimits) -> AuditLine:
        """Set the stand-in limits of the fleet; every edge hears of them with its next probe."""

        def work(tx: Transaction, _: CoreStore) -> Act:
            return msgspec.structs.replace(act, detail=set_limits(tx, limits).told())

        return await self._act(act, work)

    async def cases(self, *, everything: bool = False) -> list[Case]:
        """List the dead letters."""
        return await self._services.ask(
            lambda connection: read_cases(connection, everything=everything)
        )

    async def case(self, case_number: str) -> tuple[Case, list[AuditLine]]:
        """
        Show a dead letter and what operators did about it.

        Raises:
            UnknownCase: There is none of this number.
        """
        return await self._services.ask(
            lambda connection: (
                read_case(connection, case_number),
                read_log(connection, limit=100, subject=case_number),
            )
        )

    async def act_on_case(
        self, act: Act, action: CaseAction, reason: RejectionReason | None = None
    ) -> AuditLine:
        """
        Retry, reject or refund the case that the act names; the line's detail tells what came of it.

        Raises:
            UnknownCase: There is none of this number.
            CaseRefused: It is resolved, or cannot be done; nothing was changed.
        """

        def resolve(tx: Transaction, store: CoreStore) -> Resolved:
            if action == "retry":
                return retry_case(tx, act.subject, Intake(store, self._services.settings))
            if action == "refund":
                return refund_case(tx, act.subject)
            return reject_case(tx, act.subject, reason or "refused_by_operator")

        def work(tx: Transaction, store: CoreStore) -> Act:
            resolved = resolve(tx, store)
            detail: dict[str, str | int | None] = {"result": resolved.state}
            if resolved.error:
                detail["error"] = resolved.error
            if action == "reject":
                detail["told"] = reason or "refused_by_operator"
            return msgspec.structs.replace(act, detail=detail)

        line = await self._act(act, work)
        self._services.feeds.notify()
        return line

    async def collections(self) -> CollectionView:
        """Show the disconnection orders that stand, and what was done about bills."""
        return await self._services.ask(view_collections)

    async def tickets(self, *, everything: bool) -> list[Ticket]:
        """List the open tickets, with ``everything`` the closed ones too; the oldest first."""

        def look(connection: Connection) -> list[Ticket]:
            with read(connection):
                return list_tickets(connection, everything=everything)

        return await self._services.ask(look)

    async def ticket(self, ticket_number: str) -> TicketHistory:
        """Show everything about a ticket. Raises `UnknownTicket`."""
        return await self._services.ask(lambda connection: read_history(connection, ticket_number))

    async def close_ticket(self, act: Act) -> AuditLine:
        """
        Close the ticket that the act names.

        Raises:
            UnknownTicket: There is none of this number.
            TicketRefused: It is closed.
        """

        def work(tx: Transaction, _: CoreStore) -> Act:
            close_ticket(tx, act.subject)
            return act

        return await self._act(act, work)

    async def rehearse(self, act: Act) -> Rehearsal:
        """Tell what the drain would do with everything that waits; nothing of it is kept, but that it was asked."""
        edges, _ = await self.fleet()
        asked = await asyncio.gather(*(self._waiting(edge) for edge in edges))
        silent = [edge.node_id for edge, found in zip(edges, asked, strict=True) if found is None]
        intents = waiting(item for found in asked if found for item in found)
        keys = await self._services.ask(edge_keys)
        proven, refused = await in_thread(lambda: check_signatures(intents, keys))
        outcomes: list[Outcome] = []
        for part in parts(proven):
            outcomes += await self._rehearse(part)
        listed = predictions(intents, outcomes, refused)
        made = Rehearsal(
            made_at=self._clock.now(), silent=silent, sums=summed(listed), predictions=listed
        )
        detail: dict[str, str | int | None] = {"count": made.count, "amount": made.amount}
        await self._act(act, lambda _, __: msgspec.structs.replace(act, detail=detail))
        return made

    async def log(self, *, limit: int, before: int | None = None) -> list[AuditLine]:
        """List the audit log's newest lines first."""
        return await self._services.ask(
            lambda connection: read_log(connection, limit=limit, before=before)
        )

    async def verify(self) -> AuditFinding:
        """Verify the audit log; a broken one is an alarm."""

        def look(connection: Connection) -> AuditFinding:
            with read(connection):
                return verify_log(connection, self._keys.public_key)

        found = await self._services.ask(look, within_seconds=_VERIFY_SECONDS_MAX)
        self._whole = found.whole
        if not found.whole:
            _log.error("the audit log is broken", alarm="audit_log", line=found.broken_at)
        return found

    async def _act(self, act: Act, work: Callable[[Transaction, CoreStore], Act]) -> AuditLine:
        """Do something and write it down, as one transaction; a request that was answered is answered again."""

        def once(store: CoreStore) -> AuditLine:
            def body(tx: Transaction) -> AuditLine:
                known = answered(tx.connection, act.request_key) if act.request_key else None
                if known is not None:
                    return known
                return write_down(tx, work(tx, store), self._keys)

            return store.run(body, alone=True)

        line = await self._services.writer.run(
            once, turn=Turn.LIVE, within_seconds=_ACT_SECONDS_MAX
        )
        _log.info("operator", action=line.action, subject=line.subject, via=line.via)
        return line

    async def _rehearse(self, part: list[Intent]) -> list[Outcome]:
        return await self._services.writer.run(
            lambda store: Intake(store, self._services.settings).rehearse(part),
            turn=Turn.DRAIN,
            within_seconds=_PART_SECONDS_MAX,
        )

    async def _listen(self, edges: list[Edge]) -> list[str]:
        """Hear every active edge; return the names of those that were not reached."""
        active = [edge for edge in edges if edge.status == "active"]
        told = await asyncio.gather(*(self._standing(edge) for edge in active))
        for edge, standing in zip(active, told, strict=True):
            if standing is not None:
                self._heard[edge.node_id] = Heard(standing, self._clock.now())
        return [edge.node_id for edge, standing in zip(active, told, strict=True) if not standing]

    async def _standing(self, edge: Edge) -> NodeStanding | None:
        return await _or_none(
            asyncio.wait_for(
                self._journals.standing(edge.node_id, edge.peer_url), _LOOK_SECONDS_MAX
            )
        )

    async def _waiting(self, edge: Edge) -> list[RecordedIntent] | None:
        return await _or_none(self._journals.waiting(edge.node_id, edge.peer_url))


async def _or_none(asking: Awaitable[_ResultT]) -> _ResultT | None:
    try:
        return await asking
    except (EdgeUnreachable, TimeoutError):
        return None


def _books(connection: Connection) -> _Books:
    with read(connection):
        (failing,) = connection.execute("SELECT count(*) FROM intake_failures").fetchone()
        return _Books(
            read_edges(connection),
            read_orders(connection),
            count_open(connection),
            failing,
            *head_of(connection),
        )
