"""`duckalog build`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from duckalog.cli.group import config_argument, echo_json, env_file_option, json_option
from duckalog.errors import shown_path

if TYPE_CHECKING:
    from duckalog.engine.build import BuildReport


@click.command()
@config_argument
@click.option("--db-path", type=click.Path(), help="Build this file instead of duckdb.database.")
@click.option("--dry-run", is_flag=True, help="Print the SQL of the build; open nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Tell each statement and each view's time.")
@click.option("--no-prune", is_flag=True, help="Keep views that left the config.")
@click.option("--adopt", is_flag=True, help="Take over views of the same name made by hand.")
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait while another process has the catalog open.",
)
@env_file_option
@json_option
def build(
    config: str,
    db_path: str | None,
    dry_run: bool,
    verbose: bool,
    no_prune: bool,
    adopt: bool,
    lock_timeout: float,
    env_file: str | None,
    as_json: bool,
) -> None:
    """Make the catalog that CONFIG declares, all or nothing."""
    from duckalog import api
    from duckalog.logs import verbose_logging

    if dry_run:
        from duckalog.script import full_script

        script = full_script(api.load_plan(config, db_path, env_file=env_file))
        if as_json:
            echo_json({"ok": True, "sql": script})
        else:
            click.echo(script, nl=False)
        return
    with verbose_logging(verbose):
        report = api.build(
            config,
            db_path,
            env_file=env_file,
            prune=not no_prune,
            adopt=adopt,
            lock_timeout_s=lock_timeout,
        )
    if as_json:
        echo_json(_as_document(report))
        return
    if verbose:
        for view in report.views:
            click.echo(
                f"{view.action:>9}  {view.seconds * 1000:7.1f} ms  {view.schema}.{view.name}"
            )
    click.echo(_summary(report))


def _summary(report: BuildReport) -> str:
    actions = ("created", "replaced", "unchanged", "removed")
    counts = [f"{report.count(one)} {one}" for one in actions if report.count(one)]
    what = ", ".join(counts) or "no views"
    return f"Built {shown_path(report.database)}: {what} ({report.seconds:.1f} s)"


def _as_document(report: BuildReport) -> dict[str, object]:
    return {
        "ok": True,
        "database": report.database,
        "seconds": round(report.seconds, 6),
        "views": [
            {
                "schema": view.schema,
                "name": view.name,
                "action": view.action,
                "seconds": round(view.seconds, 6),
                "columns": [column._asdict() for column in view.columns],
                "file": view.origin.file or None,
                "line": view.origin.line or None,
            }
            for view in report.views
        ],
    }
