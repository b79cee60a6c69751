"""A progress bar on the terminal while a build runs, and nothing elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckalog.engine.progress import Progress

PATIENCE_S = 1.0
"""What ends sooner has no bar: rich takes a tenth of a second to import."""

_FRAME_S = 0.1
_UNKNOWN_WIDTH = 80
_WIDTH_FOR_TIME = 50
_WORDS = {
    "config": "Reading the config",
    "session": "Opening the session",
    "probe": "Asking sources",
    "apply": "Making views",
    "refusals": "Finding every failure",
}


@contextlib.contextmanager
def progress_bar(*, wanted: bool = True) -> Iterator[Progress]:
    """Yield what a build tells its progress to; it is drawn where somebody sees it."""
    if not (wanted and _is_terminal()):
        from duckalog.engine.progress import untold

        yield untold
        return
    bar = _Bar()
    try:
        yield bar.tell
    finally:
        bar.end()


def _is_terminal() -> bool:
    return bool(sys.stderr) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class _Bar:
    """Draws in a thread of its own, so that the build never waits for the terminal."""

    def __init__(self) -> None:
        self._told = ("config", 0, 0)
        self._start_s = time.monotonic()
        self._has_ended = threading.Event()
        self._drawing = threading.Lock()
        threading.Thread(target=self._run, name="duckalog-progress", daemon=True).start()

    def tell(self, stage: str, done: int, total: int) -> None:
        """Remember where the build is."""
        self._told = (stage, done, total)

    def end(self) -> None:
        """Clear the bar; what is written to the terminal afterwards stands alone."""
        self._has_ended.set()
        with self._drawing:
            pass

    def _run(self) -> None:
        if not self._has_ended.wait(PATIENCE_S):
            with contextlib.suppress(OSError):  # the terminal may go at any time
                self._draw()

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        with self._drawing:
            if self._has_ended.is_set():
                return
            console, terminal = Console(stderr=True), sys.stderr.fileno()
            columns = [
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[count]}"),
            ]
            if console.width >= _WIDTH_FOR_TIME:  # which would be cut, and the bar be gone
                columns.append(TimeElapsedColumn())
            with Progress(
                *columns, console=console, transient=True, auto_refresh=False
            ) as progress:
                task = progress.add_task("", total=None, count="")
                progress.tasks[0].start_time = self._start_s
                while True:
                    # The terminal's own ^C has to fit on the line, or the bar is not cleared.
                    columns_there = os.get_terminal_size(terminal).columns or _UNKNOWN_WIDTH
                    console.width = max(1, columns_there - 4)
                    stage, done, total = self._told
                    count = f"{done}/{total}" if total else ""
                    progress.update(
                        task,
                        description=_WORDS[stage],
                        completed=done,
                        total=total or None,
                        count=count,
                        refresh=True,
                    )
                    if self._has_ended.wait(_FRAME_S):
                        return
