"""The catalog's file: opened for one builder, and never left half made.

An existing catalog is built in place, in one transaction, under DuckDB's own
lock; or where readers hold that, in a copy that takes its place when it is
whole. A new one is built beside its place too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.engine.execution import at_file, close, closing
from duckalog.engine.locks import (
    CAN_LOCK,
    CopyLock,
    Patience,
    is_replaced,
    is_written_here,
)
from duckalog.engine.opening import (
    check_file,
    is_locked,
    is_open_in_another_way,
    open_file,
    refusal,
    replaced,
)
from duckalog.engine.place import check_writable, has_log, log_of
from duckalog.errors import EngineError

logger = logging.getLogger("duckalog.engine")

Publish = Literal["auto", "in-place", "swap"]
"""How a catalog that exists is to be built; `auto` swaps where readers hold the file."""

Published = Literal["new", "in-place", "swap", "none"]
"""How a catalog was built; `none` where there was nothing to write."""

_BUILDING = ".building-"


class FileToBuild(NamedTuple):
    """A catalog opened for a build: where it is built, and how it is published then."""

    path: str
    published: Published
    connection: DuckDBPyConnection


IsCurrent = Callable[[DuckDBPyConnection], bool]
"""Says whether a build would leave a catalog as it is."""


@contextlib.contextmanager
def file_to_build(
    path: str, publish: Publish, patience: Patience, is_current: IsCurrent
) -> Iterator[FileToBuild]:
    """Yield the catalog opened; it takes its place when the block ends, if all went well.

    The connection may be closed inside the block. A catalog that others have
    open, and that need not be built, is opened read-only. The builders' turn
    must be held.
    """
    if not os.path.exists(path):
        with _beside(path) as building:
            with closing(open_file(building, shown_as=path)) as connection:
                yield FileToBuild(building, "new", connection)
            _finish(building, path)
            _put_in_place(building, path)
        return
    can_write = os.access(path, os.W_OK)
    taken = _take(path, publish, patience) if can_write else _lock_to_look(path, patience)
    if isinstance(taken, CopyLock):
        with contextlib.closing(taken) as earlier:
            as_it_is = _opened_as_it_is(path, earlier)
            if as_it_is:
                with closing(as_it_is):
                    if is_current(as_it_is):
                        yield FileToBuild(path, "none", as_it_is)
                        return
            if not can_write:
                check_writable(path)
            if publish != "in-place":
                with _swapped_in(path, earlier, is_current, is_seen=bool(as_it_is)) as file:
                    yield file
                return
        taken = _take(path, publish, patience, may_look=False)
    assert isinstance(taken, DuckDBPyConnection)
    with closing(taken):
        yield FileToBuild(path, "in-place", taken)


@contextlib.contextmanager
def _swapped_in(
    path: str, earlier: CopyLock, is_current: IsCurrent, *, is_seen: bool
) -> Iterator[FileToBuild]:
    """Yield a copy of the catalog; it takes its place when the block ends, if it was written.

    It is looked at before, unless the catalog `is_seen` to need a build.
    """
    with _beside(path) as building:
        _copy(earlier, building, path)
        with contextlib.suppress(OSError):
            os.utime(building, ns=(0, 0))  # until something is written
        with closing(open_file(building, shown_as=path)) as connection:
            is_left = not is_seen and is_current(connection)
            yield FileToBuild(building, "none" if is_left else "swap", connection)
        if os.stat(building).st_mtime_ns or has_log(building):
            _finish(building, path)
            _swap(building, path, earlier)


def remove_leftovers(path: str) -> None:
    """Remove what killed builds left beside a catalog; the builders' turn must be held."""
    folder, name = os.path.split(path)
    for entry in os.scandir(folder):
        if entry.name.startswith(f".{name}{_BUILDING}"):
            shutil.rmtree(entry.path, ignore_errors=True)


