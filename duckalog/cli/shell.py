"""`duckalog shell`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

import click

from duckalog.cli.group import config_argument, db_path_option, env_file_option
from duckalog.errors import EngineError


@click.command()
@config_argument
@click.option(
    "--with",
    "kind",
    type=click.Choice(("duckdb", "prompt")),
    help="The DuckDB shell, or duckalog's own prompt; by default the first that is installed.",
)
@db_path_option
@env_file_option
def shell(config: str, kind: str | None, db_path: str | None, env_file: str | None) -> None:
    """Open a prompt on the catalog that CONFIG built, its session applied, for reading.

    Harlequin is not offered: it would need the secrets in a file, as DuckDB for
    Python has no getenv() to read them by.
    """
    from duckalog import api
    from duckalog.engine.shell import duckdb_shell, shell_session
    from duckalog.environment import read_environment

    plan = api.placed(api.load_plan(config, db_path, env_file=env_file))
    program = duckdb_shell() if kind != "prompt" and not plan.is_in_memory else None
    session = shell_session(plan, read_environment(env_file)) if program else None
    if program and session and os.path.exists(plan.database):
        status = _run(program, plan.database, *session)
        click.get_current_context().exit(status)
    if kind == "duckdb":
        raise EngineError(
            "the DuckDB shell cannot open this catalog",
            "It must be of the version of DuckDB that Python has, and find every secret in a "
            "variable; the catalog must be built. Or: --with prompt",
        )
    from duckalog.cli.prompt import converse

    with api.connect_plan(plan) as connection:
        converse(connection, plan)


def _run(program: str, database: str, script: str, environment: dict[str, str]) -> int:
    """Return the exit status of a DuckDB shell that starts with a script."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        sys.stdout.flush()
        # Ctrl-C is for the shell, which stops its query and stays.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            words = [program, "-readonly", "-init", file.name, os.path.realpath(database)]
            return subprocess.run(words, env=environment, check=False, preexec_fn=_hear).returncode
        finally:
            signal.signal(signal.SIGINT, handler)


def _hear() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
