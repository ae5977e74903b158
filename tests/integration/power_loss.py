"""
A disk whose power can be cut, after the fact.

`record` puts itself between SQLite and the operating system, in this process and for good, and notes what is written
and flushed in one folder; `record_python` notes likewise what Python itself renames, removes, flushes and overwrites.
`DiskRecord.image` says what the folder holds after a power loss at some point: all that was flushed before it, and of
the rest whatever the disk liked: nothing, all, or a part in whole sectors.

SQLite calls back into functions of this module until the process ends, so it has to end by `os._exit`.
"""

import ctypes
import io
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from sqlcipher3 import _sqlite3

from cache_sync.snapshot_folder import SnapshotFolder

SECTOR_BYTES: Final = 512
LOST_SHARE: Final = 0.4
TORN_SHARE: Final = 0.2
_OK: Final = 0

_Pointer = ctypes.c_void_p
_Open = ctypes.CFUNCTYPE(
    ctypes.c_int, _Pointer, _Pointer, _Pointer, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
_Delete = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, ctypes.c_int)
_Write = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, ctypes.c_int, ctypes.c_int64)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int)


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, as far as it is replaced."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", _Pointer),
        ("zName", ctypes.c_char_p),
        ("pAppData", _Pointer),
        ("xOpen", _Open),
        ("xDelete", _Delete),
        *((f"rest_{number}", _Pointer) for number in range(16)),
    )


class _IoMethods(ctypes.Structure):
    """`sqlite3_io_methods`, as far as it is replaced."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("xClose", _Pointer),
        ("xRead", _Pointer),
        ("xWrite", _Write),
        ("xTruncate", _Truncate),
        ("xSync", _Sync),
        *((f"rest_{number}", _Pointer) for number in range(13)),
    )


class Operation(NamedTuple):
    """
    Something that was done to the folder's disk.

    To a file, by number: `write`, `truncate` (to `offset` bytes) or `sync`. To names: `create`, `rename` (to `target`),
    `unlink`, or `sync names`. `told` is no operation: somebody was told that `told` is kept.
    """

    what: str
    file: int = 0
    offset: int = 0
    content: bytes = b""
    name: str = ""
    target: str = ""
    told: tuple[int, int] | None = None


class DiskRecord:
    """What was done to one folder, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.operations: list[Operation] = []
        self._files: dict[str, int] = {}
        self._count = 0

    def open(self, path: str) -> int:
        """Note that a file is opened, made if need be; return its number, 0 for one that lies elsewhere."""
        if Path(path).parent != self.folder:
            return 0
        name = Path(path).name
        if name not in self._files:
            self._count += 1
            self._files[name] = self._count
            self.note("create", file=self._count, name=name)
        return self._files[name]

    def note(self, what: str, **details: Any) -> None:
        """Note an operation."""
        self.operations.append(Operation(what, **details))

    def unlink(self, name: str) -> None:
        """Note that a name is gone."""
        if self._files.pop(name, 0):
            self.note("unlink", name=name)

    def rename(self, source: Path, target: Path) -> None:
        """Note that a file has another name, which may have been another file's."""
        if source.parent != self.folder:
            return
        self._files[target.name] = self._files.pop(source.name)
        self.note("rename", name=source.name, target=target.name)

    def told(self, upto: int) -> tuple[int, int] | None:
        """Return what was told last before a point; None when nothing was."""
        kept = [one.told for one in self.operations[:upto] if one.what == "told"]
        return kept[-1] if kept else None

    def write_image(self, upto: int, rng: Random, folder: Path) -> None:
        """Make a folder that holds what `image` tells."""
        folder.mkdir(parents=True)
        for name, content in self.image(upto, rng).items():
            (folder / name).write_bytes(content)

    def image(self, upto: int, rng: Random) -> dict[str, bytes]:
        """Return what the folder holds after a power loss at a point: names and contents."""
        done = self.operations[:upto]
        contents = self._contents(done, rng)
        return {name: contents.get(file, b"") for name, file in self._names(done, rng).items()}

    def _contents(self, done: list[Operation], rng: Random) -> dict[int, bytes]:
        flushed = {one.file: number for number, one in enumerate(done) if one.what == "sync"}
        contents: dict[int, bytearray] = {}
        for number, one in enumerate(done):
            if one.what not in {"write", "truncate"}:
                continue
            content = contents.setdefault(one.file, bytearray())
            is_flushed = number < flushed.get(one.file, -1)
            if one.what == "truncate":
                if is_flushed or rng.random() < 1 - LOST_SHARE:
                    del content[one.offset :]
                continue
            written = one.content if is_flushed else _what_is_left(one.content, rng)
            if written:
                missing = one.offset + len(written) - len(content)
                content.extend(bytes(max(0, missing)))
                content[one.offset : one.offset + len(written)] = written
        return {file: bytes(content) for file, content in contents.items()}

    def _names(self, done: list[Operation], rng: Random) -> dict[str, int]:
        """Names are kept in the order in which they changed, as journals of file systems do."""
        changes = [
            (number, one)
            for number, one in enumerate(done)
            if one.what in {"create", "rename", "unlink"}
        ]
        created = {one.file: number for number, one in changes if one.what == "create"}
        kept_through = -1
        for number, one in enumerate(done):
            if one.what == "sync names":
                kept_through = number
            elif one.what == "sync":
                # A file that was flushed has its name; what was done to names later may be lost.
                kept_through = max(kept_through, created[one.file])
        certain = sum(number <= kept_through for number, _ in changes)
        names: dict[str, int] = {}
        for _, one in changes[: rng.randint(certain, len(changes))]:
            if one.what == "create":
                names[one.name] = one.file
            elif one.what == "rename":
                names[one.target] = names.pop(one.name)
            else:
                names.pop(one.name, None)
        return names


