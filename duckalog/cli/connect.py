"""`duckalog connect`."""

from __future__ import annotations

import click

from duckalog.cli.group import config_argument, db_path_option, env_file_option


@click.command()
@config_argument
@click.option(
    "--as",
    "kind",
    type=click.Choice(("sqlalchemy", "dbt", "init-sql")),
    required=True,
    help="For SQLAlchemy, as Python; for dbt-duckdb, as a profile; or as SQL for any client.",
)
@db_path_option
@env_file_option
def connect(config: str, kind: str, db_path: str | None, env_file: str | None) -> None:
    """Print how another tool opens the catalog of CONFIG, its session applied.

    Nothing is opened. Secrets are not in it: they are read from the environment
    when it is used.
    """
    from duckalog import api
    from duckalog.clients import dbt_profile, sqlalchemy_recipe
    from duckalog.config import MEMORY
    from duckalog.load import read_config
    from duckalog.script import session_script

    plan = api.load_plan(config, db_path, env_file=env_file, is_lenient=kind != "init-sql")
    if kind == "init-sql":
        click.echo(session_script(plan), nl=False)
        return
    plan = api.placed(plan)
    if kind == "sqlalchemy":
        click.echo(sqlalchemy_recipe(plan, has_own_path=db_path is not None), nl=False)
    elif plan.database == MEMORY:
        raise click.UsageError("A catalog in memory cannot be attached: state duckdb.database.")
    else:
        loaded = read_config(config, env_file=env_file, is_lenient=True).config
        assert loaded  # the plan is made of it
        click.echo(dbt_profile(loaded, plan), nl=False)
