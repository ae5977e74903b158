"""How many rows to ask for at a time: few enough for short transactions, many enough for few of them."""

from cache_sync.follower_settings import FollowerSettings


class PagePace:
    """
    The number of rows a page, moved by how long the last transactions took.

    Args:
        settings: The fewest and the most, and how long a transaction may take.
    """

    def __init__(self, settings: FollowerSettings) -> None:
        self._rows_min = settings.page_rows_min
        self._rows_max = settings.page_rows
        self._transaction_seconds = settings.transaction_seconds
        self.rows = self._rows_max

    def note(self, rows: int, seconds: float) -> None:
        """Note that a transaction of so many rows took so long."""
        if rows <= 0 or seconds <= 0:
            return
        fitting = int(rows * self._transaction_seconds / seconds)
        if fitting < self.rows:
            self.rows = max(self._rows_min, fitting)
        elif rows >= self.rows // 2:
            # Only a transaction of that size says that a larger one may be tried.
            self.rows = min(self._rows_max, fitting, self.rows * 2)
