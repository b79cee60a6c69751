"""`duckalog validate`."""

from __future__ import annotations

import click

from duckalog.cli.group import config_argument, echo_json, env_file_option, json_option
from duckalog.cli.log import is_logged, log_options, logged
from duckalog.cli.progress import progress_bar
from duckalog.errors import shown_path


@click.command()
@config_argument
@click.option(
    "--connect",
    is_flag=True,
    help="Also attach every database and bind every view; nothing is written.",
)
@click.option("--allow-unset", is_flag=True, help="Let variables be unset, in a hook say.")
@env_file_option
@log_options
@json_option
def validate(
    config: str, connect: bool, allow_unset: bool, env_file: str | None, as_json: bool
) -> None:
    """Check CONFIG: its syntax, its names, its SQL; every problem is told at once."""
    from duckalog import api

    if connect and allow_unset:
        raise click.UsageError("--connect needs every variable: take --allow-unset away.")
    has_bar = connect and not as_json and not is_logged()
    with logged(), progress_bar(wanted=has_bar) as progress:
        api.validate_config(
            config,
            env_file=env_file,
            connect=connect,
            progress=progress,
            is_lenient=allow_unset,
        )
    if as_json:
        echo_json({"ok": True, "problems": []})
    else:
        click.echo(f"{shown_path(config)}: valid{' and reachable' if connect else ''}")
