"""A prompt of our own, for machines without the DuckDB shell: history, colours, completion."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from duckalog.cli.terminal import coloured_problem, narrowed, wants_colours
from duckalog.errors import DuckalogError, EngineError, Origin, shown_path
from duckalog.version import __version__

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from prompt_toolkit import PromptSession

    from duckalog.plan import Plan

_WORD = re.compile(r"[\w.]+")
_LEAVE = (".exit", ".quit", "exit", "quit")
_HELP = """\
A statement ends with a semicolon, and Tab completes it. SHOW TABLES or .tables lists the
views, DESCRIBE VIEW its columns, Ctrl-C stops a query, and .exit or Ctrl-D leaves."""
_ROWS = 40


def converse(connection: DuckDBPyConnection, plan: Plan, words: Iterable[str]) -> None:
    """Answer statements until the user leaves; `words` are completed, and DuckDB's keywords.

    Raises EngineError where the libraries of the prompt are not installed, or
    nobody is at a terminal.
    """
    session = _session({*words, *_keywords(connection)}, plan)
    click.echo(f"duckalog {__version__}: {plan.catalog_name}, for reading. Ctrl-D leaves.")
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        while True:
            try:
                text = session.prompt()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            word = _command_in(text)
            if word in _LEAVE:
                return
            if word == "":
                continue
            if word == ".tables":
                text = "SHOW TABLES"
            elif word is not None:
                click.echo(_HELP)
                continue
            _answer(connection, plan, text)
    finally:
        signal.signal(signal.SIGINT, handler)


def _command_in(text: str) -> str | None:
    """Return what a text is a command of the prompt's own; None where it is SQL."""
    word = text.strip().rstrip(";").strip().lower()
    is_command = not word or word.startswith(".") or word in (*_LEAVE, "help")
    return word if is_command else None


def _answer(connection: DuckDBPyConnection, plan: Plan, text: str) -> None:
    """Show what the statements of a text answer, or what is wrong with them."""
    from duckalog.engine.query import Script, ask, show

    try:
        question = ask(connection, Script(text, Origin(), {}, plan.redact))
        if question is not None:
            width = shutil.get_terminal_size().columns
            with narrowed():
                show(connection, question, max_rows=_ROWS, max_width=width)
    except KeyboardInterrupt:
        connection.interrupt()
        click.echo("Interrupted.", err=True)
    except DuckalogError as error:
        for problem in error.problems:
            click.echo(coloured_problem(problem), err=True)


def _session(words: Iterable[str], plan: Plan) -> PromptSession[str]:
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.history import FileHistory
        from prompt_toolkit.key_binding import KeyBindings
        from prompt_toolkit.lexers import PygmentsLexer
        from prompt_toolkit.output import ColorDepth
        from pygments.lexers.sql import SqlLexer  # type: ignore[import-untyped]
    except ImportError:
        raise EngineError(
            "the prompt needs prompt_toolkit and pygments",
            "Run: pip install 'duckalog[shell]'; or install the DuckDB shell: "
            "pip install duckdb-cli",
        ) from None
    if not sys.stdin.isatty():
        remedy = f"To run SQL from a pipe: duckalog query {shown_path(plan.file)} -"
        raise EngineError("the prompt needs a terminal", remedy)
    folder = click.get_app_dir("duckalog")
    os.makedirs(folder, mode=0o700, exist_ok=True)  # what was typed may hold a password
    keys = KeyBindings()
    session: PromptSession[str] = PromptSession(
        "duckalog> ",
        history=FileHistory(os.path.join(folder, "history")),
        lexer=PygmentsLexer(SqlLexer),
        completer=WordCompleter(sorted(words), ignore_case=True, pattern=_WORD),
        complete_while_typing=False,
        multiline=True,
        prompt_continuation="       -> ",
        key_bindings=keys,
        color_depth=ColorDepth.DEPTH_1_BIT if wants_colours() is False else None,
    )

    @Condition
    def is_whole() -> bool:
        text = session.default_buffer.text.strip()
        return text.endswith(";") or _command_in(text) is not None

    @keys.add("enter", filter=is_whole)
    def _accept(_event: object) -> None:
        session.default_buffer.validate_and_handle()

    return session


def _keywords(connection: DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        "SELECT upper(keyword_name) FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
    ).fetchall()
    return {keyword for (keyword,) in rows}
