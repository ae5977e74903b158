"""
The compression dictionaries that bodies are packed with: files beside this module, known by number and hash.

Documents outlive releases: a dictionary that has ever been shipped stays for ever, under its number, as it is. To write
with a better one, train it (`python -m chaos dictionaries`), add it under the next number, and name it in
`WRITTEN_WITH`: nodes that do not know it yet stop applying (`unknown_version:dictionary:N`) until they are upgraded, so
edges are upgraded before the core.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from cache_sync.documents import ACCOUNT, ARCHIVE, CREDENTIAL, MESSAGE, PAYMENT, STATEMENT, USAGE

NO_DICTIONARY: Final = 0
_FOLDER: Final = Path(__file__).parent / "dictionaries"


class DictionaryFile(NamedTuple):
    """A shipped dictionary: its file, and the SHA-256 of its bytes in hex."""

    name: str
    sha256: str


DICTIONARIES: Final[dict[int, DictionaryFile]] = {
    1: DictionaryFile(
        "1-account.zdict", "3f1f9ac0affd5665ee03cd2404be26e27990351f14b59af785fc581c4b42fec4"
    ),
    2: DictionaryFile(
        "2-archive.zdict", "6991573fd4cde399bdef00be1882913f2bc79fb29811c99b2f8582071ac1abb1"
    ),
    3: DictionaryFile(
        "3-credential.zdict", "03262651f986747eac44257358d92c62964eb11d2352e018cebf4148ae4e1c14"
    ),
    4: DictionaryFile(
        "4-payment.zdict", "b2233e3ecbe432b2ca21500ba10963d03389e0fe8f17f83ab30443cde807f15c"
    ),
    5: DictionaryFile(
        "5-statement.zdict", "4426dad6346e8ed5c28dce7064431d3a4c4b578983760424fa113562faf1cc19"
    ),
    6: DictionaryFile(
        "6-usage.zdict", "cfecf27fc4800ca93f7572107546b858c830d7a3971bff20d64ff591c31bc6c1"
    ),
    7: DictionaryFile(
        "7-message.zdict", "54225d257c4e8ef03fa0f62b76a8b4daacc94cb69f0431189e23dbe768c5b64e"
    ),
}

WRITTEN_WITH: Final[dict[str, int]] = {
    ACCOUNT: 1,
    ARCHIVE: 2,
    CREDENTIAL: 3,
    PAYMENT: 4,
    STATEMENT: 5,
    USAGE: 6,
    MESSAGE: 7,
}
"""Which dictionary bodies of a kind are packed with; kinds that are not named are packed without one."""


def knows_dictionary(number: int) -> bool:
    """Tell whether this release can unpack what was packed with a dictionary."""
    return number == NO_DICTIONARY or number in DICTIONARIES


@cache
def load_dictionary(number: int) -> zstandard.ZstdCompressionDict:
    """
    Load a dictionary, once a process, and check that it is the one that was shipped.

    Raises:
        OSError: Its file cannot be read.
        RuntimeError: Its file is not what was shipped: this installation is damaged.
    """
    file = DICTIONARIES[number]
    content = (_FOLDER / file.name).read_bytes()
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise RuntimeError(f"the dictionary {file.name} is damaged: install this release again")
    return zstandard.ZstdCompressionDict(content)
