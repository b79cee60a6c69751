"""Where a command's output goes: a file that is whole or not there, or the standard output."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

from duckalog.cli.group import unwritable

_CHUNK = 1 << 20


@contextlib.contextmanager
def file_to_write(output: str) -> Iterator[str]:
    """Yield the path to write at, for a file that is to be at `output` once it is whole.

    A pipe or a device is written as it comes.
    """
    target = os.path.realpath(output)
    try:
        if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):
            with open(target, "wb") as stream, path_of_stream(stream) as path:
                yield path
            return
        folder = tempfile.mkdtemp(prefix=".duckalog-", dir=os.path.dirname(target))
    except OSError as error:
        raise unwritable(output, error) from None
    try:
        # The same name in a folder of its own: its suffix tells DuckDB how to compress.
        written = os.path.join(folder, os.path.basename(target))
        yield written
        if os.path.exists(written):
            os.replace(written, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def standard_output() -> contextlib.AbstractContextManager[str]:
    """Return a context with a path, and what is written there goes to the standard output.

    Not /dev/stdout: opening that empties the file that the output was appended to.
    """
    sys.stdout.flush()
    return path_of_stream(sys.stdout.buffer)


@contextlib.contextmanager
def path_of_stream(stream: BinaryIO) -> Iterator[str]:
    """Yield a path, and what is written there goes to a stream, as it comes where that can be."""
    if not os.path.isdir("/dev/fd"):
        with tempfile.TemporaryDirectory(prefix="duckalog-") as folder:
            path = os.path.join(folder, "output")
            yield path
            if os.path.exists(path):
                with open(path, "rb") as written:
                    shutil.copyfileobj(written, stream, _CHUNK)
        return
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def pump() -> None:
        try:
            while chunk := os.read(reading, _CHUNK):
                stream.write(chunk)
            stream.flush()
        except (OSError, ValueError) as error:
            failures.append(error)
        finally:
            os.close(reading)  # so that DuckDB stops, too

    thread = threading.Thread(target=pump, name="duckalog-output", daemon=True)
    thread.start()
    try:
        yield f"/dev/fd/{writing}"
    except Exception:
        _end(writing, thread, failures)
        raise
    # After Ctrl-C nothing is waited for: DuckDB may still be writing.
    _end(writing, thread, failures)


def _end(writing: int, thread: threading.Thread, failures: list[BaseException]) -> None:
    """Wait until all is written; what failed there is the cause of what DuckDB says."""
    os.close(writing)
    thread.join()
    if failures:
        raise failures[0] from None
