"""
What a process of an edge does when it finds the snapshot damaged: it tells the applier, the only one who can help.

It orders a comparison, as an operator would. That reads every row, and has the snapshot built anew when it cannot.
"""

from pathlib import Path
from typing import Final

import structlog

from cache_sync.clock import Clock
from cache_sync.errors import DamagedSnapshot
from edge_portal.verifier import order_verification

TOLD_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class DamageReport:
    """
    Orders a comparison, at most once a minute.

    Args:
        order_path: Where orders are put.
        clock: Time.
    """

    def __init__(self, order_path: Path, clock: Clock) -> None:
        self._order_path = order_path
        self._clock = clock
        self._not_before = 0.0

    def tell(self, error: DamagedSnapshot) -> None:
        """Order a comparison because of this, unless one was ordered a moment ago."""
        now = self._clock.boot_seconds()
        if now < self._not_before:
            return
        self._not_before = now + TOLD_SECONDS
        log.error("the snapshot is damaged; a comparison is ordered", why=str(error))
        try:
            order_verification(self._order_path)
        except OSError as refused:
            log.warning("no comparison could be ordered", why=refused.strerror)
