"""What a terminal shows: text of a width in cells, and colours where somebody wants them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

import click

from duckalog.errors import Problem, indented

COLOURS = {
    "created": "green",
    "replaced": "yellow",
    "removed": "red",
    "failed": "red",
    "to create": "green",
    "to replace": "yellow",
    "to remove": "red",
    "built": "green",
    "not built": "yellow",
    "changed since": "yellow",
}
"""Of what became of a view, and of the state that it is in."""

_LEAST_WIDTH = 40
_WIDTH_OF_TABLES = 80


def wants_colours() -> bool | None:
    """Return False where the environment wants none; else click looks for a terminal itself."""
    # https://no-color.org: whatever it is set to, unless to nothing.
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if is_plain else None


def columns_of_terminal() -> int | None:
    """Return how many cells a line of the standard output has; None where it is no terminal."""
    if not sys.stdout.isatty():
        return None
    import shutil  # with all compressions, and most commands show no width

    return max(shutil.get_terminal_size().columns, _LEAST_WIDTH)


def width_of(text: str) -> int:
    """Return how many cells a text takes: Chinese characters and emoji take two each."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """Return what of a text fits into `width` cells; where some does not, … ends it."""
    if width_of(text) <= width:
        return text
    if text.isascii():
        return f"{text[: width - 1]}…"
    from rich.cells import set_cell_size

    return f"{set_cell_size(text, width - 1)}…"


def coloured_problem(problem: Problem) -> str:
    """Return a problem, its place bold and what is wrong red; a pipe gets neither."""
    text = click.style(problem.message, fg="red")
    if problem.place:
        text = f"{click.style(problem.place, bold=True)}: {text}"
    return f"{text}\n{indented(problem.explanation)}" if problem.explanation else text


def tally(counts: dict[str, int]) -> str:
    """Return `2 created, 1 failed` of what there is any of, in colours; "" of nothing."""
    return ", ".join(
        click.style(f"{count:,} {what}", fg=COLOURS.get(what))
        for what, count in counts.items()
        if count
    )


@contextlib.contextmanager
def narrowed() -> Iterator[None]:
    """Cut the lines that are printed while the block runs where a narrow terminal ends.

    DuckDB draws no table that is narrower than some 70 cells (1.4 to 2.0), and a
    terminal would wrap its lines.
    """
    limit = columns_of_terminal()
    if limit is None or limit >= _WIDTH_OF_TABLES:
        yield
        return
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            yield
    finally:
        for line in text.getvalue().splitlines():
            click.echo(cut(line, limit))
