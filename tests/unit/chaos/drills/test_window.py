"""The hours in which drills are allowed."""

from datetime import time

import pytest

from chaos.drills.window import parse_window


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("09:00-17:30", [time(9, 0), time(17, 29, 59)], [time(8, 59, 59), time(17, 30)]),
        ("22:00-05:00", [time(22, 0), time(0, 0), time(4, 59)], [time(5, 0), time(21, 59)]),
    ],
)
def test_a_window_may_lie_over_midnight(text: str, inside: list[time], outside: list[time]) -> None:
    """Its begin is inside and its end is not."""
    window = parse_window(text)
    assert [window.contains(moment) for moment in inside] == [True] * len(inside)
    assert [window.contains(moment) for moment in outside] == [False] * len(outside)
    assert str(window) == text


@pytest.mark.parametrize("text", ["", "22-5", "22:00", "25:00-26:00", "10:00-10:00", "9:00-10:00"])
def test_anything_else_is_refused(text: str) -> None:
    """Also what has no length: it would allow nothing, or everything."""
    with pytest.raises(ValueError, match=r".+"):
        parse_window(text)
