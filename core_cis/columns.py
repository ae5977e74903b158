"""How the columns, keys and conditions of the core's tables are written, for SQLite and for PostgreSQL."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Integer,
    LargeBinary,
    Text,
    text,
)

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_INTEGER = BigInteger().with_variant(Integer(), "sqlite")
_BYTES = LargeBinary()


Described = tuple[str, tuple[Any, ...]]
"""A table's name and its parts."""


def text_(name: str, *parts: Any, **options: Any) -> Column[str]:
    """Make a column of text, which must be given."""
    return Column(name, _TEXT, *parts, **{"nullable": False, **options})


def integer(name: str, *parts: Any, **options: Any) -> Column[int]:
    """Make a column of whole numbers, which must be given."""
    return Column(name, _INTEGER, *parts, **{"nullable": False, **options})


def bytes_(name: str, **options: Any) -> Column[bytes]:
    """Make a column of bytes, which must be given."""
    return Column(name, _BYTES, **{"nullable": False, **options})


def key(name: str) -> Column[int]:
    """Make a primary key that the program chooses."""
    return Column(name, _INTEGER, primary_key=True, autoincrement=False)


def numbered(name: str) -> Column[int]:
    """Make a primary key that the database counts."""
    return Column(name, _INTEGER, Identity(), primary_key=True)


def in_order(dialect: str) -> Column[int] | None:
    """Keep the order of arrival, as every SQLite table does."""
    return Column("rowid", BigInteger, Identity(always=True)) if dialect == "postgresql" else None


def where(condition: str) -> dict[str, Any]:
    """Make an index of those rows only that meet a condition."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def one_of(column: str, *values: str) -> CheckConstraint:
    """Let a column hold no other than these words."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})")
