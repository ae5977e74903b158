"""The core's keys are made once and are nobody else's business."""

import threading
from pathlib import Path

from core_cis.keys import FILE_NAME, CoreKeys, load_keys, write_private


def test_keys_are_made_once(tmp_path: Path) -> None:
    """The second start finds the first one's keys, in a file of mode 0600."""
    first = load_keys(tmp_path)
    assert load_keys(tmp_path) == first
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert len({first.operator_token, first.node_secret, first.session_key, first.form_key}) == 4
    assert len(first.lookup_key_bytes) == 32


def test_starts_at_once_agree(tmp_path: Path) -> None:
    """Processes that start at the same time end up with the same keys."""
    found: list[CoreKeys] = []
    threads = [threading.Thread(target=lambda: found.append(load_keys(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({keys.operator_token for keys in found}) == 1


def test_private_file_replaces_a_readable_one(tmp_path: Path) -> None:
    """A file that others could read is replaced by one that they cannot."""
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
