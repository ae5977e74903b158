"""The terms of collections as operators set them: kept with the books, every version for good."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from cache_sync.sql import Connection
from core_cis.domain.collecting import Moratorium, Terms
from core_cis.errors import CollectionRefused
from core_cis.instants import to_text
from core_cis.store import Transaction

_NEWEST = "SELECT version, terms FROM collection_terms ORDER BY version DESC LIMIT 1"
_VERSION = "SELECT terms FROM collection_terms WHERE version = ?"
_DAYS_MAX: Final = 366
_CENTS_MAX: Final = 1_000_000
_BASIS_POINTS_MAX: Final = 10_000


class TermsInForce(msgspec.Struct, frozen=True, kw_only=True):
    """The terms that hold, and which version of them."""

    version: int
    terms: Terms


def read_terms(connection: Connection) -> TermsInForce | None:
    """Read the terms in force; None while no operator has set any: then nothing is collected."""
    row = connection.execute(_NEWEST).fetchone()
    if row is None:
        return None
    return TermsInForce(version=row[0], terms=msgspec.json.decode(row[1], type=Terms))


def terms_of(connection: Connection, version: int) -> Terms:
    """Read the terms that a step was taken under."""
    (encoded,) = connection.execute(_VERSION, (version,)).fetchone()
    return msgspec.json.decode(encoded, type=Terms)


def changed(
    terms: Terms, values: Mapping[str, int], *, moratoria: tuple[Moratorium, ...] | None = None
) -> Terms:
    """
    Return terms with some of them changed.

    Raises:
        CollectionRefused: A value is out of range, or a moratorium ends before it begins.
    """
    for name, value in values.items():
        most = (
            _DAYS_MAX
            if name.endswith("_days")
            else _BASIS_POINTS_MAX
            if name.endswith("_points")
            else _CENTS_MAX
        )
        if not 0 <= value <= most:
            raise CollectionRefused(f"{name} is between 0 and {most}")
    for each in moratoria or ():
        if each.last < each.first:
            raise CollectionRefused(
                f"a moratorium that ends on {each.last} cannot begin on {each.first}"
            )
    kept = terms.moratoria if moratoria is None else moratoria
    fields: dict[str, Any] = {**values, "moratoria": kept}
    return msgspec.structs.replace(terms, **fields)


def set_terms(tx: Transaction, terms: Terms) -> TermsInForce:
    """Put terms in force, as the next version; the transaction must be alone."""
    known = read_terms(tx.connection)
    version = 1 if known is None else known.version + 1
    tx.connection.execute(
        "INSERT INTO collection_terms (version, terms, ordered_at) VALUES (?, ?, ?)",
        (version, msgspec.json.encode(terms).decode(), to_text(tx.stamp)),
    )
    return TermsInForce(version=version, terms=terms)


def told(in_force: TermsInForce) -> dict[str, str | int | None]:
    """Write terms as the audit log tells them."""
    values: dict[str, Any] = msgspec.to_builtins(in_force.terms)
    held = " ".join(f"{each['first']}..{each['last']}" for each in values.pop("moratoria"))
    return {**values, "moratoria": held, "version": in_force.version}
