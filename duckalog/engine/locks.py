"""Who has a catalog's file: one builder at a time, and no writer while it is copied."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import struct
import time
from collections.abc import Iterator

from duckalog.engine.execution import at_file

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be replaced anyway
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("duckalog.engine")

CAN_LOCK = fcntl is not None
FileId = tuple[int, int]
"""The device and the inode of a file: what a name stands for at a moment."""


class Patience:
    """How long a build waits in all for whoever has the catalog's file."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def attempts(self, path: str) -> Iterator[None]:
        """Yield at once, then after ever longer pauses while there is time."""
        pause_s = 0.02
        yield
        while time.monotonic() + pause_s <= self._deadline:
            logger.info("waiting for the lock on %s", path)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.5)
            yield


@contextlib.contextmanager
def builders_turn(path: str, patience: Patience) -> Iterator[bool]:
    """Keep other builders of a catalog waiting while the block runs.

    Yields whether a builder was killed in its turn. Where the file system has
    no locks, or the folder cannot be written, DuckDB's own lock must do.
    """
    folder, name = os.path.split(path)
    lock = os.path.join(folder, f".{name}.lock")
    descriptor, was_left = _lock_of_builders(lock, path, patience)
    try:
        yield was_left
    finally:
        if descriptor is not None:
            # Gone before it is free: who waits for it finds another file, or none, and tries anew.
            with contextlib.suppress(OSError):
                os.unlink(lock)
            # A process forked meanwhile has the lock too, until it is given back.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _lock_of_builders(lock: str, path: str, patience: Patience) -> tuple[int | None, bool]:
    """Return the builders' lock once it is held, and whether a killed builder left it."""
    holder = b""
    for _ in patience.attempts(path) if CAN_LOCK else ():
        descriptor = -1
        while descriptor < 0 or not _is_file(descriptor, lock):
            if descriptor >= 0:
                os.close(descriptor)
            try:
                descriptor, is_new = _open_or_make(lock)
            except OSError as error:
                logger.debug("no lock for builders: %s", error)
                return None, False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0)
                os.close(descriptor)
                break
            except OSError as error:
                logger.debug("no lock for builders: %s", error)
                os.close(descriptor)
                return None, False
        else:
            with contextlib.suppress(OSError):  # another user's
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor, not is_new
    if not CAN_LOCK:
        return None, False
    who = f"It is process {holder.decode()}.\n" if holder.isdigit() else ""
    remedy = f"{who}Wait longer for it: --lock-timeout SECONDS"
    raise at_file(path, "another build of the catalog is under way", remedy)


def _open_or_make(lock: str) -> tuple[int, bool]:
    """Return a lock file, opened, and whether it is new."""
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        pass
    # Not where a link leads: anybody may have laid one in a folder that all may write.
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), False
    except PermissionError:
        return os.open(lock, os.O_RDONLY | os.O_NOFOLLOW), False


def _is_file(descriptor: int, path: str) -> bool:
    """Say whether a path still names the file that is open."""
    return identity(path) == _identity_of(os.fstat(descriptor))


def identity(path: str) -> FileId | None:
    """Return which file a path names now; None where there is none."""
    try:
        return _identity_of(os.stat(path))
    except OSError:
        return None


def _identity_of(stat: os.stat_result) -> FileId:
    return stat.st_dev, stat.st_ino


def descriptors_of(file: FileId | None) -> list[int] | None:
    """Return this process's descriptors of a file; None where the system does not tell."""
    try:
        names = os.listdir("/dev/fd")
    except OSError:
        return None
    found = []
    for descriptor in map(int, names):
        with contextlib.suppress(OSError):  # that of the listing itself
            if _identity_of(os.fstat(descriptor)) == file:
                found.append(descriptor)
    return found


def first_bytes(path: str, count: int) -> bytes | None:
    """Return how a file begins; None where it cannot be read.

    Where this process has it open that descriptor is read: opening the file and
    closing it again would drop every lock that the process has on it (POSIX).
    """
    try:
        for descriptor in descriptors_of(identity(path)) or ():
            return os.pread(descriptor, count, 0)
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(descriptor, count)
    finally:
        _close(descriptor)


def is_written_here(path: str) -> bool:
    """Say whether this process has a file open for writing."""
    if fcntl is None:
        return False
    modes = (fcntl.fcntl(one, fcntl.F_GETFL) for one in descriptors_of(identity(path)) or ())
    return any(mode & os.O_ACCMODE != os.O_RDONLY for mode in modes)


def is_replaced(path: str) -> bool:
    """Say whether DuckDB, which has just opened a path, has a file that it names no longer.

    DuckDB gives all connections of a process to a path the same database, until
    the last of them closes.
    """
    return descriptors_of(identity(path)) == []


class CopyLock:
    """A catalog's file that no other process can write; readers come and go as they like."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._state = _state_of(os.fstat(descriptor))

    @classmethod
    def take(cls, path: str) -> CopyLock | None:
        """Return the lock; None while a writer has the file.

        No connection of this process may write the file: closing a file drops
        every lock that the process has on it (POSIX).
        """
        _close_what_is_kept_no_longer()
        try:
            descriptor = _kept.pop(identity(path), None) or os.open(path, os.O_RDONLY)
        except OSError:  # DuckDB will say why
            return None
        with contextlib.suppress(OSError):
            _lock_for_reading(descriptor)
            if _is_file(descriptor, path):
                return cls(path, descriptor)
        _close(descriptor)
        return None

    def is_open_otherwise(self) -> bool:
        """Say whether connections of this process have the file open too."""
        return bool(_others(self._descriptor))

    def copy_to(self, target: str) -> None:
        """Copy the file."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        with (
            open(self._descriptor, "rb", buffering=0, closefd=False) as source,
            open(target, "xb", buffering=0) as copy,
        ):
            shutil.copyfileobj(source, copy, 1 << 20)

    def is_as_copied(self) -> bool:
        """Say whether the path still names the file as it was when the lock was taken."""
        try:
            return _state_of(os.stat(self._path)) == self._state
        except OSError:
            return False

    def close(self) -> None:
        """Let writers in again."""
        _unlock(self._descriptor)
        _close(self._descriptor)


_kept: dict[FileId | None, int] = {}
"""Files that cannot be closed, because connections of this process need their locks on them."""


def _close(descriptor: int) -> None:
    stat = os.fstat(descriptor)
    if stat.st_nlink and _others(descriptor):
        _kept[_identity_of(stat)] = descriptor
    else:
        os.close(descriptor)


def _close_what_is_kept_no_longer() -> None:
    for file, descriptor in list(_kept.items()):
        if not _others(descriptor):
            os.close(_kept.pop(file))


def _others(descriptor: int) -> list[int]:
    """Return this process's other descriptors of the same file."""
    found = descriptors_of(_identity_of(os.fstat(descriptor))) or []
    return [one for one in found if one != descriptor]


def _state_of(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _lock_for_reading(descriptor: int) -> None:
    """Lock a file as DuckDB does to read it; raises OSError while a process writes it."""
    if hasattr(fcntl, "F_OFD_SETLK"):
        # A lock of the descriptor, not of the process: DuckDB's closing the file does not drop it.
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_RDLCK))
    else:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _unlock(descriptor: int) -> None:
    # Without locks of descriptors, those of the process's connections would go too.
    if hasattr(fcntl, "F_OFD_SETLK"):
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_UNLCK))


def _whole_file(kind: int) -> bytes:
    """Return `struct flock` for all of a file (fcntl(2))."""
    return struct.pack("hhqqi", kind, os.SEEK_SET, 0, 0, 0)
