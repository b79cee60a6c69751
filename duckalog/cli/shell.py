"""`duckalog shell`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import click

from duckalog.cli.group import config_argument, db_path_option, env_file_option
from duckalog.errors import EngineError, shown_path

if TYPE_CHECKING:
    from duckalog.plan import Plan


@click.command()
@config_argument
@click.option(
    "--with",
    "kind",
    type=click.Choice(("duckdb", "harlequin", "prompt")),
    help="The DuckDB shell, Harlequin, or duckalog's own prompt; by default the first of them.",
)
@db_path_option
@env_file_option
def shell(config: str, kind: str | None, db_path: str | None, env_file: str | None) -> None:
    """Open a prompt on the catalog that CONFIG built, its session applied, for reading.

    By default it is the first of these that is installed: a DuckDB shell of
    the version that Python has, Harlequin in the environment of duckalog, and
    duckalog's own prompt.
    """
    from duckalog import api
    from duckalog.engine.shell import duckdb_shell, harlequin, shell_session
    from duckalog.environment import read_environment

    plan = api.placed(api.load_plan(config, db_path, env_file=env_file))
    exit_with = click.get_current_context().exit
    is_built = os.path.exists(plan.database)
    program = duckdb_shell() if kind in (None, "duckdb") and not plan.is_in_memory else None
    session = shell_session(plan, read_environment(env_file)) if program else None
    if program and session and is_built:
        exit_with(_run_duckdb(program, plan.database, *session))
    if kind == "duckdb":
        raise _no_duckdb_shell(plan, has_program=bool(program), is_built=is_built)
    program = harlequin() if kind in (None, "harlequin") else None
    if program and (is_built or plan.is_in_memory):
        given = {"--db-path": db_path, "--env-file": env_file}
        options = [word for name, value in given.items() if value for word in (name, value)]
        exit_with(_run([program, "--adapter", "duckalog", *options, config]))
    if kind == "harlequin" and not program:
        raise EngineError(
            "Harlequin is not installed beside duckalog", "Run: pip install harlequin"
        )
    from duckalog.cli.prompt import converse
    from duckalog.engine.inventory import words_of

    words = words_of(plan, api.LOCK_TIMEOUT_S)  # of the file alone: DuckDB asks what is attached
    with api.connect_plan(plan) as connection:
        converse(connection, plan, words)


def _no_duckdb_shell(plan: Plan, *, has_program: bool, is_built: bool) -> EngineError:
    """Return why the DuckDB shell does not open a catalog, and what does."""
    if plan.is_in_memory:
        return EngineError("a catalog in memory is only in Python", "Take --with prompt.")
    if not has_program:
        from importlib.metadata import version

        return EngineError(
            f"there is no DuckDB shell of version {version('duckdb')}, which Python has",
            f"Run: pip install duckdb-cli=={version('duckdb')}; or take --with prompt.",
        )
    if not is_built:
        from duckalog.engine.opening import to_build

        return EngineError(
            f"{shown_path(plan.database)}: the catalog is not built yet",
            to_build(plan.file),
        )
    return EngineError(
        "the DuckDB shell cannot make this session",
        "It has to find every secret in a variable. Take --with prompt.",
    )


def _run_duckdb(program: str, database: str, script: str, environment: dict[str, str]) -> int:
    """Return the exit status of a DuckDB shell that starts with a script."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        words = [program, "-readonly", "-init", file.name, os.path.realpath(database)]
        return _run(words, environment)


def _run(words: list[str], environment: dict[str, str] | None = None) -> int:
    """Return the exit status of a program that has the terminal for itself."""
    sys.stdout.flush()
    # Ctrl-C is for the program, which stops its query and stays.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run(words, env=environment, check=False, preexec_fn=_hear).returncode
    finally:
        signal.signal(signal.SIGINT, handler)


def _hear() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
