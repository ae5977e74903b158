"""Instants keep their microseconds and their order in the database."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from core_cis.instants import from_text, local_date, to_text


def test_texts_sort_like_instants() -> None:
    """Whatever their zones and fractions, the texts' order is the instants'."""
    base = datetime(2026, 3, 10, 12, tzinfo=UTC)
    instants = [
        base,
        base + timedelta(microseconds=1),
        base.astimezone(timezone(timedelta(hours=-7))) + timedelta(seconds=1),
        base + timedelta(days=1),
    ]
    texts = [to_text(instant) for instant in instants]
    assert texts == sorted(texts)
    assert [from_text(text) for text in texts] == instants


def test_instant_needs_a_zone() -> None:
    """A time without a zone is no instant."""
    with pytest.raises(ValueError, match="time zone"):
        to_text(datetime(2026, 3, 10))  # noqa: DTZ001 - the subject


def test_local_date_crosses_midnight() -> None:
    """The same instant is two dates in two zones."""
    instant = datetime(2026, 3, 10, 3, tzinfo=UTC)
    assert local_date(instant, "America/Chicago") == date(2026, 3, 9)
    assert local_date(instant, "UTC") == date(2026, 3, 10)