def _take(
    path: str, publish: Publish, patience: Patience, *, may_look: bool = True
) -> DuckDBPyConnection | CopyLock:
    """Return a connection that writes the catalog in place, or the lock to copy it.

    In place, the lock is there to look at the catalog with: none of its readers need
    leave where nothing is to be done.
    """
    check_file(path)
    problem = at_file(path, "another process has the catalog open")
    for _ in patience.attempts(path):
        reasons = []
        if publish != "swap":
            opened = _open_in_place(path, may_swap=publish == "auto")
            if isinstance(opened, DuckDBPyConnection):
                return opened
            reasons.append(opened)
        if publish != "in-place":
            locked = _lock_to_copy(path, may_wait=publish == "auto")
            if isinstance(locked, CopyLock):
                return locked
            reasons.append(locked)
        elif may_look and CAN_LOCK and not is_written_here(path):
            lock = CopyLock.take(path)
            if lock:
                return lock
        problem = _joined(reasons)
    raise problem


def _lock_to_look(path: str, patience: Patience) -> CopyLock:
    """Return the lock on a catalog that cannot be written, where it can be read."""
    check_file(path)
    if not CAN_LOCK or not os.access(path, os.R_OK):
        check_writable(path)
    problem = at_file(path, "another process has the catalog open")
    for _ in patience.attempts(path):
        lock = CopyLock.take(path)
        if lock:
            return lock
        problem = _why_not_copied(path)
    raise problem


def _open_in_place(path: str, *, may_swap: bool) -> DuckDBPyConnection | EngineError:
    """Return a connection, or why there is none yet; raises EngineError where waiting is no use."""
    try:
        connection = duckdb.connect(path)
    except duckdb.Error as error:
        text = str(error)
        own_reader = is_open_in_another_way(text) and may_swap and not is_written_here(path)
        if is_locked(text) or own_reader:
            return refusal(path, text)
    else:
        if not is_replaced(path):
            return connection
        close(connection)
        return replaced(path)
    raise refusal(path, text)


def _lock_to_copy(path: str, *, may_wait: bool) -> CopyLock | EngineError:
    """Return the lock, or why there is none yet; raises EngineError where waiting is no use."""
    obstacle = ""
    if not CAN_LOCK:
        obstacle = "this system has no locks for it"
    elif not os.access(os.path.dirname(path), os.W_OK):
        obstacle = "its folder cannot be written"
    if obstacle:
        problem = at_file(
            path,
            f"the catalog cannot be swapped: {obstacle}",
            "Build it in place, when no reader has it open: --publish in-place",
        )
        if may_wait:
            return problem
        raise problem
    if is_written_here(path):
        message = "this process has the catalog open for writing"
        remedy = "Close its connections first, or build beside them: --publish in-place"
        raise at_file(path, message, remedy)
    lock = CopyLock.take(path)
    if lock and has_log(path):
        lock.close()
        unfolded = _fold_log(path)
        if unfolded:
            return unfolded
        lock = CopyLock.take(path)
    return lock or _why_not_copied(path)


def _why_not_copied(path: str) -> EngineError:
    try:
        close(duckdb.connect(path, read_only=True))
    except duckdb.Error as error:
        return refusal(path, str(error))
    return at_file(path, "another process has the catalog open")


def _fold_log(path: str) -> EngineError | None:
    """Have DuckDB move what a killed writer left in the log into the file, or return why not.

    Until then the file is not to be copied: a crash between its being replaced
    and the log's removal would have DuckDB replay the one into the other.
    """
    try:
        close(duckdb.connect(path))
    except duckdb.Error as error:
        text = str(error)
    else:
        return None
    if is_locked(text) or is_open_in_another_way(text):
        message = "the log of a writer that was killed cannot be folded in beside readers"
        remedy = f"Close them, or wait longer for them: --lock-timeout SECONDS\n{log_of(path)}"
        return at_file(path, message, remedy)
    raise refusal(path, text)


