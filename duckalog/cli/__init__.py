"""The command line: arguments in, exit status out; one file for one family of commands."""

from __future__ import annotations

import gc
import os
import signal
import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line; the console script and `python -m duckalog` call it."""
    # Ctrl-C is remembered, because DuckDB turns it into errors of its own (1.4 to 2.0): a
    # RuntimeError from a query, an ImportError while it is loaded.
    is_interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        raise _Interrupted

    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, interrupt)
    try:
        _run()
    except BaseException:
        if not is_interrupted:
            raise
    finally:
        if is_heard:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if is_interrupted:
            message = "Interrupted: the catalog is whole, as it was or as the config has it."
            print(message, file=sys.stderr)
            _leave(INTERRUPTED)
        execution = sys.modules.get("duckalog.engine.execution")
        if execution is not None and execution.is_anything_hung():
            _leave(1)
        if "duckdb" not in sys.modules:  # DuckDB 2.0 would tell of leaks
            gc.freeze()  # nor is anything looked for at the end


class _Interrupted(BaseException):
    """Ctrl-C; not KeyboardInterrupt, of which click says something of its own."""


def _run() -> None:
    gc.disable()  # a command is short: looking for garbage costs more than it finds
    # Text is UTF-8 whatever the locale: LC_ALL=C cannot print a user's own names otherwise.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    from duckalog.cli.group import cli

    cli(prog_name="duckalog")


def _leave(status: int) -> None:
    """End the process at once: a normal end would wait for a database that never answers."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
