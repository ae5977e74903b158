"""
What a simulated payment processor remembers: charges and refunds, and the answers it gave under each key.

As real ones do it: the first answer under a key is stored, errors too, and given again; another request under the same
key is an error; a key is forgotten after its horizon, and then the same request *charges again*. Charges are never
forgotten. Pure: the caller says what time it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Answer = tuple[int, dict[str, Any]]
Form = Mapping[str, str]

DECLINE_STATUS = 402


class _Stored(msgspec.Struct, frozen=True):
    at: float
    request: tuple[str, tuple[tuple[str, str], ...]]
    answer: Answer


class SettlementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the processor's settlement file; a refund's ``amount_cents`` is negative."""

    type: str
    id: str
    charge_id: str
    reference: str
    amount_cents: int
    currency: str
    created: int


class ProcessorBooks:
    """
    One account at the processor.

    ``declines`` maps a saved method to the code with which its bank says no; `reference` of the charges is the
    metadata named ``reference_name``.
    """

    def __init__(self, *, horizon_seconds: float, reference_name: str) -> None:
        self.horizon_seconds = horizon_seconds
        self.declines: dict[str, str] = {}
        self._reference_name = reference_name
        self._stored: dict[str, _Stored] = {}
        self._intents: dict[str, dict[str, Any]] = {}
        self._charges: dict[str, dict[str, Any]] = {}
        self._refunds: dict[str, dict[str, Any]] = {}
        self._number = 0

    # -- under a key ---------------------------------------------------------------------------------------------------

    def post(self, path: str, form: Form, key: str, now: float) -> Answer:
        """Handle a request that changes something; without a key it is done every time."""
        work = {"/v1/payment_intents": self._pay, "/v1/refunds": self._refund}.get(path)
        if work is None:
            return _error(404, "invalid_request_error", "no such address")
        return self._once(key, path, form, now, lambda: work(form, now))

    def _once(
        self, key: str, path: str, form: Form, now: float, work: Callable[[], Answer]
    ) -> Answer:
        request = (path, tuple(sorted(form.items())))
        known = self._stored.get(key) if key else None
        if known is not None and now - known.at <= self.horizon_seconds:
            if known.request != request:
                return _error(400, "idempotency_error", "this key was used with other parameters")
            return known.answer
        answer = work()
        if key:
            self._stored[key] = _Stored(now, request, answer)
        return answer

    def remember_failure(self, path: str, form: Form, key: str, now: float) -> Answer:
        """Fail a request before it did anything, and store that failure under its key, as real processors do."""
        return self._once(
            key, path, form, now, lambda: _error(500, "api_error", "something went wrong")
        )

    def _pay(self, form: Form, now: float) -> Answer:
        try:
            amount, currency, method = (
                int(form["amount"]),
                form["currency"],
                form["payment_method"],
            )
        except (KeyError, ValueError):
            return _error(400, "invalid_request_error", "amount, currency and payment_method")
        if amount <= 0:
            return _error(400, "invalid_request_error", "the amount must be positive")
        metadata = {
            name.removeprefix("metadata[").removesuffix("]"): value
            for name, value in form.items()
            if name.startswith("metadata[")
        }
        code = self.declines.get(method)
        intent_id, charge_id = self._name("pi"), self._name("ch")
        shared = {
            "amount": amount,
            "currency": currency,
            "customer": form.get("customer"),
            "payment_method": method,
            "created": int(now),
            "metadata": metadata,
        }
        self._charges[charge_id] = {
            "id": charge_id,
            "object": "charge",
            "payment_intent": intent_id,
            "status": "failed" if code else "succeeded",
            "failure_code": code,
            "amount_refunded": 0,
            **shared,
        }
        self._intents[intent_id] = {
            "id": intent_id,
            "object": "payment_intent",
            "status": "requires_payment_method" if code else "succeeded",
            "latest_charge": charge_id,
            **shared,
        }
        if code:
            return _error(
                DECLINE_STATUS, "card_error", "declined", code="card_declined", decline_code=code
            )
        return 200, self._intents[intent_id]

    def _refund(self, form: Form, now: float) -> Answer:
        charge = self._charges.get(form.get("charge", ""))
        if charge is None:
            return _error(404, "invalid_request_error", "no such charge", code="resource_missing")
        if charge["status"] != "succeeded":
            return _error(400, "invalid_request_error", "not paid", code="charge_not_paid")
        amount = int(form.get("amount", charge["amount"]))
        if charge["amount_refunded"] + amount > charge["amount"]:
            code = "charge_already_refunded"
            return _error(400, "invalid_request_error", "already refunded", code=code)
        charge["amount_refunded"] += amount
        refund = {
            "id": self._name("re"),
            "object": "refund",
            "charge": charge["id"],
            "amount": amount,
            "currency": charge["currency"],
            "status": "succeeded",
            "created": int(now),
            "metadata": charge["metadata"],
        }
        self._refunds[refund["id"]] = refund
        return 200, refund

    # -- asking --------------------------------------------------------------------------------------------------------

    def get(self, path: str, params: Form) -> Answer:
        """Handle a question."""
        if path == "/v1/charges":
            wanted = {"customer": params.get("customer")}
            since = params.get("created[gt]", "0")
            found = [
                charge
                for charge in _matching(self._charges, wanted)
                if charge["created"] > int(since)
            ]
            return _page(found, params)
        if path == "/v1/refunds":
            return _page(_matching(self._refunds, {"charge": params.get("charge")}), params)
        if path.startswith("/v1/payment_intents/"):
            known = self._intents.get(path.rpartition("/")[2])
            if known is not None:
                return 200, known
        return _error(404, "invalid_request_error", "no such thing", code="resource_missing")

    def charges_of(self, reference: str) -> list[dict[str, Any]]:
        """List the charges of one reference, failed ones too."""
        return [
            charge
            for charge in self._charges.values()
            if charge["metadata"].get(self._reference_name) == reference
        ]

    def settlement(self) -> list[SettlementLine]:
        """List every movement of money, oldest first."""
        moved = [charge for charge in self._charges.values() if charge["status"] == "succeeded"]
        lines = [self._line("charge", charge, charge["id"], charge["amount"]) for charge in moved]
        lines += [
            self._line("refund", refund, refund["charge"], -refund["amount"])
            for refund in self._refunds.values()
        ]
        return lines

    # -- inside --------------------------------------------------------------------------------------------------------

    def _line(
        self, type_: str, of: dict[str, Any], charge_id: str, amount_cents: int
    ) -> SettlementLine:
        return SettlementLine(
            type=type_,
            id=of["id"],
            charge_id=charge_id,
            reference=of["metadata"].get(self._reference_name, ""),
            amount_cents=amount_cents,
            currency=of["currency"].upper(),
            created=of["created"],
        )

    def _name(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}_{self._number:08d}"


def _matching(
    rows: Mapping[str, dict[str, Any]], wanted: Mapping[str, str | None]
) -> list[dict[str, Any]]:
    asked = {name: value for name, value in wanted.items() if value}
    found = [row for row in rows.values() if all(row[name] == asked[name] for name in asked)]
    return found[::-1]


def _page(newest_first: list[dict[str, Any]], params: Form) -> Answer:
    after = params.get("starting_after")
    ids = [row["id"] for row in newest_first]
    begin = ids.index(after) + 1 if after in ids else 0
    limit = int(params.get("limit", "10"))
    page = newest_first[begin : begin + limit]
    more = begin + limit < len(newest_first)
    return 200, {"object": "list", "data": page, "has_more": more}


def _error(status: int, type_: str, message: str, **more: str) -> Answer:
    return status, {"error": {"type": type_, "message": message, **more}}
