"""
The keys of files at rest, as an operator gives them to an edge, and as its supervisor hands them to its processes.

They are read once: a file that is edited while the edge runs would give a process that is started anew other keys than
its siblings have. They reach the others through memory that has no name, and stand in no environment but the first.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from cache_sync.errors import KeyFileInvalid
from cache_sync.file_keys import PLAIN, FileKeys, decode_keys, read_key_file
from edge_portal.errors import ConfigError

KEY_FILE_VARIABLE: Final = "RIDETHROUGH_EDGE_KEY_FILE"
"""Names a key file."""

KEYS_VARIABLE: Final = "RIDETHROUGH_EDGE_KEYS"
"""Holds keys in base64, the current one first, parted by commas or blanks."""

_HANDED_BYTES_MAX: Final = 65536


class _Handed(msgspec.Struct):
    keys: list[str]
    source: str


def given_keys(key_file: Path | None) -> FileKeys:
    """
    Read the keys from the file that is named, or that the environment names, or from the environment itself.

    Raises:
        ConfigError: Two of them are given, or what is given holds no keys.
    """
    named, written = os.environ.get(KEY_FILE_VARIABLE), os.environ.get(KEYS_VARIABLE)
    given = {"--key-file": key_file, KEY_FILE_VARIABLE: named, KEYS_VARIABLE: written}
    sources = [source for source, value in given.items() if value]
    if len(sources) > 1:
        raise ConfigError(f"{' and '.join(sources)} are both given: give one")
    try:
        if written:
            return decode_keys(written.replace(",", " ").split(), source=KEYS_VARIABLE)
        if key_file or named:
            return read_key_file(key_file or Path(named or ""))
    except KeyFileInvalid as error:
        raise ConfigError(str(error)) from error
    return PLAIN


def without_keys(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment that neither holds nor names keys."""
    return {
        name: value
        for name, value in environment.items()
        if name not in (KEY_FILE_VARIABLE, KEYS_VARIABLE)
    }


def hand_over(keys: FileKeys) -> int:
    """Put keys where a child that is passed the returned descriptor reads them; they are gone when all close it."""
    descriptor = os.memfd_create("file keys")
    os.write(descriptor, msgspec.json.encode(_Handed(keys.texts(), keys.source)))
    return descriptor


def take_over(descriptor: int) -> FileKeys:
    """Read what `hand_over` put there, and close it."""
    try:
        # Not from where the descriptor stands: that is shared with all who were passed it.
        content = os.pread(descriptor, _HANDED_BYTES_MAX, 0)
    finally:
        os.close(descriptor)
    handed = msgspec.json.decode(content, type=_Handed)
    return decode_keys(handed.keys, source=handed.source) if handed.keys else PLAIN
