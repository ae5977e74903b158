"""Instants and local dates as the database holds them."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo


def to_text(instant: datetime) -> str:
    """
    Write an instant in UTC with six digits of a second, so that texts sort like the instants.

    Raises:
        ValueError: The instant names no time zone.
    """
    if instant.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_text(text: str) -> datetime:
    """Read what `to_text` wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)


def local_date(instant: datetime, timezone: str) -> date:
    """Tell the date of an instant in a time zone (an IANA name)."""
    return instant.astimezone(ZoneInfo(timezone)).date()
