"""
The stand-in limits of the fleet as operators set them: kept with the books, every version for good.

What each edge owns of the total is in `standin_shares`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

import msgspec

from cache_sync.sql import Connection
from core_cis.domain.share_plan import even_share
from core_cis.errors import LimitInvalid
from core_cis.instants import to_text
from core_cis.store import Transaction
from failover.standin import Limits, MethodType

ACTION: Final = "limits.set"
CENTS_MAX: Final = 100_000_000_000
COUNT_MAX: Final = 1_000_000
SECONDS_MAX: Final = 366 * 86_400
_Cents = Annotated[int, msgspec.Meta(ge=0, le=CENTS_MAX)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=SECONDS_MAX)]
_NEWEST = "SELECT version, limits FROM standin_limits ORDER BY version DESC LIMIT 1"


def told_as(name: str) -> str:
    """Name a field as contracts do: minor units without a suffix."""
    return "account_day_sum" if name == "account_day_cents" else name.removesuffix("_cents")


class FleetLimits(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=told_as
):
    """
    What may be outstanding without the core's word, in minor units, payments and seconds.

    An edge owns its part of ``fleet_outstanding_cents``, and ``edge_outstanding_cents`` at most. ``method_types`` are
    the saved, verified methods that may be used; none: nothing can be paid.
    """

    per_payment_cents: _Cents
    account_day_count: _Count
    account_day_cents: _Cents
    edge_outstanding_cents: _Cents
    fleet_outstanding_cents: _Cents
    snapshot_age_seconds: _Seconds
    outage_seconds: _Seconds
    method_types: tuple[MethodType, ...]

    @classmethod
    def of_configuration(cls, edges: int) -> Self:
        """Return what the configurations of so many edges begin with."""
        first = Limits()
        return cls(
            per_payment_cents=first.per_payment_cents,
            account_day_count=first.account_day_count,
            account_day_cents=first.account_day_cents,
            edge_outstanding_cents=first.edge_outstanding_cents,
            fleet_outstanding_cents=min(CENTS_MAX, first.edge_outstanding_cents * max(1, edges)),
            snapshot_age_seconds=int(first.snapshot_age_seconds),
            outage_seconds=int(first.outage_seconds),
            method_types=first.method_types,
        )

    def changed(self, values: Mapping[str, Any]) -> Self:
        """
        Return these limits with some of them changed.

        Raises:
            LimitInvalid: A value breaks its rule.
        """
        return self.of({**msgspec.structs.asdict(self), **values})

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """
        Make limits of values by name, each of which must be there.

        Raises:
            LimitInvalid: A value breaks its rule.
        """
        names = {told_as(name): name for name in values}
        try:
            return msgspec.convert({name: values[names[name]] for name in names}, cls)
        except msgspec.ValidationError as error:
            rule, _, place = str(error).partition(" - at `$.")
            field = place.rstrip("`").partition("[")[0]
            raise LimitInvalid(names.get(field, field), rule) from error

    def with_share(self, share_cents: int) -> Limits:
        """Return the limits of an edge with a share of the total."""
        return Limits(
            per_payment_cents=self.per_payment_cents,
            account_day_count=self.account_day_count,
            account_day_cents=self.account_day_cents,
            edge_outstanding_cents=share_cents,
            snapshot_age_seconds=float(self.snapshot_age_seconds),
            outage_seconds=float(self.outage_seconds),
            method_types=self.method_types,
        )


class LimitsInForce(msgspec.Struct, frozen=True, kw_only=True, rename=told_as):
    """
    The limits of the fleet; ``version`` counts orders, and is 0 while no operator has given one.

    Then each edge's own configuration holds, and ``limits`` is what configurations begin with. ``share_cents`` is the
    part of the total that each of the ``edges`` active ones is to own.
    """

    version: int
    edges: int
    share_cents: int
    limits: FleetLimits

    def told(self) -> dict[str, str | int | None]:
        """Write the order as the audit log tells it."""
        values = msgspec.to_builtins(self.limits)
        return {
            **values,
            "method_types": " ".join(self.limits.method_types),
            "version": self.version,
        }


def read_limits(connection: Connection) -> LimitsInForce:
    """Read the limits in force."""
    (edges,) = connection.execute("SELECT count(*) FROM edges WHERE status = 'active'").fetchone()
    row = connection.execute(_NEWEST).fetchone()
    version, limits = 0, FleetLimits.of_configuration(edges)
    if row is not None:
        version, limits = row[0], msgspec.json.decode(row[1], type=FleetLimits)
    share = even_share(limits.fleet_outstanding_cents, edges, limits.edge_outstanding_cents)
    return LimitsInForce(version=version, edges=edges, share_cents=share, limits=limits)


def first_limits(connection: Connection) -> Limits:
    """Return what a new edge's configuration begins with: no share of a total that is shared out already."""
    found = read_limits(connection)
    return found.limits.with_share(0) if found.version else Limits()


def set_limits(tx: Transaction, limits: FleetLimits) -> LimitsInForce:
    """Put limits in force, as the next version; the transaction must be alone."""
    version = read_limits(tx.connection).version + 1
    tx.connection.execute(
        "INSERT INTO standin_limits (version, limits, ordered_at) VALUES (?, ?, ?)",
        (version, msgspec.json.encode(limits).decode(), to_text(tx.stamp)),
    )
    # What edges took before the first order came out of their own files: as much as those begin with.
    tx.connection.execute(
        "INSERT INTO standin_shares (node_id, epoch, serial, version, share_cents, held_cents)"
        " SELECT node_id, 0, 0, 0, 0, ? FROM edges WHERE status = 'active' ON CONFLICT DO NOTHING",
        (Limits().edge_outstanding_cents if version == 1 else 0,),
    )
    return read_limits(tx.connection)
