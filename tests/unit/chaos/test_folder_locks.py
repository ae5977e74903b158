"""Who holds a data folder."""

import os
from pathlib import Path

import pytest

from chaos.folder_locks import holder
from core_cis.errors import CoreBusy
from core_cis.serving import LOCK_NAME, locked


def test_nobody_holds_what_is_free(tmp_path: Path) -> None:
    """No file, or a file that nobody locks: whatever process id an earlier holder left there."""
    assert holder(tmp_path / LOCK_NAME) is None
    (tmp_path / LOCK_NAME).write_text("4711\n")
    assert holder(tmp_path / LOCK_NAME) is None


def test_a_serving_core_says_who_it_is(tmp_path: Path) -> None:
    """Also after somebody tried to serve the same folder and was refused."""
    with locked(tmp_path):
        with pytest.raises(CoreBusy), locked(tmp_path):
            pass
        assert holder(tmp_path / LOCK_NAME) == os.getpid()
    assert holder(tmp_path / LOCK_NAME) is None