def _what_is_left(content: bytes, rng: Random) -> bytes:
    chance = rng.random()
    if chance < LOST_SHARE:
        return b""
    if chance < LOST_SHARE + TORN_SHARE:
        sectors = len(content) // SECTOR_BYTES
        return content[: rng.randint(0, sectors) * SECTOR_BYTES]
    return content


class RecordedFolder(SnapshotFolder):
    """A snapshot folder whose own operations are recorded too."""

    def __init__(self, disk: DiskRecord) -> None:
        super().__init__(disk.folder)
        self._disk = disk

    def _replace(self, source: Path, target: Path) -> None:
        super()._replace(source, target)
        self._disk.rename(source, target)

    def _sync(self, path: Path) -> None:
        super()._sync(path)
        if path == self.directory:
            self._disk.note("sync names")
            return
        known = len(self._disk.operations)
        file = self._disk.open(str(path))
        if len(self._disk.operations) > known:
            # The pointer: written at once, and not by SQLite.
            self._disk.note("write", file=file, content=path.read_bytes())
        self._disk.note("sync", file=file)

    def remove_unneeded(self, keep: set[Path]) -> None:
        """Remove, and note what is gone."""
        self._noting_what_goes(lambda: super(RecordedFolder, self).remove_unneeded(keep))

    def discard(self, build: Path) -> None:
        """Remove, and note what is gone."""
        self._noting_what_goes(lambda: super(RecordedFolder, self).discard(build))

    def _noting_what_goes(self, remove: Callable[[], None]) -> None:
        before = _names_in(self.directory)
        remove()
        for name in before - _names_in(self.directory):
            self._disk.unlink(name)


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


