"""Opening a catalog's file, waiting for DuckDB's lock on it; why it cannot be opened."""

from __future__ import annotations

import logging
import os
import re

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.engine.execution import at_file
from duckalog.engine.locks import Patience, first_bytes, is_replaced
from duckalog.errors import NOT_UTF8, EngineError, is_utf8, shown_path

logger = logging.getLogger("duckalog.engine")

LOCK_TIMEOUT_S = 10.0
_HOLDER = re.compile(r"Conflicting lock is held in (.*?\(PID \d+\))")


def open_catalog(
    database: str, *, read_only: bool, lock_timeout_s: float, config: str = ""
) -> DuckDBPyConnection:
    """Return a connection to the catalog that `config` built; raises EngineError if there is none.

    Where this process has the catalog open as it was before a build swapped
    another in, DuckDB gives that one again: a warning tells it.
    """
    path = os.path.realpath(database)
    if not os.path.exists(path):
        raise at_file(database, "the catalog is not built yet", to_build(config))
    patience = Patience(lock_timeout_s)
    way_out = "Close it, or ask again once it is closed."
    connection = open_file(path, patience, read_only=read_only, way_out=way_out)
    if is_replaced(path):
        logger.warning(
            "%s was replaced by a build, and this process still has the earlier one open:"
            " that is read until all its connections are closed",
            shown_path(path),
        )
    return connection


def to_build(config: str) -> str:
    """Return what to do where the catalog of a config is not built."""
    return f"Run: duckalog build {shown_path(config)}" if config else "Run: duckalog build"


_WAIT_LONGER = "Close it, or wait longer for it: --lock-timeout SECONDS"


def open_file(
    path: str,
    patience: Patience | None = None,
    *,
    shown_as: str = "",
    read_only: bool = False,
    way_out: str = _WAIT_LONGER,
) -> DuckDBPyConnection:
    """Return a connection to a file, waiting for DuckDB's lock on it.

    Errors tell of the file `shown_as`, where it is to stand when it is whole, and
    the `way_out` where another process holds the lock.
    """
    check_file(path, shown_as)
    problem = None
    for _ in (patience or Patience(0)).attempts(path):
        try:
            connection = duckdb.connect(path, read_only=read_only)
        except duckdb.Error as error:
            text = str(error)
        else:
            if read_only or not is_replaced(path):
                return connection
            connection.close()
            problem = replaced(path)
            continue
        problem = refusal(shown_as or path, text, way_out)
        if not is_locked(text):
            break
    assert problem
    raise problem


_MAGIC, _MAGIC_AT = b"DUCK", 8


def check_file(path: str, shown_as: str = "") -> None:
    """Raise EngineError for a path that DuckDB does not take, or what is no file of its own.

    Asked before it opens the file: others it opens too, as what they are (a SQLite
    database, a Parquet file), and reads its extensions for it.
    """
    if not is_utf8(path):
        raise at_file(shown_as or path, NOT_UTF8, "Rename it, or its folder.")
    if os.path.exists(path) and not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "a device or a pipe"
        raise at_file(
            shown_as or path, f"the catalog's path is {what}", "Write the path of a file."
        )
    found = first_bytes(path, _MAGIC_AT + len(_MAGIC))
    if found is not None and found[_MAGIC_AT:] != _MAGIC:
        message = "this file is not a DuckDB database"
        raise at_file(shown_as or path, message, "Move it away, or choose another path.")


def is_locked(refusal: str) -> bool:
    """Say whether DuckDB refused because another process has the file open."""
    return "Could not set lock" in refusal


def is_open_in_another_way(refusal: str) -> bool:
    """Say whether DuckDB refused because this process has the file open otherwise."""
    return "different configuration" in refusal


def replaced(path: str) -> EngineError:
    """Return the error for writing a file that was replaced since this process opened it."""
    message = "this process has the catalog open as it was before a build replaced it"
    return at_file(path, message, "Close its other connections first.")


def refusal(file: str, text: str, way_out: str = _WAIT_LONGER) -> EngineError:
    """Return the error for a file that DuckDB refused to open."""
    first = text.splitlines()[0]
    if is_locked(text):
        found = _HOLDER.search(text)
        holder = f"It is {found[1]}.\n" if found else ""
        message = "another process has the catalog open"
        return at_file(file, message, holder + way_out)
    if is_open_in_another_way(text):
        return at_file(
            file,
            "this process has the catalog open in another way",
            "Close its other connections first: they are read-only, or have other settings.",
        )
    if "version number" in text:
        remedy = "Upgrade duckdb here, or build the catalog anew with this version."
        return at_file(file, "a newer DuckDB made this catalog", remedy, first)
    return at_file(file, "DuckDB cannot open the catalog", cause=first)
