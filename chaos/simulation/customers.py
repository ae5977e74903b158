"""Customers of a simulated world: they sign in, look, pay, pay again, ask, and change from edge to edge."""

import asyncio
from random import Random
from typing import Final

from cache_sync.frames import Position
from chaos.simulation.edge_node import EdgeNode
from chaos.simulation.facts import Asked, Facts, Refused, Shown, Told
from chaos.simulation.utility import PASSWORD, email_of, method_of
from chaos.simulation.virtual_time import VirtualLoop
from edge_portal.errors import (
    EdgeError,
    KeyReused,
    NotFound,
    NotSignedIn,
    OverLimit,
    PaymentUnknown,
)
from edge_portal.errors import NotTaken as NotTakenHere
from edge_portal.session import Session
from failover.intents import Receipt, intent_id

_AMOUNT_MAX: Final = 25_000
_TRIES_MAX: Final = 6
_SEEN_MAX: Final = 4
_GIVE_UP: Final = 0.3


class Customer:
    """
    One customer with one account.

    Args:
        loop: Where time is.
        account_id: Whose.
        edges: Where they may go.
        facts: Where it is noted what they saw.
        rng: Draws what they do.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        account_id: str,
        edges: list[EdgeNode],
        facts: Facts,
        rng: Random,
    ) -> None:
        self._loop = loop
        self._account_id = account_id
        self._edges = edges
        self._facts = facts
        self._rng = rng
        self._edge = rng.choice(edges)
        self._token: str | None = None
        self._session = 0
        self._seen: tuple[Position, ...] = ()
        self._keys = 0
        self._paid: list[str] = []
        self.password = PASSWORD
        self.tokens: list[str] = []
        self.revoked: list[str] = []

    async def live(self, until: float, pause: float) -> None:
        """Do this and that until a moment of true time."""
        while self._loop.time() < until:
            await asyncio.sleep(self._rng.expovariate(1 / pause))
            if self._rng.random() < 0.2:  # noqa: PLR2004 - one in five goes elsewhere
                self._edge = self._rng.choice(self._edges)
            await self.act()

    def forget(self, password: str) -> None:
        """Have another password from now on; what was signed in with before ends."""
        self.revoked += self.tokens
        self.tokens = []
        self.password = password

    def go_to(self, edge: EdgeNode) -> None:
        """Change to an edge."""
        self._edge = edge

    async def act(self) -> None:
        """Do one thing, as a person does: signed in."""
        session = await self._signed_in()
        if session is None:
            return
        match self._rng.choices(("look", "pay", "ask", "twice", "other"), (40, 30, 15, 10, 5))[0]:
            case "look":
                self.look()
            case "pay":
                await self._pay_until_known(self._new_key(), self._amount())
            case "twice":
                # A double click, or the same form sent from two devices.
                key, amount = self._new_key(), self._amount()
                first = asyncio.create_task(self._pay(self._edge, key, amount))
                await asyncio.sleep(self._rng.expovariate(20))
                await self._pay(self._rng.choice(self._edges), key, amount)
                await first
            case "other":
                # One key, two amounts: one of them at most may be taken.
                key = self._new_key()
                first = asyncio.create_task(self._pay(self._edge, key, self._amount()))
                await self._pay(self._rng.choice(self._edges), key, self._amount())
                await first
            case _:
                await self._ask()

    # Signing in

    async def _signed_in(self) -> Session | None:
        portal = self._edge.portal
        try:
            return portal.authenticate(self._token)
        except NotSignedIn:
            pass
        except EdgeError:
            return None
        try:
            self._token = await portal.sign_in(
                email_of(self._account_id), self.password, self._account_id
            )
            session = portal.authenticate(self._token)
        except EdgeError:
            return None
        self._session += 1
        self.tokens.append(self._token)
        return session

    # Looking

    def look(self) -> None:
        """Look at the account."""
        edge = self._edge
        try:
            view = edge.portal.view(self._account_id, self._seen, statements=False, usage=False)
        except EdgeError:
            return
        position = view.freshness.position
        if not view.catching_up:
            self._seen = (position, *(one for one in self._seen if one != position))[:_SEEN_MAX]
        self._facts.shown.append(
            Shown(
                at=self._loop.time(),
                edge=edge.name,
                disks_lost=edge.disks_lost,
                account_id=self._account_id,
                session=self._session,
                balance_cents=view.balance_cents,
                pending_cents=view.pending_cents,
                left_cents=view.left_to_pay_cents,
                as_of=view.freshness.as_of,
                age_seconds=view.freshness.age_seconds,
                at_least=view.freshness.at_least,
                position=position,
                mode=view.mode.mode,
                behind=view.catching_up,
                payments={
                    (one.intent_id, one.fingerprint): (one.state, one.amount_cents)
                    for one in view.payments
                },
            )
        )

    # Paying

    def _new_key(self) -> str:
        self._keys += 1
        return f"key-{self._keys}"

    def _amount(self) -> int:
        return self._rng.randint(1, _AMOUNT_MAX)

    async def _pay_until_known(self, key: str, amount: int) -> None:
        """Pay, and send the same again while nobody can say what became of it."""
        edge = self._edge
        for _ in range(_TRIES_MAX):
            if await self._pay(edge, key, amount) or self._rng.random() < _GIVE_UP:
                return
            await asyncio.sleep(self._rng.expovariate(1.0))
            if self._rng.random() < 0.3:  # noqa: PLR2004 - some try it elsewhere
                edge = self._rng.choice(self._edges)

    async def _pay(self, edge: EdgeNode, key: str, amount: int) -> bool:
        """Send a payment once; tells whether there was a plain answer."""
        asked_at, id_ = self._loop.time(), intent_id(self._account_id, key)
        if id_ not in self._paid:
            self._paid.append(id_)
        self._facts.asked.append(
            Asked(at=asked_at, account_id=self._account_id, intent_id=id_, amount_cents=amount)
        )
        try:
            receipt = await edge.portal.pay(
                self._account_id,
                idempotency_key=key,
                amount_cents=amount,
                method_id=method_of(self._account_id),
            )
        except EdgeError as error:
            self._refused(edge, id_, error, paid=True)
            return not isinstance(error, PaymentUnknown | NotTakenHere)
        self._note(edge, receipt, asked_at, paid=True)
        return receipt.state != "checking"

    async def _ask(self) -> None:
        if not self._paid:
            return
        asked_at, id_ = self._loop.time(), self._rng.choice(self._paid[-5:])
        edge = self._edge
        try:
            receipt = await edge.portal.payment(self._account_id, id_)
        except EdgeError as error:
            self._refused(edge, id_, error, paid=False)
            return
        self._note(edge, receipt, asked_at, paid=False)

    def _note(self, edge: EdgeNode, receipt: Receipt, asked_at: float, *, paid: bool) -> None:
        self._facts.told.append(
            Told(
                at=self._loop.time(),
                asked_at=asked_at,
                paid=paid,
                edge=edge.name,
                disks_lost=edge.disks_lost,
                account_id=self._account_id,
                intent_id=receipt.intent_id,
                fingerprint=receipt.fingerprint,
                state=receipt.state,
                reason=receipt.reason,
                amount_cents=receipt.amount_cents,
                durable=receipt.durable,
            )
        )
        self._facts.tell(
            self._loop.time(),
            f"{self._account_id} at {edge.name}: {receipt.intent_id[:8]} "
            f"{receipt.amount_cents / 100:.2f} {receipt.state} {receipt.reason}".rstrip(),
        )

    def _refused(self, edge: EdgeNode, id_: str, error: EdgeError, *, paid: bool) -> None:
        which = error.which if isinstance(error, OverLimit) else ""
        self._facts.refused.append(
            Refused(
                at=self._loop.time(),
                edge=edge.name,
                account_id=self._account_id,
                intent_id=id_,
                why=type(error).__name__,
                paid=paid,
                which=which,
            )
        )
        if not isinstance(error, KeyReused | NotFound):
            self._facts.tell(
                self._loop.time(),
                f"{self._account_id} at {edge.name}: {id_[:8]} {type(error).__name__} {which}".rstrip(),
            )
