"""`duckalog generate-sql`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from duckalog.cli.group import (
    config_argument,
    echo_json,
    env_file_option,
    json_option,
    write_output,
)

if TYPE_CHECKING:
    from duckalog.api import Part


@click.command("generate-sql")
@config_argument
@click.option(
    "-o", "--output", default="-", type=click.Path(), help="Write to this file; - is stdout."
)
@click.option("--full", is_flag=True, help="A script that makes the catalog from nothing.")
@click.option("--session", is_flag=True, help="Only what a session needs, for duckdb -init.")
@env_file_option
@json_option
def generate_sql(
    config: str, output: str, full: bool, session: bool, env_file: str | None, as_json: bool
) -> None:
    """Print CONFIG as SQL, without connecting to anything.

    Secrets are not in it: a DuckDB shell that runs it reads them from the
    environment, from the variables that are listed at its beginning.
    """
    from duckalog import api

    if full and session:
        raise click.UsageError("--full and --session exclude each other.")
    part: Part = "full" if full else "session" if session else "views"
    text = api.generate_sql(config, part=part, env_file=env_file)
    if output != "-":
        write_output(output, text)
    if as_json:
        echo_json(
            {"ok": True, "output": None if output == "-" else os.path.abspath(output), "sql": text}
        )
    elif output == "-":
        click.echo(text, nl=False)
