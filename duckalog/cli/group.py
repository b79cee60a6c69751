"""The root command, its version, and what every command shares: errors and exit status."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

import click

from duckalog.cli.log import tell_note, tell_problem
from duckalog.cli.terminal import wants_colours
from duckalog.errors import ConfigError, DuckalogError, Origin, Problem, shown_path
from duckalog.version import __version__

_COMMANDS = {
    "build": "duckalog.cli.build",
    "plan": "duckalog.cli.plan",
    "check": "duckalog.cli.check",
    "generate-sql": "duckalog.cli.generate",
    "graph": "duckalog.cli.graph",
    "init": "duckalog.cli.init",
    "validate": "duckalog.cli.validate",
    "query": "duckalog.cli.query",
    "ls": "duckalog.cli.listing",
    "describe": "duckalog.cli.listing",
    "shell": "duckalog.cli.shell",
    "serve": "duckalog.cli.serve",
    "connect": "duckalog.cli.connect",
    "schema": "duckalog.cli.schema",
    "version": "duckalog.cli.group",
}


class _Commands(click.Group):
    """Imports a command when it is asked for, and turns errors into messages."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = getattr(import_module(_COMMANDS[name]), name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def invoke(self, context: click.Context) -> Any:
        context.color = wants_colours()
        try:
            return super().invoke(context)
        except DuckalogError as error:
            _tell(error, as_json=_wants_json(context))
            context.exit(1)
        except BrokenPipeError:
            # The reader of a pipe has gone; nothing is left to be said to it.
            _let_output_go()
            context.exit(1)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line; an output that cannot be written, to a full disk say, is told."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            _let_output_go()
            place = shown_path(error.filename) if error.filename else "the output"
            click.echo(f"{place}: cannot be written or read: {error.strerror}", err=True)
            sys.exit(1)


def _let_output_go() -> None:
    """Send what is left of the output nowhere: Python would try to write it again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _wants_json(context: click.Context) -> bool:
    return bool(context.meta.get("duckalog.json"))


def _tell(error: DuckalogError, *, as_json: bool) -> None:
    if as_json:
        problems = [problem_as_document(problem) for problem in error.problems]
        document = {"ok": False, "error": type(error).__name__, "problems": problems}
        echo_json({**document, "note": error.note or None})
        return
    for problem in error.problems:
        tell_problem(problem)
    if error.note:
        tell_note(error.note)


def problem_as_document(problem: Problem) -> dict[str, object]:
    """Return a problem as JSON has it."""
    return {
        "file": problem.origin.file or None,
        "line": problem.origin.line or None,
        "path": list(problem.origin.path),
        "name": problem.name or None,
        "message": problem.message,
        "cause": problem.cause or None,
        "remedy": problem.remedy or None,
    }


def echo_json(document: object) -> None:
    """Print a document as JSON on one line, for machines."""
    click.echo(json.dumps(document, ensure_ascii=False))


def write_output(output: str, text: str) -> None:
    """Write what a command made to the file that `--output` names."""
    try:
        with open(output, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(output, error) from None


def unwritable(output: str, error: OSError) -> ConfigError:
    """Return the error for an output that cannot be written."""
    message = f"cannot be written: {error.strerror or error}"
    return ConfigError(Problem(Origin(os.path.abspath(output)), message))


def json_option(command: Any) -> Any:
    """Add `--json`, which also makes errors JSON."""

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
        context.meta["duckalog.json"] = value
        return value

    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        callback=remember,
        help="Print JSON for machines, errors included.",
    )(command)


config_argument = click.argument("config", type=click.Path())

db_path_option = click.option(
    "--db-path", type=click.Path(), help="The catalog's file, instead of duckdb.database."
)

env_file_option = click.option(
    "--env-file",
    type=click.Path(),
    help="Read variables from this file too; those of the environment win.",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="duckalog")
def cli() -> None:
    """A DuckDB catalog as code: one YAML or JSON file, reviewed, built and checked."""


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version of duckalog; with --json, those of DuckDB and Python too."""
    if not as_json:
        click.echo(__version__)
        return
    from importlib.metadata import version as installed

    python = ".".join(map(str, sys.version_info[:3]))
    echo_json({"duckalog": __version__, "duckdb": installed("duckdb"), "python": python})
