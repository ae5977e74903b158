"""How an edge is given its keys, and how its processes are handed them."""

import os
from pathlib import Path

import pytest

from cache_sync.file_keys import PLAIN, new_key_text, write_key_file
from edge_portal.errors import ConfigError
from edge_portal.given_keys import (
    KEY_FILE_VARIABLE,
    KEYS_VARIABLE,
    given_keys,
    hand_over,
    take_over,
    without_keys,
)


def test_each_way_to_give_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an option, by the name of a file, or in the environment itself; none where nothing is given."""
    assert not given_keys(None)
    path = tmp_path / "keys"
    made = write_key_file(path)
    assert given_keys(path).ids == made.ids
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(path))
    assert given_keys(None).ids == made.ids
    monkeypatch.delenv(KEY_FILE_VARIABLE)
    first, second = new_key_text(), new_key_text()
    monkeypatch.setenv(KEYS_VARIABLE, f"{first}, {second}")
    assert given_keys(None).texts() == [first, second]


def test_two_ways_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to know which of them wins."""
    path = tmp_path / "keys"
    write_key_file(path)
    monkeypatch.setenv(KEYS_VARIABLE, new_key_text())
    with pytest.raises(ConfigError, match="both given"):
        given_keys(path)


def test_what_holds_no_key_is_refused_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable, not what stood in it."""
    monkeypatch.setenv(KEYS_VARIABLE, "no-key")
    with pytest.raises(ConfigError, match=KEYS_VARIABLE) as refused:
        given_keys(None)
    assert "no-key" not in str(refused.value)


def test_every_process_is_handed_all_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many read them, from the same memory; and no environment but the first holds any."""
    monkeypatch.setenv(KEYS_VARIABLE, f"{new_key_text()} {new_key_text()}")
    keys = given_keys(None)
    descriptor = hand_over(keys)
    for _ in range(2):
        taken = take_over(os.dup(descriptor))
        assert (taken.texts(), taken.source) == (keys.texts(), KEYS_VARIABLE)
    os.close(descriptor)
    assert KEYS_VARIABLE not in without_keys(dict(os.environ))


def test_no_keys_are_handed_over_too() -> None:
    """A plain edge's processes open plain files."""
    assert take_over(hand_over(PLAIN)).ids == []
