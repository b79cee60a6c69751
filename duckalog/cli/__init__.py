"""The command line: arguments in, exit status out; one file for one family of commands."""

from __future__ import annotations

import sys

from duckalog.cli.group import cli


def main() -> None:
    """Run the command line; the console script and `python -m duckalog` call it."""
    # Text is UTF-8 whatever the locale: LC_ALL=C cannot print a user's own names otherwise.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    cli(prog_name="duckalog")
