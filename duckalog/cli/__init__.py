"""The command line: arguments in, exit status out; one file for one family of commands."""

from __future__ import annotations

import os
import sys

from duckalog.cli.group import cli


def main() -> None:
    """Run the command line; the console script and `python -m duckalog` call it."""
    # Text is UTF-8 whatever the locale: LC_ALL=C cannot print a user's own names otherwise.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        cli(prog_name="duckalog")
    finally:
        _leave_what_hangs()


def _leave_what_hangs() -> None:
    """End the process at once where a normal end would wait for a database that never answers."""
    execution = sys.modules.get("duckalog.engine.execution")
    if execution is not None and execution.is_anything_hung():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
