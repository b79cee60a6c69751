"""`duckalog build`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from duckalog.cli.group import (
    config_argument,
    db_path_option,
    echo_json,
    env_file_option,
    json_option,
    select_option,
)
from duckalog.cli.log import is_logged, log_options, logged, problem_as_document, tell_problem
from duckalog.cli.progress import progress_bar
from duckalog.cli.terminal import COLOURS, tally
from duckalog.errors import shown_path, shown_view

if TYPE_CHECKING:
    from duckalog.engine.publish import Publish
    from duckalog.engine.reports import BuildReport, ViewReport


@click.command()
@config_argument
@db_path_option
@select_option("Build this view only, and nothing that reads it")
@click.option("--dry-run", is_flag=True, help="Print the SQL of the build; open nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Tell each statement and each view's time.")
@click.option("--no-prune", is_flag=True, help="Keep views that left the config.")
@click.option("--adopt", is_flag=True, help="Take over views of the same name made by hand.")
@click.option("--refresh", is_flag=True, help="Ask every source again, unchanged ones too.")
@click.option(
    "--keep-going", is_flag=True, help="Build what can be built; exit with 1 all the same."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="How many remote sources to ask at a time.",
)
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait while another process has the catalog open.",
)
@click.option(
    "--publish",
    type=click.Choice(["auto", "in-place", "swap"]),
    default="auto",
    show_default=True,
    help="Build in the file itself, or in a copy that is swapped in, unnoticed by readers;"
    " auto swaps where readers have the catalog open.",
)
@env_file_option
@log_options
@json_option
def build(
    config: str,
    db_path: str | None,
    select: tuple[str, ...],
    dry_run: bool,
    verbose: bool,
    no_prune: bool,
    adopt: bool,
    refresh: bool,
    keep_going: bool,
    jobs: int,
    lock_timeout: float,
    publish: Publish,
    env_file: str | None,
    as_json: bool,
) -> None:
    """Make the catalog that CONFIG declares, all or nothing."""
    from duckalog import api

    if dry_run:
        from duckalog.script import full_script

        script = full_script(api.load_plan(config, db_path, env_file=env_file))
        if as_json:
            echo_json({"ok": True, "sql": script})
        else:
            click.echo(script, nl=False)
        return
    has_bar = not as_json and not is_logged(verbose=verbose)
    with logged(verbose=verbose), progress_bar(wanted=has_bar) as progress:
        report = api.build(
            config,
            db_path,
            env_file=env_file,
            prune=not no_prune,
            adopt=adopt,
            refresh=refresh,
            keep_going=keep_going,
            jobs=jobs,
            lock_timeout_s=lock_timeout,
            publish=publish,
            progress=progress,
            select=select or None,
        )
    if as_json:
        echo_json(_as_document(report))
    else:
        _tell(report, verbose=verbose)
    if report.problems:
        click.get_current_context().exit(1)


def _tell(report: BuildReport, *, verbose: bool) -> None:
    for problem in report.problems:
        tell_problem(problem)
    for view in report.views:
        for change in view.drift:
            place = click.style(view.origin.location, bold=True)
            click.echo(f'{place}: the source of "{view.name}" changed: {change}')
    if verbose:
        for view in report.views:
            action = click.style(f"{_told(view):>10}", fg=COLOURS.get(view.action))
            name = shown_view(view.schema, view.name)
            click.echo(f"{action}  {view.seconds * 1000:7.1f} ms  {name}")
    if report.invalidated:
        names = ", ".join(name.removeprefix("main.") for name in report.invalidated)
        click.echo(f"Left to the next build, since they read what was made: {names}")
    click.echo(_summary(report))


def _summary(report: BuildReport) -> str:
    actions = ("created", "replaced", "made again", "unchanged", "removed", "failed")
    counts = Counter(map(_told, report.views))
    what = tally({one: counts[one] for one in actions}) or "no views"
    how = _PUBLISHED.get(report.published, "")
    return f"Built {shown_path(report.database)}: {what} ({report.seconds:.1f} s{how})"


def _told(view: ViewReport) -> str:
    """Return what became of a view, in the words of `plan`."""
    return "made again" if view.is_made_again else view.action


_PUBLISHED = {"in-place": ", in place", "swap": ", swapped in"}


def _as_document(report: BuildReport) -> dict[str, object]:
    return {
        "ok": not report.problems,
        "database": report.database,
        "seconds": round(report.seconds, 6),
        "published": report.published,
        "views": [
            {
                "schema": view.schema,
                "name": view.name,
                "action": view.action,
                "seconds": round(view.seconds, 6),
                "columns": [column._asdict() for column in view.columns],
                "drift": list(view.drift),
                "problem": problem_as_document(view.problem) if view.problem else None,
                "file": view.origin.file or None,
                "line": view.origin.line or None,
            }
            for view in report.views
        ],
        "invalidated": list(report.invalidated),
        "problems": [problem_as_document(problem) for problem in report.problems],
    }
