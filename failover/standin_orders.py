"""
Stand-in limits as operators order them: signed by the core for one edge, kept by it on disk.

The core tells each edge its part with its probes. What was told holds without the core, and after every restart, until
the core tells something newer. Until the first order, what stands in the node's own file holds.
"""

from pathlib import Path
from typing import Final

import msgspec
import structlog

from failover.noted_file import put_whole
from failover.signed_orders import SignedOrder, read_as_order, sign_as_order
from failover.standin import OWN_FILE, Holding, Limits, OrderPlace

FILE_NAME: Final = "standin.json"
NOTHING: Final = Limits(
    per_payment_cents=0,
    account_day_count=0,
    account_day_cents=0,
    edge_outstanding_cents=0,
    snapshot_age_seconds=0.0,
    outage_seconds=0.0,
    method_types=(),
)
"""What holds where an order was given and cannot be read: promising less is the safe reading."""

_PURPOSE: Final = b"ridethrough standin\n"
_log = structlog.get_logger(__name__)


class StandinOrder(msgspec.Struct, frozen=True, kw_only=True):
    """
    The limits of one edge; ``version`` counts the operators' orders, ``epoch`` and ``serial`` what this edge was told.

    ``limits.edge_outstanding_cents`` is the share of the fleet's total that this edge owns.
    """

    node_id: str
    epoch: int
    serial: int
    version: int
    limits: Limits

    @property
    def place(self) -> OrderPlace:
        """Tell which order this is."""
        return OrderPlace(self.epoch, self.serial)


def sign_order(order: StandinOrder, signing_key: str) -> SignedOrder:
    """Sign an order with the core's key."""
    return sign_as_order(order, purpose=_PURPOSE, signing_key=signing_key)


def read_order(signed: SignedOrder, core_key: str) -> StandinOrder | None:
    """Read an order; None for what the core has not signed, or what is no order."""
    return read_as_order(signed, StandinOrder, purpose=_PURPOSE, core_key=core_key)


class StandinLimits:
    """
    The limits that hold at this node; one instance in its agent.

    Args:
        data: The node's data folder.
        node_id: Whose limits these are.
        core_key: What the core signs with, public, base64.
        configured: What holds until the core has told of an order.
    """

    def __init__(self, data: Path, *, node_id: str, core_key: str, configured: Limits) -> None:
        self._path = data / FILE_NAME
        self._node_id = node_id
        self._core_key = core_key
        self._configured = configured
        self._broken = False
        self._order = self._written = self._read()
        self._noted: SignedOrder | None = None

    @property
    def limits(self) -> Limits:
        """What holds now."""
        return self._of(self._order)

    @property
    def version(self) -> int:
        """The operators' order that holds; 0 where none was given."""
        return self._order.version if self._order is not None else 0

    def holding(self, outstanding_cents: int) -> Holding:
        """Tell the core what would hold after a restart too, and the most that may be outstanding here."""
        place = self._written.place if self._written is not None else OWN_FILE
        shares = [self._of(each).edge_outstanding_cents for each in (self._order, self._written)]
        return Holding(place, max(*shares, outstanding_cents))

    def note(self, signed: SignedOrder) -> None:
        """
        Take over what the core says; in force at once, and durable before the core is told that it is followed.

        What the core has not signed for this node, and what is not newer than what is known, changes nothing.
        """
        if signed == self._noted:
            return
        order = read_order(signed, self._core_key)
        self._noted = signed
        if order is None or order.node_id != self._node_id:
            _log.error("limits that the core did not order", alarm="forged_limits")
            return
        held = self._order
        if held is not None and order.place < held.place:
            _log.warning("older limits than those in force were not taken", serial=order.serial)
            return
        if order == self._written:
            return
        self._order = order
        try:
            put_whole(self._path, msgspec.json.encode(signed), flush=True)
        except OSError as error:
            # The core goes on telling it until it hears that it is followed; with its next word it is tried again.
            self._noted = None
            _log.error("the limits could not be written down", error=type(error).__name__)
            return
        self._written, self._broken = order, False
        _log.info("limits", version=order.version, share=order.limits.edge_outstanding_cents)

    def _of(self, order: StandinOrder | None) -> Limits:
        if order is not None:
            return order.limits
        return NOTHING if self._broken else self._configured

    def _read(self) -> StandinOrder | None:
        try:
            signed = msgspec.json.decode(self._path.read_bytes(), type=SignedOrder)
            order = read_order(signed, self._core_key)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            order = None
        if order is None or order.node_id != self._node_id:
            self._broken = True
            _log.error("the limits in force cannot be read: only the core takes payments")
            return None
        return order
