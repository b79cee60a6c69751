"""The command line: arguments in, exit status out; one file for one family of commands."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading

INTERRUPTED = 130
_GRACE_S = 2.0


def main() -> None:
    """Run the command line; the console script and `python -m duckalog` call it."""
    # Ctrl-C is remembered, because DuckDB turns it into errors of its own (1.4 to 2.0): a
    # RuntimeError from a query, an ImportError while it is loaded.
    is_interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        # DuckDB swallows what is raised while it looks for Python's libraries (1.5.5).
        watchdog = threading.Timer(_GRACE_S, _end_interrupted)
        watchdog.daemon = True
        watchdog.start()
        raise _Interrupted

    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, interrupt)
        sys.unraisablehook = _tell_unraisable
    status = 1
    try:
        status = _run()
    except BaseException as error:
        if not is_interrupted:
            sys.excepthook(type(error), error, error.__traceback__)
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if is_interrupted:
        _end_interrupted()
    _leave(status)


def _end_interrupted() -> None:
    message = "Interrupted: the catalog is whole, as it was or as the config has it."
    print(message, file=sys.stderr)
    _leave(INTERRUPTED)


def _tell_unraisable(found: sys.UnraisableHookArgs) -> None:
    """Tell what Python has to ignore, but for Ctrl-C in a callback: the watchdog ends that."""
    if not isinstance(found.exc_value, _Interrupted):
        sys.__unraisablehook__(found)


class _Interrupted(BaseException):
    """Ctrl-C; not KeyboardInterrupt, of which click says something of its own."""


def _run() -> int:
    """Return the exit status of the command that the arguments name."""
    # DuckDB imports pandas to run a query, where it is installed, which takes over a second
    # (1.5.5); no command makes a data frame.
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]
    gc.disable()  # a command is short: looking for garbage costs more than it finds
    # Text is UTF-8 whatever the locale: LC_ALL=C cannot print a user's own names otherwise.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    from duckalog.cli.group import cli

    try:
        cli(prog_name="duckalog")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _leave(status: int) -> None:
    """End the process at once.

    A normal end would wait for a database that never answers, and takes as long
    as 30 ms to free what is gone anyway.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as it is where the shell closed it
            stream.flush()
    os._exit(status)
