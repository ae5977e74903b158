"""The hours in which drills are allowed."""

import re
from datetime import time

import msgspec

_FORM = re.compile(r"(\d{2}):(\d{2})-(\d{2}):(\d{2})")


class Window(msgspec.Struct, frozen=True):
    """From one time of the day to another, over midnight where the end comes first; the end is outside."""

    begin: time
    end: time

    def contains(self, moment: time) -> bool:
        """Tell whether drills are allowed at this time of the day."""
        if self.begin <= self.end:
            return self.begin <= moment < self.end
        return moment >= self.begin or moment < self.end

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"


def parse_window(text: str) -> Window:
    """Read ``22:00-05:00``. Raises ValueError for anything else, and for a window without length."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a window like 22:00-05:00")
    hours = [int(part) for part in found.groups()]
    begin, end = time(hours[0], hours[1]), time(hours[2], hours[3])
    if begin == end:
        raise ValueError(f"{text!r} begins when it ends")
    return Window(begin, end)
