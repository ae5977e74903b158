"""
What a node remembers of its outages: when it left normal operation and when it came back, for reconciliation.

Kept in one small file, written anew at every change; the newest `KEPT` are kept. Times are core time as the node
estimated it then, so that they compare with its intents' times of acceptance.
"""

from datetime import datetime
from pathlib import Path

import msgspec

from failover.modes import Mode
from failover.noted_file import put_whole
from failover.peer_messages import Outage

KEPT = 1000


class OutageLog:
    """
    Writes down when outages begin and end; for one process.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = read_outages(path)

    @property
    def began_at(self) -> datetime | None:
        """When the outage began that goes on; None while there is none."""
        going_on = bool(self._known) and self._known[-1].ended_at is None
        return self._known[-1].began_at if going_on else None

    def note(self, mode: Mode, now: datetime) -> None:
        """
        Take note of the mode that the node is in; nothing is written unless an outage begins or ends.

        Raises:
            OSError: It could not be written, and is tried again with the next note.
        """
        going_on = self.began_at is not None
        if (mode != "normal") == going_on:
            return
        if going_on:
            began_at = self._known[-1].began_at
            changed = [*self._known[:-1], Outage(began_at, max(began_at, now))]
        else:
            changed = [*self._known, Outage(now)][-KEPT:]
        put_whole(self._path, msgspec.json.encode(changed), flush=True)
        self._known = changed


def read_outages(path: Path) -> list[Outage]:
    """Read what is remembered, the oldest first; nothing where the file is missing or cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Outage])
    except (OSError, msgspec.DecodeError):
        return []
