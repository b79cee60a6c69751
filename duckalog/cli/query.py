"""`duckalog query`."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from duckalog.cli.group import config_argument, db_path_option, env_file_option
from duckalog.cli.output import file_to_write, standard_output
from duckalog.cli.terminal import narrowed
from duckalog.errors import ConfigError, Origin, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from duckalog.engine.query import Question

FORMATS = ("table", "csv", "json", "jsonl", "parquet", "arrow")
_FORMAT_OF_SUFFIX = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".txt": "table",
}
_BINARY = ("parquet", "arrow")
_ROWS_ON_TERMINAL = 40
_ROWS_ELSEWHERE = 10_000
_ANY_WIDTH = 1_000_000


@click.command()
@config_argument
@click.argument("sql", required=False)
@click.option("-f", "--file", type=click.Path(), help="Read the SQL from this file; - is stdin.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="How to write the rows: by default as --output's suffix says, else as a table."
    " NaN and Infinity stand in JSON as DuckDB writes them, bare.",
)
@click.option("-o", "--output", type=click.Path(), help="Write to this file instead of stdout.")
@click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Bind $NAME in the SQL; the names of ? are 1, 2 and so on.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(1, _ROWS_ELSEWHERE),
    help=f"Rows that a table shows: {_ROWS_ON_TERMINAL} on a terminal, else {_ROWS_ELSEWHERE},"
    " which is the most. The other formats have all rows.",
)
@click.option("--write", is_flag=True, help="Open the catalog for writing; no one else may then.")
@db_path_option
@env_file_option
def query(
    config: str,
    sql: str | None,
    file: str | None,
    kind: str | None,
    output: str | None,
    params: Sequence[str],
    max_rows: int | None,
    write: bool,
    db_path: str | None,
    env_file: str | None,
) -> None:
    """Ask the catalog that CONFIG built, its session applied.

    SQL is one statement or several: all are run, and the rows of the last are
    the answer. A single - reads it from stdin. The catalog is open for reading
    only, so that many may ask at a time.
    """
    from duckalog import api
    from duckalog.engine.execution import closing
    from duckalog.engine.query import Script, ask

    if output in ("-", "/dev/stdout"):
        output = None
    values = _values(params)
    kind = kind or _format_of(output)
    if kind in _BINARY and output is None and sys.stdout.isatty():
        raise click.UsageError(f"{kind} is not for a terminal: add --output FILE, or a pipe.")
    text, origin = _sql(sql, file)
    plan = api.load_plan(config, db_path, env_file=env_file)
    with closing(api.connect_plan(plan, read_only=not write)) as connection:
        has_pins = any(step.pin for step in plan.views)
        question = ask(connection, Script(text, origin, values, plan.redact, has_pins))
        if question is not None:
            _answer(connection, question, kind, output, max_rows)


def _values(params: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for param in params:
        name, separator, value = param.partition("=")
        name = name.removeprefix("$")
        if not (name and separator):
            raise click.UsageError(f"--param {param}: write NAME=VALUE.")
        values[name] = value
    return values


def _format_of(output: str | None) -> str:
    if output is None:
        return "table"
    stem, suffix = os.path.splitext(output.lower())
    if suffix in (".gz", ".zst"):
        suffix = os.path.splitext(stem)[1]
    if suffix not in _FORMAT_OF_SUFFIX:
        raise click.UsageError(f"{output}: its suffix is no format; add --format.")
    return _FORMAT_OF_SUFFIX[suffix]


def _sql(sql: str | None, file: str | None) -> tuple[str, Origin]:
    if (sql is None) == (file is None):
        raise click.UsageError("Pass the SQL, or --file FILE, or - for stdin.")
    if sql is not None and sql != "-":
        return sql, Origin()
    if file in (None, "-"):
        return sys.stdin.buffer.read().decode("utf-8-sig", errors="replace"), Origin()
    assert file
    try:
        with open(file, encoding="utf-8-sig") as stream:
            return stream.read(), Origin(os.path.abspath(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
    raise ConfigError(Problem(Origin(os.path.abspath(file)), f"cannot be read: {reason}"))


def _answer(
    connection: DuckDBPyConnection,
    question: Question,
    kind: str,
    output: str | None,
    max_rows: int | None,
) -> None:
    from duckalog.engine.query import write, write_arrow

    if kind == "table":
        _show_table(connection, question, output, max_rows)
    elif kind == "arrow" and output is None:
        write_arrow(connection, question, sys.stdout.buffer, is_file=False)
    elif kind == "arrow" and output is not None:
        with file_to_write(output) as path:
            is_stream = output.lower().endswith(".arrows")
            write_arrow(connection, question, path, is_file=not is_stream)
    else:
        with standard_output() if output is None else file_to_write(output) as path:
            write(connection, question, path, kind)


def _show_table(
    connection: DuckDBPyConnection, question: Question, output: str | None, max_rows: int | None
) -> None:
    """Print the answer as a table, or write it to a file; tell of rows that are left out."""
    from duckalog.engine.query import show

    is_terminal = output is None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else _ANY_WIDTH
    rows = max_rows or (_ROWS_ON_TERMINAL if is_terminal else _ROWS_ELSEWHERE)
    if output is None:
        with narrowed():
            left_out = show(connection, question, max_rows=rows, max_width=width)
    else:
        with (
            file_to_write(output) as path,
            open(path, "w", encoding="utf-8") as stream,
            contextlib.redirect_stdout(stream),
        ):
            left_out = show(connection, question, max_rows=rows, max_width=width)
            if left_out:
                print(left_out)
    if left_out:
        click.echo(left_out, err=output is not None)
