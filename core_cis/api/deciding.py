"""What keeps the core from deciding what edges bring, as they are told it."""

from collections.abc import Iterator
from contextlib import contextmanager

from cache_sync.sql import CommitUnknown, DatabaseError
from core_cis.errors import EdgesAwaited, NotBegun, WriterFull
from failover.web import Problem


@contextmanager
def deciding(pause_seconds: float) -> Iterator[None]:
    """
    Tell an edge why the core did not decide, and whether that is certain; repeating the same is right every time.

    Args:
        pause_seconds: How long it should wait where the core is busy.

    Raises:
        Problem: 503 `core_busy`, `edges_awaited`, `not_decided`: nothing was done. 504 `unknown_outcome`: not known.
    """
    try:
        yield
    except (NotBegun, WriterFull) as error:
        raise Problem(
            "core_busy",
            status=503,
            title="The core is busy",
            detail="Nothing was done.",
            retry="same",
            headers={"Retry-After": str(max(1, round(pause_seconds)))},
        ) from error
    except EdgesAwaited as error:
        raise Problem(
            "edges_awaited",
            status=503,
            title="This core was restored and has not heard from every edge yet",
            retry="same",
            headers={"Retry-After": "1"},
        ) from error
    except CommitUnknown as error:
        raise Problem(
            "unknown_outcome",
            status=504,
            title="The core's database was lost while it decided",
            detail="Ask again with the same: each intent is decided once.",
            retry="same",
        ) from error
    except DatabaseError as error:
        raise Problem(
            "not_decided", status=503, title="The core cannot write now", retry="same"
        ) from error
