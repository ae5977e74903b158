"""What customers of a measured fleet ask for: their accounts, their newest bills, and payments."""

from itertools import count
from typing import Any, NamedTuple

import msgspec

from chaos.bench.http_load import Call, call
from chaos.bench.population import newest_statement_of
from chaos.bench.wrk import Ask
from edge_portal.cookies import SESSION_COOKIE

_PAYMENT_CENTS = 100


def account_asks(tokens: list[str]) -> list[Ask]:
    """Ask for each customer's account as a program does."""
    return [Ask("/api/v1/account", "Authorization", f"Bearer {token}") for token in tokens]


def page_asks(tokens: list[str], accounts: int) -> list[Ask]:
    """Ask for each customer's newest bill as a browser does; tokens are of the accounts in turn."""
    return [
        Ask(
            f"/bills/{newest_statement_of(number % accounts)}",
            "Cookie",
            f"{SESSION_COOKIE}={token}",
        )
        for number, token in enumerate(tokens)
    ]


def as_call(ask: Ask) -> Call:
    """Write a question down for a plain socket."""
    return call("GET", ask.path, [(ask.header, ask.value)])


class PaymentForm(NamedTuple):
    """A payment as it is asked for."""

    headers: list[tuple[str, str]]
    body: bytes


class Payments:
    """Payments that nobody made before: each of the next customer in turn, under a key of its own."""

    def __init__(self, tokens: list[str], method_ids: list[str], mark: str = "bench") -> None:
        self._tokens = tokens
        self._mark = mark
        self._method_ids = method_ids
        self._numbers = count()

    def next(self) -> Call:
        """Write the next one down for a plain socket."""
        headers, body = self.form()
        return call("POST", "/api/v1/payments", headers, body)

    def form(self) -> PaymentForm:
        """Tell the next one."""
        number = next(self._numbers)
        index = number % len(self._tokens)
        form: dict[str, Any] = {"amount": _PAYMENT_CENTS, "method_id": self._method_ids[index]}
        headers = [
            ("Authorization", f"Bearer {self._tokens[index]}"),
            ("Idempotency-Key", f"{self._mark}-{number}"),
        ]
        return PaymentForm(headers, msgspec.json.encode(form))
