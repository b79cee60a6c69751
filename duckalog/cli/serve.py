"""`duckalog serve`."""

from __future__ import annotations

import os
import secrets
import signal
import threading

import click

from duckalog.cli.group import config_argument, db_path_option, env_file_option
from duckalog.errors import shown_path

TOKEN_VARIABLE = "DUCKALOG_SERVE_TOKEN"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@click.command()
@config_argument
@click.option("--host", default="localhost", show_default=True, help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=9494, show_default=True, help="On which port."
)
@click.option(
    "--until-rebuilt",
    is_flag=True,
    help="End once a build has swapped in another catalog, so that a supervisor serves that.",
)
@db_path_option
@env_file_option
def serve(
    config: str,
    host: str,
    port: int,
    until_rebuilt: bool,
    db_path: str | None,
    env_file: str | None,
) -> None:
    """Serve the catalog that CONFIG built to many readers (experimental).

    They need neither its files nor its credentials, only DuckDB with the
    extensions httpfs and quack, and a token: that of the environment variable
    DUCKALOG_SERVE_TOKEN, else one that is made up and printed once. Whoever has
    it may run any query, and so read any file that this process may. Nothing is
    encrypted: beyond this machine, put a proxy with TLS before it. The catalog is the
    one that there is when it starts.
    """
    from duckalog import api
    from duckalog.engine.locks import is_replaced
    from duckalog.engine.serve import served
    from duckalog.sql import as_word, literal

    plan = api.load_plan(config, db_path, env_file=env_file)
    token = os.environ.get(TOKEN_VARIABLE, "")
    is_own = bool(token)
    token = token or secrets.token_urlsafe(24)
    ended = threading.Event()
    connection = api.connect_plan(plan)
    is_remote = host not in _LOOPBACK
    with served(connection, host, port, token, may_be_remote=is_remote) as address:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        click.echo(f"Serving {shown_path(plan.database)} at {address} (experimental)")
        shown = f"<{TOKEN_VARIABLE}>" if is_own else token
        click.echo(f"  CREATE SECRET (TYPE quack, TOKEN '{shown}');")
        name = plan.catalog_name
        click.echo(f"  ATTACH '{address}' AS {as_word(name)} (DISABLE_SSL true);")
        # A reader's own SHOW TABLES finds nothing (quack of DuckDB 1.5.5).
        listing = f"FROM quack_query_by_name({literal(name)}, 'SHOW ALL TABLES');"
        click.echo(f"  {listing}  -- what there is")
        click.echo("Ctrl-C ends it.")
        is_told = False
        while not ended.wait(0.5):
            if is_told or plan.is_in_memory:
                continue
            file = os.path.realpath(plan.database)
            if not os.path.exists(file) or not is_replaced(file):
                continue
            if until_rebuilt:
                break
            place = shown_path(plan.database)
            told = "was rebuilt: readers have the earlier one until this server starts again."
            click.echo(f"{place} {told}", err=True)
            is_told = True
    click.echo("Ended.")
