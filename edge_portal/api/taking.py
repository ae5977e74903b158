"""What all that customers have done through the API has in common: the key, and the status that tells how it stands."""

from typing import Annotated, Final

from litestar.params import HeaderParameter

from edge_portal.errors import NotTaken
from failover.intents import Receipt
from failover.web import FieldError, Problem

NOTHING_TAKEN: Final = frozenset({"void", "declined_limit"})
_STATUS_OF_STATE: Final = {"posted": 201, "accepted": 202, "checking": 202}

IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key", required=False)]


def required_key(idempotency_key: str | None) -> str:
    """Return the key. Raises `Problem` 400 where there is none."""
    if not idempotency_key:
        raise Problem(
            "idempotency_key_missing",
            status=400,
            title="An Idempotency-Key is needed",
            detail="Make one for each payment or message and send it again with every repetition.",
            errors=[FieldError("Idempotency-Key", "is required")],
        )
    return idempotency_key


def status_of_taken(receipt: Receipt) -> int:
    """Tell the status of an answer: 201 posted, 202 accepted or checking, 200 decided otherwise. Raises `NotTaken`."""
    if receipt.state in NOTHING_TAKEN:
        raise NotTaken("not taken here", intent_id=receipt.intent_id)
    return _STATUS_OF_STATE.get(receipt.state, 200)
