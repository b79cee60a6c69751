"""`duckalog init`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from duckalog.cli.group import echo_json, json_option, unwritable
from duckalog.errors import ConfigError, Origin, Problem, shown_path

if TYPE_CHECKING:
    from duckalog.init.draft import StartingConfig


@click.command()
@click.option(
    "--from",
    "source",
    metavar="PLACE",
    help="A DuckDB file, a data file, a folder of them, or an s3:// prefix.",
)
@click.option(
    "--attach",
    multiple=True,
    metavar="ALIAS=PLACE",
    help="Where a database is that the file's views read: a path or a PostgreSQL DSN.",
)
@click.option(
    "-o",
    "--output",
    default="catalog.yaml",
    show_default=True,
    type=click.Path(),
    help="Write to this file; - is stdout.",
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
def init(
    source: str | None, attach: tuple[str, ...], output: str, force: bool, as_json: bool
) -> None:
    """Write a config to start from: a small one, or one made of what there is.

    What cannot be carried over is told, and stands as comments at the end of
    the config.
    """
    from duckalog import api

    if attach and source is None:
        raise click.UsageError("--attach goes with --from.")
    path = "catalog.yaml" if output == "-" else output
    if output != "-":
        _refuse(output, force=force)
    made = api.init_config(source, path, attach=attach)
    if output != "-":
        _write(output, made.text, force=force)
    if as_json:
        echo_json(_as_document(made, output))
        return
    if output == "-":
        click.echo(made.text, nl=False)
    else:
        views = "1 view" if made.views == 1 else f"{made.views:,} views"
        click.echo(f"Wrote {shown_path(os.path.abspath(output))}: {views}")
    for note in made.notes:
        click.echo(str(note), err=True)


def _refuse(output: str, *, force: bool) -> None:
    if not output.lower().endswith((".yaml", ".yml")):
        raise ConfigError(_problem(output, "this is not the name of a YAML file", "End it .yaml"))
    if os.path.lexists(output) and not force:
        raise _there_is_one(output)


def _there_is_one(output: str) -> ConfigError:
    remedy = "Choose another with --output, or write over it with --force."
    return ConfigError(_problem(output, "there is a file already", remedy))


def _problem(output: str, message: str, remedy: str) -> Problem:
    return Problem(Origin(os.path.abspath(output)), message, remedy)


def _write(output: str, text: str, *, force: bool) -> None:
    try:
        with open(output, "w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise _there_is_one(output) from None
    except OSError as error:
        raise unwritable(output, error) from None


def _as_document(made: StartingConfig, output: str) -> dict[str, object]:
    return {
        "ok": True,
        "output": None if output == "-" else os.path.abspath(output),
        "views": made.views,
        "notes": [note._asdict() for note in made.notes],
        "config": made.text,
    }