def _joined(problems: list[EngineError]) -> EngineError:
    """Return why a catalog can be built neither in place nor by a swap."""
    (first, *_), *others = (error.problems for error in problems)
    remedies = [
        first.remedy,
        *(other.message for (other, *_) in others if other.message != first.message),
    ]
    return EngineError(first._replace(remedy="\n".join(filter(None, remedies))))


def _opened_as_it_is(path: str, earlier: CopyLock) -> DuckDBPyConnection | None:
    """Return a connection that reads a catalog, or None where it could only be shared.

    DuckDB gives all connections of a process to a path the same database: one
    that was replaced, perhaps, and one whose settings are not the build's.
    """
    if earlier.is_open_otherwise():
        return None
    try:
        connection = duckdb.connect(path, read_only=True)
    except duckdb.Error as error:
        text = str(error)
    else:
        if earlier.is_open_otherwise():
            return connection
        close(connection)
        return None
    if is_open_in_another_way(text):
        return None
    raise refusal(path, text)


@contextlib.contextmanager
def _beside(path: str) -> Iterator[str]:
    """Yield a path of the same file name in a new folder beside it, which goes with the block."""
    folder, name = os.path.split(path)
    own, reason = "", None
    try:
        own = tempfile.mkdtemp(prefix=f".{name}{_BUILDING}", dir=folder)
    except OSError as error:
        reason = error.strerror
    if reason:
        raise at_file(path, f"the catalog cannot be written: {reason}")
    try:
        # The same file name in a folder of its own: DuckDB calls the catalog by it.
        yield os.path.join(own, name)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _copy(earlier: CopyLock, building: str, path: str) -> None:
    try:
        earlier.copy_to(building)
        return
    except OSError as error:
        reason = error.strerror
    remedy = "Make room, or build it in place, when no reader has it open: --publish in-place"
    raise at_file(path, f"the catalog cannot be copied: {reason}", remedy)


def _finish(building: str, path: str) -> None:
    """Have a catalog that was built on the disk; raises EngineError where it is not whole."""
    if has_log(building):
        # Closing moves everything into the file, and says nothing where it cannot (DuckDB 1.5.5).
        raise at_file(path, "DuckDB cannot write the catalog", "Is the disk full?")
    try:
        _synchronize(building)
        return
    except OSError as error:
        reason = error.strerror
    raise at_file(path, f"the catalog cannot be written: {reason}")


def _put_in_place(building: str, path: str) -> None:
    """Give a new catalog its name; another one that came meanwhile is not overwritten."""
    try:
        os.link(building, path)
    except OSError:
        is_taken = os.path.exists(path)
        if not is_taken:  # a file system without hard links
            os.replace(building, path)
    else:
        is_taken = False
    if is_taken:
        message = "another program made the catalog meanwhile"
        remedy = "Run the build again: it then starts from that catalog."
        raise at_file(path, message, remedy)
    _synchronize_folder_of(path)


def _swap(building: str, path: str, earlier: CopyLock) -> None:
    """Put a catalog in the place of the earlier one, with its owner and mode where that may be."""
    if not earlier.is_as_copied() or has_log(path):
        message = "another program changed the catalog while it was built"
        raise at_file(path, message, "Nothing of that is lost. Run the build again.")
    before = os.stat(path)
    for owner, group in ((-1, before.st_gid), (before.st_uid, -1)):
        with contextlib.suppress(OSError):
            os.chown(building, owner, group)
    try:
        os.chmod(building, stat.S_IMODE(before.st_mode))
        os.replace(building, path)
    except OSError as error:
        reason = error.strerror
    else:
        _synchronize_folder_of(path)
        return
    remedy = "Build it in place, when no reader has it open: --publish in-place"
    raise at_file(path, f"the catalog cannot be replaced: {reason}", remedy)


def _synchronize_folder_of(path: str) -> None:
    with contextlib.suppress(OSError):  # not every file system can; the catalog is in its place
        _synchronize(os.path.dirname(path))


def _synchronize(path: str) -> None:
    """Have a file, or the names in a folder, on the disk."""
    if os.name != "posix":  # a folder cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
