"""When a drill has to end before its time: what it broke is more than what it said it would."""

from collections import Counter
from datetime import datetime, timedelta

from chaos.history import History

WINDOW_SECONDS = 10.0
READS_MIN = 12
SHARE_MAX = 0.5
SILENT_SECONDS = 20.0
_OK = 200


def pages_fail(history: History, at: datetime) -> str:
    """More than half of the pages of the last seconds failed at edges that the drill leaves to customers."""
    since = at - timedelta(seconds=WINDOW_SECONDS)
    counts: Counter[bool] = Counter()
    for read in reversed(history.reads):
        if read.received_at < since:
            break
        if not read.archive and not history.out_of_reach(read):
            counts[read.status == _OK] += 1
    if counts.total() < READS_MIN or counts[False] <= SHARE_MAX * counts.total():
        return ""
    return f"{counts[False]} of {counts.total()} pages of the last {WINDOW_SECONDS:.0f} s failed"


def edges_silent(history: History, at: datetime) -> str:
    """An edge that the drill leaves to customers has not told its status for a long time."""
    last: dict[str, datetime] = {}
    for sample in history.samples:
        if sample.mode:
            last[sample.edge] = sample.at
    for edge in history.edges:
        if edge in history.fault.away or edge not in last:
            continue
        silent = (at - last[edge]).total_seconds()
        if silent > SILENT_SECONDS:
            return f"{edge} has not answered for {silent:.0f} s"
    return ""


USUAL = (pages_fail, edges_silent)
