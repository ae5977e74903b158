"""Writing again what was published in another version of its body than the one that is written now."""

from collections.abc import Callable, Mapping

from cache_sync.documents import USAGE
from core_cis.publishing import publish_usage
from core_cis.store import CoreStore, Transaction
from core_cis.written_versions import read_written

BATCH_DOCUMENTS = 500

# By seq: what is written again moves behind everything, and is not met twice.
_OTHERS = """
SELECT seq, key FROM documents WHERE seq > ? AND kind = ? AND version <> ? AND body IS NOT NULL ORDER BY seq LIMIT ?
"""


def _usage(tx: Transaction, key: str) -> None:
    month, _, service_point_id = key.partition("/")
    publish_usage(tx, service_point_id, month)


# How a document is written again out of the books, by its key; kinds with one version need no way.
_AGAIN: Mapping[str, Callable[[Transaction, str], None]] = {USAGE: _usage}


def republish(store: CoreStore, kind: str, *, batch: int = BATCH_DOCUMENTS) -> int:
    """
    Write all documents of a kind in the version that is ordered; return how many were of another one.

    Done in transactions of so many documents, so that payments go on meanwhile. It may be ended at any moment and done
    again.
    """
    again, after, count = _AGAIN.get(kind), 0, 0
    while again is not None:

        def work(tx: Transaction, begin: int = after) -> list[tuple[int, str]]:
            version = read_written(tx.connection)[kind]
            found = tx.connection.execute(_OTHERS, (begin, kind, version, batch)).fetchall()
            for _, key in found:
                again(tx, key)
            return list(found)

        done = store.run(work)
        if not done:
            break
        after, count = done[-1][0], count + len(done)
    return count
