"""A snapshot file that has arrived in part: which of it is good, what comes next, and when it is whole. Blocking."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache_sync.errors import SnapshotRefused, StorageFailed
from cache_sync.snapshot_file import SnapshotManifest, chunk_digest
from cache_sync.snapshot_file_cut import check_space

_SUFFIX = ".part"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FilePart:
    """
    The part of one file that is there, in chunks whose hashes were checked.

    Whatever lies on the disk from an earlier life is believed only as far as its hashes are right, so it does not
    matter how that life ended.

    Args:
        directory: Where it lies; made when it is not there.
        manifest: What it is a part of.
    """

    def __init__(self, directory: Path, manifest: SnapshotManifest) -> None:
        self.path = directory / f"{manifest.name}{_SUFFIX}"
        self.manifest = manifest
        self._file: int | None = None
        # A thread that still writes when the follower is stopped must not find another file under its descriptor.
        self._turn = threading.Lock()
        self.chunks = 0
        self.tail = b""

    @property
    def fetched_bytes(self) -> int:
        """How much of the file is there."""
        begin = min(self.chunks * self.manifest.chunk_bytes, self.manifest.file_bytes)
        return begin + len(self.tail)

    def open(self) -> None:
        """
        Open it, and find out how much of it is good; the rest is cut off.

        Raises:
            SnapshotRefused: `no_space` for all of the file.
            StorageFailed: The disk refused.
        """
        manifest = self.manifest
        with self._mapped(), self._turn:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_others()
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            while self.chunks < len(manifest.chunks):
                begin, end = manifest.chunk_range(self.chunks)
                content = os.pread(self._file, end - begin, begin)
                if len(content) < end - begin:
                    # The beginning of a chunk: what is missing of it is asked for, and its hash decides.
                    self.tail = content
                    break
                if chunk_digest(content) != manifest.chunks[self.chunks]:
                    break
                self.chunks += 1
            os.ftruncate(self._file, self.fetched_bytes)
        try:
            check_space(self.path, manifest.file_bytes - self.fetched_bytes)
        except StorageFailed as error:
            raise SnapshotRefused("no_space", str(error)) from error

    def missing(self) -> tuple[int, int]:
        """Return the range of bytes that is to be asked for next."""
        begin, end = self.manifest.chunk_range(self.chunks)
        return begin + len(self.tail), end

    def add(self, content: bytes | bytearray) -> None:
        """
        Add what was missing of a chunk.

        Raises:
            SnapshotRefused: `chunk` where it is not the signed one, `no_space` where the disk is full.
            StorageFailed: The disk refused otherwise, or the file was let go.
        """
        begin, end = self.missing()
        assert len(content) == end - begin, "what was missing"
        with self._mapped(), self._turn:
            if self._file is None:
                raise StorageFailed(f"{self.path.name} was let go")
            _write_all(self._file, content, begin)
        resumed, chunk = bool(self.tail), self.tail + content if self.tail else content
        self.tail = b""
        if chunk_digest(chunk) == self.manifest.chunks[self.chunks]:
            self.chunks += 1
        elif not resumed:
            raise SnapshotRefused("chunk", f"chunk {self.chunks} is not the one that was signed")
        # Its beginning is from an earlier life: all of it is asked for again before anybody is blamed.

    def finish(self) -> None:
        """
        Let the whole file go.

        It is the signed one because each of its chunks is: hashing all of it once more would cost a third of the time.

        Raises:
            SnapshotRefused: `truncated`.
        """
        self.close()
        if self.chunks < len(self.manifest.chunks):
            raise SnapshotRefused("truncated", "the file is not whole")

    def close(self) -> None:
        """Let the file go; what there is of it stays."""
        with self._turn:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def remove(self) -> None:
        """Remove what there is of it."""
        self.close()
        with self._mapped():
            for path in self.path.parent.glob(f"{self.path.name}*"):
                path.unlink(missing_ok=True)

    def _remove_others(self) -> None:
        for path in self.path.parent.iterdir():
            if path != self.path:
                path.unlink(missing_ok=True)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise SnapshotRefused("no_space", "the disk is full") from error
            raise StorageFailed(f"{self.path.name}: {error.strerror}") from error


def _write_all(file: int, content: bytes | bytearray, at: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, at)
        at += written
        left = left[written:]
