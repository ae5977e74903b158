"""Hands out receipts that customers can prove: signed with this edge's key, the core's own word enclosed."""

from typing import Final

import msgspec
import structlog
from litestar import Response

from cache_sync.documents import AccountBody
from edge_portal.agent_link import AgentSilent, AskRequest, ReceiptReply
from edge_portal.cookies import AnyRequest
from edge_portal.errors import NotFound
from edge_portal.overlay import NOT_TAKEN_STATES, as_told
from edge_portal.portal import ASK_DEADLINE_SECONDS, Agent, JournalReceipts
from edge_portal.views import Freshness, method_label
from edge_portal.words import core_now, local_date
from failover.errors import JournalError
from failover.intents import CORE_FINAL, Receipt, receipt_number
from failover.own_pages import PERSONAL
from failover.signed_receipts import (
    ReceiptFacts,
    SignedReceipt,
    agrees,
    encode_receipt,
    sign_receipt,
)
from failover.signing import verify_outcome

ENDING: Final = 4
COUNTS: Final = frozenset({"accepted", "posted"})
log = structlog.get_logger(__name__)


class ReceiptDesk:
    """
    Signs what this edge knows of payments; one instance a worker.

    Args:
        journal: Where outcomes lie as the core signed them; documents carry no signature.
        agent: Asks siblings for what is not in the journal.
        node_id: Who says it.
        signing_key: The edge's, private, base64.
        core_key: What the core signs outcomes with, public, base64.
        utility: Whose receipts these are.
    """

    def __init__(
        self,
        *,
        journal: JournalReceipts,
        agent: Agent,
        node_id: str,
        signing_key: str,
        core_key: str,
        utility: str,
    ) -> None:
        self._journal = journal
        self._agent = agent
        self._node_id = node_id
        self._signing_key = signing_key
        self._core_key = core_key
        self._utility = utility

    async def sign(
        self, account: AccountBody, payment: Receipt, freshness: Freshness
    ) -> SignedReceipt:
        """
        Sign what is known of a payment.

        Raises:
            NotFound: It was never taken, so there is nothing to prove.
        """
        if payment.state in NOT_TAKEN_STATES:
            raise NotFound("nothing was taken")
        payment = as_told(payment)
        day = payment.value_date or local_date(payment.accepted_at, account.timezone)
        facts = ReceiptFacts(
            utility=self._utility,
            payment_id=payment.intent_id,
            fingerprint=payment.fingerprint,
            account=f"ending {account.account_id[-ENDING:]}",
            method=method_label(account, payment.method_id),
            amount=payment.amount_cents,
            currency=payment.currency,
            state=payment.state,
            accepted_at=payment.accepted_at,
            decided_at=payment.decided_at,
            paid_on=day if payment.state in COUNTS else None,
            reason=payment.reason,
            case_number=payment.case_number,
            said_by=self._node_id,
            said_at=core_now(freshness),
            core=None,
        )
        return sign_receipt(await self._with_core_word(facts, payment), self._signing_key)

    async def _with_core_word(self, facts: ReceiptFacts, payment: Receipt) -> ReceiptFacts:
        """Enclose the core's outcome: from here, else from a sibling; without it where nobody reached has it."""
        if payment.state not in CORE_FINAL:
            return facts
        for find in (self._here, self._elsewhere):
            found = await find(payment)
            outcome = None if found is None else found.outcome()
            if (
                outcome is not None
                and verify_outcome(outcome, self._core_key)
                and agrees(facts, outcome)
            ):
                return msgspec.structs.replace(facts, core=outcome)
        return facts

    async def _here(self, payment: Receipt) -> Receipt | None:
        if payment.signature:
            return payment
        try:
            return self._journal.receipt(payment.account_id, payment.intent_id)
        except JournalError:
            log.exception("the journal cannot be read")
            return None

    async def _elsewhere(self, payment: Receipt) -> Receipt | None:
        request = AskRequest(payment.account_id, payment.intent_id)
        try:
            reply = await self._agent.ask(request, deadline_seconds=ASK_DEADLINE_SECONDS)
        except AgentSilent:
            return None
        return reply.receipt if isinstance(reply, ReceiptReply) else None


def desk_of(request: AnyRequest) -> ReceiptDesk:
    """Return the worker's desk."""
    desk = request.app.state.receipts
    assert isinstance(desk, ReceiptDesk)
    return desk


def as_download(receipt: SignedReceipt) -> Response[bytes]:
    """Answer with a receipt's file."""
    name = f"receipt-{receipt_number(receipt.facts.payment_id)}.json"
    return Response(
        encode_receipt(receipt),
        media_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": PERSONAL,
        },
    )
