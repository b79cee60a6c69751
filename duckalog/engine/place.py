"""Where a catalog stands: whether one can be built there, and what DuckDB keeps beside it."""

from __future__ import annotations

import os

from duckalog.engine.execution import at_file
from duckalog.engine.opening import check_file


def check_place(path: str) -> None:
    """Raise EngineError where no catalog can be built."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise at_file(
            path, "the folder of the catalog does not exist", f"Make it: mkdir -p {folder}"
        )
    check_file(path)
    if "?" in path:
        # DuckDB puts the ending of the log's name before it (1.4 to 2.0): in another folder, maybe.
        message = "the path has a question mark, and DuckDB would keep its log elsewhere"
        raise at_file(path, message, "Rename it, or its folder.")
    if os.path.islink(path):
        raise at_file(path, "the symbolic links go round in a circle", "Write the path of a file.")
    try:
        os.lstat(path)
        reason = None
    except FileNotFoundError:
        reason = None
    except OSError as error:  # a name that is too long, a folder that may not be entered
        reason = error.strerror
    if reason:
        raise at_file(path, f"the catalog cannot be written: {reason}")
    if not os.path.exists(path) and has_log(path):
        # DuckDB would replay it into the new catalog (1.4, 1.5).
        message = "the log of a catalog that is gone lies where the new one is to be"
        raise at_file(path, message, f"Move it away: {log_of(path)}")
    if not os.path.exists(path) and not os.access(folder, os.W_OK):
        raise at_file(path, "the catalog cannot be written", "Check the permissions.")


def check_writable(path: str) -> None:
    """Raise EngineError where DuckDB may read a catalog, but not change it (1.4 to 2.0)."""
    if not os.access(path, os.W_OK):
        raise at_file(path, "the catalog cannot be written", "Check the permissions.")
    folder = os.path.dirname(path)
    if not os.access(folder, os.W_OK):
        message = "the catalog cannot be written: DuckDB needs to keep a log beside it"
        raise at_file(path, message, f"Check the permissions of its folder: {folder}")


def log_of(path: str) -> str:
    """Return where DuckDB keeps what is not in the catalog's file yet."""
    return f"{path}.wal"


def has_log(path: str) -> bool:
    """Say whether there is such a log, or a part of one (1.5)."""
    return any(os.path.exists(log_of(path) + ending) for ending in ("", ".checkpoint", ".recovery"))
