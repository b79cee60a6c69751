"""The root command, its version, and what every command shares: errors and exit status."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import click

from duckalog.cli.log import problem_as_document, tell_note, tell_problem
from duckalog.cli.terminal import wants_colours
from duckalog.errors import (
    ConfigError,
    DuckalogError,
    Origin,
    Problem,
    nearest,
    sentences,
    shown_path,
)
from duckalog.version import __version__

_Function = TypeVar("_Function", bound=Callable[..., Any])

_COMMANDS = {
    "build": ("duckalog.cli.build", "Make the catalog, all or nothing."),
    "plan": ("duckalog.cli.plan", "Tell what a build would do, writing nothing."),
    "check": ("duckalog.cli.check", "Check what the config claims of the catalog."),
    "generate-sql": ("duckalog.cli.generate", "Print the config as SQL."),
    "graph": ("duckalog.cli.graph", "Draw which view reads what."),
    "init": ("duckalog.cli.init", "Write a config to start from."),
    "validate": ("duckalog.cli.validate", "Check the config itself."),
    "query": ("duckalog.cli.query", "Ask the catalog."),
    "ls": ("duckalog.cli.listing", "List the views."),
    "describe": ("duckalog.cli.listing", "Tell all of one view."),
    "shell": ("duckalog.cli.shell", "Open a prompt on the catalog."),
    "serve": ("duckalog.cli.serve", "Serve the catalog to many readers."),
    "connect": ("duckalog.cli.connect", "Print how other tools open the catalog."),
    "schema": ("duckalog.cli.schema", "Print the config's JSON schema, for editors."),
    "version": ("duckalog.cli.group", "Print the version."),
}
"""Where each command is, and what of it the list of commands has room for."""


class _Commands(click.Group):
    """Imports a command when it is asked for, and turns errors into messages."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = getattr(import_module(_COMMANDS[name][0]), name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in _COMMANDS.items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            similar = sentences(nearest(args[0], _COMMANDS))
            context.fail(f'No such command "{args[0]}". {similar}'.rstrip())
        return super().resolve_command(context, args)

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


class _ConfigArgument(click.Argument):
    """The config's path; where it is missing, what lies here is named."""

    def process_value(self, context: click.Context, value: Any) -> Any:
        try:
            return super().process_value(context, value)
        except click.MissingParameter:
            here = next((one for one in _USUAL_NAMES if os.path.isfile(one)), None)
            remedy = f"Try: {context.command_path} {here}" if here else "duckalog init writes one."
            raise click.MissingParameter(remedy, context, param=self) from None


_USUAL_NAMES = ("catalog.yaml", "catalog.yml", "catalog.json")

config_argument = click.argument("config", type=click.Path(), cls=_ConfigArgument)

db_path_option = click.option(
    "--db-path", type=click.Path(), help="The catalog's file, instead of duckdb.database."
)


def select_option(what: str) -> Callable[[_Function], _Function]:
    """Return `--select`, which may be given many times; `what` it does with a view."""
    return click.option(
        "--select", multiple=True, metavar="VIEW", help=f"{what}; may be given many times."
    )


env_file_option = click.option(
    "--env-file",
    type=click.Path(),
    envvar="DUCKALOG_ENV_FILE",
    help="Read variables from this file too, or from that of DUCKALOG_ENV_FILE; those of the"
    " environment win.",
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
