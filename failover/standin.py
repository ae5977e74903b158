"""
Stand-in limits: how much an edge takes on its own word while the core is away.

Named after the stand-in processing of card networks. Pure: the journal supplies the exposure from inside the
transaction that records, so two payments at once cannot both use the last of a limit.
"""

from typing import Final, Literal, NamedTuple, Self

import msgspec

Exceeded = Literal[
    "per_payment",
    "account_day_count",
    "account_day_sum",
    "edge_outstanding",
    "snapshot_age",
    "outage_length",
    "method_not_verified",
    "method_type",
]
MethodType = Literal["card", "bank_account"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one edge may have outstanding (accepted, not decided by the core).

    The account's limits count what it sent in the past 24 hours; each edge owns ``edge_outstanding_cents`` of the
    fleet's total, so that a partition cannot multiply it. An outage that lasts longer than ``outage_seconds`` ends what
    is taken without the core. Of the saved methods that are verified, those of ``method_types`` may be used.
    """

    per_payment_cents: int = 50_000
    account_day_count: int = 20
    account_day_cents: int = 100_000
    edge_outstanding_cents: int = 5_000_000
    snapshot_age_seconds: float = 72 * 3600.0
    outage_seconds: float = 72 * 3600.0
    method_types: tuple[MethodType, ...] = ("card", "bank_account")


class OrderPlace(NamedTuple):
    """Which of the core's orders to one edge: the core's epoch, and how many it had given that edge."""

    epoch: int
    serial: int


OWN_FILE: Final = OrderPlace(0, 0)
"""In place of an order: what stands in the node's own file."""


class Holding(NamedTuple):
    """
    What an edge tells the core of its limits: the order that it follows, and how much it may have outstanding by it.

    ``cents`` is its share, or what is outstanding there already where that is more.
    """

    place: OrderPlace
    cents: int

    def __str__(self) -> str:
        return f"{self.place.epoch}.{self.place.serial}.{self.cents}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what an edge said; None for what is none."""
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isdecimal() and len(part) <= 18 for part in parts):  # noqa: PLR2004 - epoch, serial, cents
            return None
        epoch, serial, cents = map(int, parts)
        return cls(OrderPlace(epoch, serial), cents)


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """What is outstanding before the payment in question, read in its recording transaction."""

    account_day_count: int
    account_day_cents: int
    edge_outstanding_cents: int


def exceeded(
    limits: Limits,
    exposure: Exposure,
    *,
    amount_cents: int,
    method_verified: bool,
    method_type: MethodType,
    snapshot_age_seconds: float | None,
    outage_seconds: float,
    edge_share_known: bool,
) -> Exceeded | None:
    """
    Name the first limit that one more payment would exceed; None when it fits.

    ``snapshot_age_seconds`` is None when only a lower bound is known (the machine was restarted since): that counts as
    exceeded. ``edge_share_known`` is False on a replaced edge whose siblings' copies are not counted yet: its share is
    zero until they are. ``outage_seconds`` is how long this node has not been in normal operation.
    """
    share_cents = limits.edge_outstanding_cents if edge_share_known else 0
    account_cents = exposure.account_day_cents + amount_cents
    rules: tuple[tuple[bool, Exceeded], ...] = (
        (not method_verified, "method_not_verified"),
        (method_type not in limits.method_types, "method_type"),
        (amount_cents > limits.per_payment_cents, "per_payment"),
        (exposure.account_day_count + 1 > limits.account_day_count, "account_day_count"),
        (account_cents > limits.account_day_cents, "account_day_sum"),
        (exposure.edge_outstanding_cents + amount_cents > share_cents, "edge_outstanding"),
        (
            snapshot_age_seconds is None or snapshot_age_seconds > limits.snapshot_age_seconds,
            "snapshot_age",
        ),
        (outage_seconds > limits.outage_seconds, "outage_length"),
    )
    return next((name for broken, name in rules if broken), None)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """
    The limits in force at a node, and where it stands in them.

    ``version`` is the operators' order that they are of, 0 where they are the configuration's; ``outage_seconds`` how
    long the node has not been in normal operation; ``outstanding_cents`` what counts against its share, None while that
    is not known.
    """

    limits: Limits = Limits()
    version: int = 0
    outage_seconds: float = 0.0
    outstanding_cents: int | None = 0

    @property
    def left_cents(self) -> int:
        """Tell what is left of the node's share."""
        known = self.outstanding_cents
        return 0 if known is None else max(0, self.limits.edge_outstanding_cents - known)

    def closed_by(self, snapshot_age_seconds: float | None) -> Exceeded | None:
        """Name the limit that stands in the way of every payment here, whoever makes it; see `exceeded`."""
        usable = self.limits.method_types
        return exceeded(
            self.limits,
            Exposure(
                account_day_count=0,
                account_day_cents=0,
                edge_outstanding_cents=self.outstanding_cents or 0,
            ),
            amount_cents=1,
            method_verified=True,
            method_type=usable[0] if usable else "card",
            snapshot_age_seconds=snapshot_age_seconds,
            outage_seconds=self.outage_seconds,
            edge_share_known=self.outstanding_cents is not None,
        )


def exceeded_by_message(limits: Limits, exposure: Exposure) -> Exceeded | None:
    """
    Name the limit that one more message would exceed; None when it fits.

    A message moves no money: only how many an account may send is bounded, apart from its payments.
    """
    over = exposure.account_day_count + 1 > limits.account_day_count
    return "account_day_count" if over else None
