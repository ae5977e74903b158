"""Dictionaries are known by number, and are what was shipped."""

from pathlib import Path

import pytest

from cache_sync import body_dictionaries
from cache_sync.body_dictionaries import (
    DICTIONARIES,
    WRITTEN_WITH,
    knows_dictionary,
    load_dictionary,
)
from cache_sync.documents import BODY_TYPES


@pytest.mark.parametrize("number", sorted(DICTIONARIES))
def test_shipped_dictionaries_load(number: int) -> None:
    """Each file is there, and its hash is the one that is written down."""
    assert len(load_dictionary(number)) > 0


def test_kinds_are_written_with_what_is_known() -> None:
    """A kind is written with a dictionary of this release, by a number that fits a byte, or with none."""
    assert set(WRITTEN_WITH) <= set(BODY_TYPES)
    assert all(knows_dictionary(number) for number in WRITTEN_WITH.values())
    assert all(0 < number < 256 for number in DICTIONARIES)
    assert knows_dictionary(0)
    assert not knows_dictionary(max(DICTIONARIES) + 1)


def test_shipped_dictionaries_stay_as_they_are() -> None:
    """
    What was ever shipped is listed here with its hash: documents were packed with it and lie on disks.

    A new one is added; none is changed or removed.
    """
    assert {number: file.sha256[:16] for number, file in DICTIONARIES.items()} == {
        1: "3f1f9ac0affd5665",
        2: "6991573fd4cde399",
        3: "03262651f986747e",
        4: "b2233e3ecbe432b2",
        5: "4426dad6346e8ed5",
        7: "54225d257c4e8ef0",
        6: "cfecf27fc4800ca9",
    }


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation whose dictionary was changed says so instead of packing what nobody else can read."""
    shipped = Path(body_dictionaries.__file__).parent / "dictionaries"
    for file in shipped.iterdir():
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        (tmp_path / file.name).write_bytes(content)
    monkeypatch.setattr(body_dictionaries, "_FOLDER", tmp_path)
    with pytest.raises(RuntimeError, match="damaged"):
        load_dictionary.__wrapped__(1)
