"""
Keys of files at rest: 256 random bits each, in a file that only its owner may read, or in the environment.

A database file that was made under a key names it: the first 16 bytes of such a file are SQLCipher's salt, and ours
begins with a mark and the key's id. So a wrong key is told from a damaged file, and a node may hold several keys while
one replaces another. An id is a part of the key's hash; of 256 random bits that tells nothing.
"""

import base64
import binascii
import hashlib
import hmac
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from cache_sync.errors import KeyFileInvalid

KEY_BYTES = 32
SALT_BYTES = 16
KEYS_MAX = 16
_MARK = b"RTK\x01"
_ID_BYTES = 4
_PLAIN_HEADER = b"SQLite format 3\0"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def key_id(key: bytes) -> str:
    """Name a key without telling it: eight hexadecimal digits."""
    return hashlib.sha256(b"ridethrough file key" + key).digest()[:_ID_BYTES].hex()


class FileKeys:
    """
    The keys that a process opens files with; none, and files are as they come.

    Args:
        keys: The first is the one that new files are made under; the others open older files.
        source: Where they were found, for messages.
    """

    def __init__(self, keys: Sequence[bytes] = (), *, source: str = "") -> None:
        self._keys = tuple(keys)
        self._by_id = {key_id(key): key for key in keys}
        self.source = source

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __repr__(self) -> str:
        return f"FileKeys({', '.join(self._by_id) or 'none'})"

    @property
    def current_id(self) -> str:
        """The id of the key that new files are made under; empty without one."""
        return key_id(self._keys[0]) if self._keys else ""

    @property
    def current(self) -> bytes | None:
        """The key that new files are made under."""
        return self._keys[0] if self._keys else None

    @property
    def others(self) -> tuple[bytes, ...]:
        """The keys that only open older files."""
        return self._keys[1:]

    @property
    def ids(self) -> list[str]:
        """The ids of all keys, the current one first."""
        return list(self._by_id)

    def texts(self) -> list[str]:
        """Tell the keys as key files hold them, for a process that is to have them too."""
        return [base64.b64encode(key).decode() for key in self._keys]

    def find(self, wanted_id: str) -> bytes | None:
        """Return the key of an id; None where it is not held."""
        return self._by_id.get(wanted_id)

    def derived(self, under_id: str, purpose: str) -> "FileKeys | None":
        """
        Derive a key for one purpose from a key that is held; None where it is not.

        Whoever is given what was derived learns nothing of what it was derived from.
        """
        key = self.find(under_id)
        if key is None:
            return None
        made = hmac.digest(key, f"ridethrough {purpose}".encode(), "sha256")
        return FileKeys((made,), source=purpose)


PLAIN = FileKeys()
"""No keys: files lie on the disk as they are."""


def new_salt(key: bytes, random_bytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """Make the first bytes of a new file, which name its key."""
    named = _MARK + bytes.fromhex(key_id(key))
    return named + random_bytes(SALT_BYTES - len(named))


def read_salt(path: Path) -> bytes:
    """Return the first bytes of a file; none of one that is empty or not there."""
    try:
        with path.open("rb") as file:
            return file.read(SALT_BYTES)
    except FileNotFoundError:
        return b""


def is_plain(salt: bytes) -> bool:
    """Tell whether a file's first bytes are those of a database without a key."""
    return salt == _PLAIN_HEADER


def named_key(salt: bytes) -> str | None:
    """Return the id of the key that a file's first bytes name; None where they name none."""
    if len(salt) < SALT_BYTES or not salt.startswith(_MARK):
        return None
    return salt[len(_MARK) : len(_MARK) + _ID_BYTES].hex()


def new_key_text(random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """Make a key as key files hold it, base64."""
    return base64.b64encode(random_bytes(KEY_BYTES)).decode()


def decode_keys(texts: Sequence[str], *, source: str) -> FileKeys:
    """
    Read keys in base64, the current one first.

    Raises:
        KeyFileInvalid: One is no key; says where and which, never what stood there.
    """
    keys = []
    for number, text in enumerate(texts, start=1):
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise KeyFileInvalid(
                f"{source}: key {number} is not {KEY_BYTES} bytes in base64 "
                f"(44 characters; `openssl rand -base64 {KEY_BYTES}` makes one)"
            )
        keys.append(key)
    if not keys or len(keys) > KEYS_MAX:
        raise KeyFileInvalid(f"{source} must hold 1 to {KEYS_MAX} keys, one a line")
    return FileKeys(keys, source=source)


def read_key_file(path: Path) -> FileKeys:
    """
    Read a key file: one key a line in base64, the current one first, older ones below.

    Raises:
        KeyFileInvalid: It cannot be read, others than its owner may read it, or it holds no keys.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _OTHERS:
                raise KeyFileInvalid(
                    f"{path} may be read by others (mode {stat.S_IMODE(mode):04o}): chmod 600 it first"
                )
            text = file.read(KEYS_MAX * 256).decode("ascii")
    except OSError as error:
        raise KeyFileInvalid(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KeyFileInvalid(f"{path} holds no keys in base64") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return decode_keys(lines, source=str(path))


def write_key_file(path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> FileKeys:
    """
    Make a new key in a new file of mode 0600.

    Raises:
        KeyFileInvalid: There is a file of this name, or the disk refused.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(new_key_text(random_bytes) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise KeyFileInvalid(f"{path} cannot be made: {error.strerror}") from error
    return read_key_file(path)