class _Shim:
    """Stands between SQLite and its disk; kept for as long as the process lives."""

    def __init__(self, disk: DiskRecord) -> None:
        self._disk = disk
        self._library = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        self._library.sqlite3_vfs_register.argtypes = [ctypes.POINTER(_Vfs), ctypes.c_int]
        self._beneath = self._library.sqlite3_vfs_find(None)
        self._files: dict[int, int] = {}
        self._methods: dict[int, _IoMethods] = {}
        self._vfs = _Vfs()
        ctypes.memmove(ctypes.byref(self._vfs), self._beneath, ctypes.sizeof(_Vfs))
        self._open, self._delete = self._beneath.contents.xOpen, self._beneath.contents.xDelete
        self._vfs.zName = b"recorded"
        self._vfs.pNext = None
        self._vfs.xOpen = _Open(self._on_open)
        self._vfs.xDelete = _Delete(self._on_delete)

    def install(self) -> None:
        """Be every later connection's disk."""
        assert self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) == _OK

    def _on_open(self, vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        answer = int(self._open(vfs, name, file, flags, out))
        if answer == _OK:
            path = ctypes.string_at(name).decode() if name else ""
            self._files[file] = self._disk.open(path)
            first = ctypes.cast(file, ctypes.POINTER(_Pointer))
            first[0] = ctypes.addressof(self._recording(first[0]))
        return answer

    def _on_delete(self, vfs: int, name: int, flush_names: int) -> int:
        answer = int(self._delete(vfs, name, flush_names))
        path = Path(ctypes.string_at(name).decode())
        if answer == _OK and path.parent == self._disk.folder:
            self._disk.unlink(path.name)
            if flush_names:
                self._disk.note("sync names")
        return answer

    def _recording(self, address: int) -> _IoMethods:
        """Return the methods at an address, with those replaced that change the disk."""
        if address in self._methods:
            return self._methods[address]
        beneath = ctypes.cast(address, ctypes.POINTER(_IoMethods)).contents
        methods = _IoMethods()
        ctypes.memmove(ctypes.byref(methods), ctypes.byref(beneath), ctypes.sizeof(_IoMethods))
        disk, files = self._disk, self._files
        write, truncate, sync = beneath.xWrite, beneath.xTruncate, beneath.xSync

        def on_write(file: int, content: int, count: int, offset: int) -> int:
            if files[file]:
                written = ctypes.string_at(content, count)
                disk.note("write", file=files[file], offset=offset, content=written)
            return int(write(file, content, count, offset))

        def on_truncate(file: int, count: int) -> int:
            if files[file]:
                disk.note("truncate", file=files[file], offset=count)
            return int(truncate(file, count))

        def on_sync(file: int, flags: int) -> int:
            if files[file]:
                disk.note("sync", file=files[file])
            return int(sync(file, flags))

        methods.xWrite = _Write(on_write)
        methods.xTruncate = _Truncate(on_truncate)
        methods.xSync = _Sync(on_sync)
        # Its own pointers come out of a copy: what was cast from an address is not kept alive by it.
        self._methods[address] = methods
        return methods


_installed: list[_Shim] = []


class _NotedFile(io.FileIO):
    """A file of the folder that Python itself writes to, unbuffered."""

    def __init__(self, path: str, mode: str, disk: DiskRecord) -> None:
        super().__init__(path, mode)
        self._disk, self._number = disk, disk.open(path)

    def write(self, content: Any) -> int:
        """Write, and note it."""
        self._disk.note("write", file=self._number, offset=self.tell(), content=bytes(content))
        return super().write(content)


def record_python(disk: DiskRecord) -> None:
    """Record from now on what Python's own calls do to the folder's names, and to files that it opens unbuffered."""
    plain_open, replace, unlink, fsync = io.open, os.replace, os.unlink, os.fsync

    def on_open(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
        if buffering == 0 and Path(file).parent == disk.folder:
            return _NotedFile(str(file), mode.replace("b", ""), disk)
        return plain_open(file, mode, buffering, *more, **named)

    def on_replace(source: Path, target: Path) -> None:
        replace(source, target)
        disk.rename(Path(source), Path(target))

    def on_unlink(path: Path, **named: Any) -> None:
        unlink(path, **named)
        if Path(path).parent == disk.folder:
            disk.unlink(Path(path).name)

    def on_fsync(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path == disk.folder:
            disk.note("sync names")
        elif path.parent == disk.folder:
            disk.note("sync", file=disk.open(str(path)))

    io.open, os.replace, os.unlink, os.fsync = on_open, on_replace, on_unlink, on_fsync  # type: ignore[assignment]


def record(folder: Path) -> DiskRecord:
    """Begin to record what this process does to a folder; once in a process."""
    assert not _installed, "once in a process"
    disk = DiskRecord(folder)
    shim = _Shim(disk)
    shim.install()
    _installed.append(shim)
    return disk
