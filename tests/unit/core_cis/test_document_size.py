"""A document that edges would not take is refused by name where it is published, and nothing else changes."""

import contextlib
from pathlib import Path

import pytest

from cache_sync.clock import SystemClock
from cache_sync.packed_bodies import BODY_BYTES_MAX, unpack_body
from core_cis.errors import DocumentTooLarge
from core_cis.store import CoreStore, Transaction

DOCUMENTS = "SELECT key, body FROM documents ORDER BY key"
CHANGE = "UPDATE utility SET name = 'Changed'"


def publish_too_much(tx: Transaction) -> None:
    """Change something, publish a document, and another one that is too long."""
    tx.connection.execute(CHANGE)
    tx.publish_encoded("A-2", "statement", "st_2", b"{}")
    tx.publish_encoded("A-1", "statement", "st_3", b" " * (BODY_BYTES_MAX + 1))


def test_the_transaction_that_would_publish_it_changes_nothing(tmp_path: Path) -> None:
    """The error names account, kind, length and limit; the longest that is allowed goes out."""
    with CoreStore.open(tmp_path, SystemClock()) as store:
        with pytest.raises(DocumentTooLarge) as raised:
            store.run(publish_too_much)
        error = raised.value
        assert (error.account_id, error.kind) == ("A-1", "statement")
        assert (error.text_bytes, error.bytes_max) == (BODY_BYTES_MAX + 1, BODY_BYTES_MAX)
        assert (
            str(error)
            == "the statement document of account A-1 has 1048577 bytes, 1048576 are the most"
        )
        assert store.connection.execute(DOCUMENTS).fetchall() == []
        assert store.utility().name != "Changed"
        with store.transaction() as tx:
            tx.publish_encoded("A-1", "statement", "st_2", b" " * BODY_BYTES_MAX)
        ((key, body),) = store.connection.execute(DOCUMENTS).fetchall()
        assert (key, unpack_body(body)) == ("st_2", b" " * BODY_BYTES_MAX)


def test_a_part_of_a_transaction_may_fail_alone(tmp_path: Path) -> None:
    """What was published before and after it goes out."""
    with CoreStore.open(tmp_path, SystemClock()) as store:
        with store.transaction() as tx:
            tx.publish_encoded("A-1", "statement", "st_1", b"{}")
            with contextlib.suppress(DocumentTooLarge), tx.savepoint():
                publish_too_much(tx)
            tx.publish_encoded("A-3", "statement", "st_4", b"{}")
        found = [key for key, _ in store.connection.execute(DOCUMENTS)]
        assert (found, store.utility().name != "Changed") == (["st_1", "st_4"], True)
