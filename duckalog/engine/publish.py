"""The catalog's file: opened for one builder, and never left half made.

An existing catalog is built in place, in one transaction, under DuckDB's own
lock. A new one is built beside its place and moved there when it is whole.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.engine.execution import at_file
from duckalog.errors import NOT_UTF8, is_utf8

logger = logging.getLogger("duckalog.engine")

LOCK_TIMEOUT_S = 10.0
_LEFTOVER_AGE_S = 24 * 3600.0
_BUILDING = ".building-"
_HOLDER = re.compile(r"Conflicting lock is held in (.*?\(PID \d+\))")


@contextlib.contextmanager
def file_to_build(database: str) -> Iterator[str]:
    """Yield the path to build at; a file that is new gets its place only if all went well."""
    path = os.path.realpath(database)
    _check_folder(path)
    if os.path.exists(path):
        yield path
        return
    _remove_leftovers(path)
    folder = _folder_beside(path)
    try:
        # The same file name in a folder of its own: DuckDB calls the catalog by it.
        building = os.path.join(folder, os.path.basename(path))
        yield building
        _move_into_place(building, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def open_catalog(database: str, *, read_only: bool, lock_timeout_s: float) -> DuckDBPyConnection:
    """Return a connection to a catalog that was built; raises EngineError where there is none."""
    path = os.path.realpath(database)
    if not os.path.exists(path):
        raise at_file(database, "the catalog is not built yet", "Run: duckalog build")
    return open_file(path, read_only=read_only, lock_timeout_s=lock_timeout_s)


def open_file(
    path: str,
    *,
    shown_as: str = "",
    read_only: bool = False,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> DuckDBPyConnection:
    """Return a connection to a file, waiting for DuckDB's lock on it.

    Errors tell of the file `shown_as`, where it is to stand when it is whole.
    """
    if not is_utf8(path):
        raise at_file(shown_as or path, NOT_UTF8, "Rename it, or its folder.")
    deadline = time.monotonic() + lock_timeout_s
    pause_s = 0.02
    while True:
        try:
            return duckdb.connect(path, read_only=read_only)
        except duckdb.Error as error:
            text = str(error)
            if "Could not set lock" not in text or time.monotonic() + pause_s > deadline:
                problem = at_file(shown_as or path, *_why_not(text))
                break
        logger.info("waiting for the lock on %s", path)
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.5)
    raise problem


def _why_not(text: str) -> tuple[str, str]:
    """Return DuckDB's refusal to open a catalog as a message and a remedy."""
    first = text.splitlines()[0]
    if "Could not set lock" in text:
        found = _HOLDER.search(text)
        holder = f"It is {found[1]}.\n" if found else ""
        return (
            "another process has the catalog open",
            f"{holder}Close it, or wait longer for it: --lock-timeout SECONDS",
        )
    if "different configuration" in text:
        return (
            "this process has the catalog open in another way",
            "Close its other connections first: they are read-only, or have other settings.",
        )
    if "not a valid DuckDB database file" in text:
        return "this file is not a DuckDB database", "Move it away, or choose another path."
    return "DuckDB cannot open the catalog", first


def _check_folder(path: str) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise at_file(
            path, "the folder of the catalog does not exist", f"Make it: mkdir -p {folder}"
        )
    if os.path.isdir(path):
        raise at_file(path, "the catalog's path is a folder", "Write the path of a file.")
    if os.path.islink(path):
        raise at_file(path, "the symbolic links go round in a circle", "Write the path of a file.")
    if not os.path.exists(path) and os.path.exists(f"{path}.wal"):
        # DuckDB would replay it into the new catalog (1.4, 1.5).
        message = "the log of a catalog that is gone lies where the new one is to be"
        raise at_file(path, message, f"Move it away: {path}.wal")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise at_file(path, "the catalog cannot be written", "Check the permissions.")


def _folder_beside(path: str) -> str:
    """Return a new folder beside a path, for a catalog that is not whole yet."""
    folder, name = os.path.split(path)
    try:
        return tempfile.mkdtemp(prefix=f".{name}{_BUILDING}", dir=folder)
    except OSError as error:
        reason = error.strerror
    raise at_file(path, f"the catalog cannot be written: {reason}")


def _move_into_place(building: str, path: str) -> None:
    """Give a finished catalog its name; another one that came meanwhile is not overwritten."""
    if os.path.exists(f"{building}.wal"):
        # Closing moves everything into the file, and says nothing where it cannot (DuckDB 1.5.5).
        raise at_file(path, "DuckDB cannot write the catalog", "Is the disk full?")
    try:
        os.link(building, path)
        return
    except FileExistsError:
        message = "another build made the catalog meanwhile"
    except OSError:  # a file system without hard links
        os.replace(building, path)
        return
    raise at_file(path, message, "Run the build again: it then starts from that catalog.")


def _remove_leftovers(path: str) -> None:
    """Remove what killed builds left behind, once it is too old to be a live one's."""
    folder, name = os.path.split(path)
    for entry in os.scandir(folder):
        if entry.name.startswith(f".{name}{_BUILDING}"):
            with contextlib.suppress(OSError):
                if time.time() - entry.stat().st_mtime > _LEFTOVER_AGE_S:
                    shutil.rmtree(entry.path, ignore_errors=True)
