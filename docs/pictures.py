"""The pictures of the command line: `python -m docs.pictures` makes them anew.

Each is what commands print on a terminal over the example project, drawn as
SVG; a test compares its text with what they print now.
"""

from __future__ import annotations

import contextlib
import fcntl
import html
import io
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).parent.parent
FOLDER = Path(__file__).parent / "pictures"
COLUMNS = 96
_LIMIT_S = 60

_BEFORE = "          mode(postings.error ORDER BY postings.error) AS top_error\n"
_CHANGED = f"          count(DISTINCT postings.error) AS errors,\n{_BEFORE}"
_ADDED = (
    "  - {name: live, schema: analytics, sql: FROM main.marketplace_jobs WHERE status = 'live'}\n"
)

_ASKED = "FROM analytics.crosspost_success ORDER BY success_rate DESC"
COMMANDS = {
    "change.svg": ("plan catalog.yaml", "build catalog.yaml"),
    "ask.svg": (
        "describe catalog.yaml crosspost_success",
        f'query catalog.yaml "{_ASKED}"',
    ),
}
"""What each picture shows, after the catalog was built and the config then changed."""

_TIMES = re.compile(r"\d+\.\d s|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|duckalog \d+\.\S+")
_DECIDING = ("NO_COLOR", "COLUMNS", "LINES", "TERM")


def on_terminal(command: str, folder: Path, columns: int, **environment: str) -> str:
    """Return what duckalog writes on a terminal of a width, its colours included."""
    own, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    kept = {name: text for name, text in os.environ.items() if name not in _DECIDING}
    process = subprocess.Popen(
        [sys.executable, "-m", "duckalog", *shlex.split(command)],
        stdin=other,
        stdout=other,
        stderr=other,
        cwd=folder,
        env={**kept, "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(other)
    written = b""
    with contextlib.suppress(OSError):  # EIO: the process has ended
        while read := os.read(own, 65_536):
            written += read
    os.close(own)
    process.wait(_LIMIT_S)
    return written.decode().replace("\r\n", "\n")


def screens() -> Iterator[tuple[str, str]]:
    """Yield each picture's name, and what a terminal shows for its commands."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "example_project")
        ignored = shutil.ignore_patterns("*.duckdb.*", "talknshop.duckdb")
        shutil.copytree(ROOT / "example_project", folder, ignore=ignored)
        on_terminal("build catalog.yaml", folder, COLUMNS)
        config = folder / "catalog.yaml"
        changed = config.read_text("utf-8").replace(_BEFORE, _CHANGED).rstrip() + "\n\n" + _ADDED
        config.write_text(changed, encoding="utf-8")
        for name, commands in COMMANDS.items():
            yield (
                name,
                "".join(
                    f"\x1b[1m$\x1b[0m duckalog {one}\n{on_terminal(one, folder, COLUMNS)}"
                    for one in commands
                ),
            )


def svg_of(screen: str) -> str:
    """Return a terminal's screen as a picture, in fonts that the reader has."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen))
    form = re.sub(r"@font-face {{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="duckalog", code_format=form, unique_id="terminal")


def words_in(screen: str) -> list[str]:
    """Return what a screen says, line for line, without blanks, times, versions and colours."""
    lines = _TIMES.sub("", click.unstyle(screen)).splitlines()
    return [found for found in ("".join(line.split()) for line in lines) if found]


def words_of(svg: str) -> list[str]:
    """Return what a picture says, as `words_in` has it."""
    lines: dict[str, str] = {}
    for place, text in re.findall(r"<text[^>]*#terminal-(line-\d+)\)[^>]*>(.*?)</text>", svg):
        lines[place] = lines.get(place, "") + html.unescape(text).replace("\xa0", " ")
    return words_in("\n".join(lines.values()))


def main() -> None:
    """Write the pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, screen in screens():
        (FOLDER / name).write_text(svg_of(screen), encoding="utf-8")


if __name__ == "__main__":
    main()
