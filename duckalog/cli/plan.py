"""`duckalog plan`."""

from __future__ import annotations

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
from duckalog.cli.terminal import tally
from duckalog.errors import EngineError, shown_path, shown_view

if TYPE_CHECKING:
    from duckalog.changes import Change, Diff, FileChanges
    from duckalog.engine.progress import Progress
    from duckalog.plan import Plan

CHANGES = 2
"""The exit status of `--detailed-exitcode` where a build would change something."""

_SHOWN_FILES = 10
"""Files of a pinned view that came, and as many that went, that are told one by one."""

_COLOURS = {"created": "green", "replaced": "yellow", "unchanged": "cyan", "failed": "red"}


@click.command()
@config_argument
@db_path_option
@select_option("As for build")
@click.option("--no-prune", is_flag=True, help="As for build.")
@click.option("--adopt", is_flag=True, help="As for build.")
@click.option("--refresh", is_flag=True, help="Ask every source too, and tell which drifted.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 where there are changes.")
@env_file_option
@log_options
@json_option
def plan(
    config: str,
    db_path: str | None,
    select: tuple[str, ...],
    no_prune: bool,
    adopt: bool,
    refresh: bool,
    detailed_exitcode: bool,
    env_file: str | None,
    as_json: bool,
) -> None:
    """Tell what a build of CONFIG would do; nothing is written.

    The sources of pinned views are listed, other sources are not asked. What
    cannot be reached, and a place where no catalog can be built, is told beside
    the rest, with exit status 1.
    """
    from duckalog import api

    drift: dict[str, tuple[str, ...]] = {}
    has_bar = refresh and not as_json and not is_logged()
    with logged(), progress_bar(wanted=has_bar) as progress:
        found = api.diff(
            config,
            db_path,
            env_file=env_file,
            prune=not no_prune,
            adopt=adopt,
            select=select or None,
        )
        if refresh:
            whole = api.load_plan(config, db_path, env_file=env_file)
            asked = whole.chosen(select, with_needs=True) if select else whole
            drift, found = _ask_sources(asked, found, progress)
    if as_json:
        echo_json(_as_document(found, drift))
    else:
        _tell(found, drift)
    context = click.get_current_context()
    if found.conflicts or found.failures:
        context.exit(1)
    if detailed_exitcode and (drift or not found.is_empty):
        context.exit(CHANGES)


def _ask_sources(
    plan: Plan, found: Diff, progress: Progress
) -> tuple[dict[str, tuple[str, ...]], Diff]:
    """Return how views drifted, by key, and what was found with what fails."""
    from duckalog.engine.trial import drift_of_sources

    known = {*found.conflicts, *found.failures}
    try:
        drift, problems = drift_of_sources(plan, progress)
    except EngineError as error:
        return {}, found.with_failures({}, (one for one in error.problems if one not in known))
    new = {key: problem for key, problem in problems.items() if problem not in known}
    told = {change.step.key for change in found.changes}  # others are read by those
    drift = {key: changes for key, changes in drift.items() if key in told}
    return drift, found.with_failures(new, new.values())


def _tell(found: Diff, drift: dict[str, tuple[str, ...]]) -> None:
    for change in found.changes:
        if change.reason or change.step.key in drift:
            _tell_change(change, drift.get(change.step.key, ()))
    for schema, name in found.removed:
        click.secho(f"- {shown_view(schema, name)}  it left the config", fg="red")
    for schema, name in found.kept:
        click.echo(
            f"! {shown_view(schema, name)}  it left the config, but was changed by hand: it is kept"
        )
    for problem in (*found.conflicts, *found.failures):
        tell_problem(problem)
    click.echo(_summary(found, len(drift)))


def _tell_change(change: Change, drift: tuple[str, ...]) -> None:
    from duckalog.changes import SIGNS

    step = change.step
    reason = change.reason or "its source drifted"
    name = f"{SIGNS[change.action]} {shown_view(step.schema, step.view)}"
    name = click.style(name, fg=_COLOURS[change.action])
    click.echo(f"{name}  {reason} ({shown_path(step.origin.file)}:{step.origin.line})")
    for line in change.query_diff:
        click.secho(f"    {line}", fg={"+": "green", "-": "red"}.get(line[:1]))
    for line in (*change.comments, *drift):
        click.echo(f"    {line}")
    _tell_files(change.files)


def _tell_files(files: FileChanges) -> None:
    if any(files):
        click.echo(f"    {files}")
    signs = {"+": files.added, "-": files.removed, "~": files.changed}
    for sign, paths in signs.items():
        for path in paths[:_SHOWN_FILES]:
            click.secho(f"    {sign} {shown_path(path)}", fg={"+": "green", "-": "red"}.get(sign))
        if len(paths) > _SHOWN_FILES:
            click.echo(f"    {sign} … {len(paths) - _SHOWN_FILES:,} more")


def _summary(found: Diff, drifted: int) -> str:
    counts = {
        "to create": sum(change.action == "created" for change in found.changes),
        "to replace": sum(change.action == "replaced" for change in found.changes),
        "to make again": sum(
            change.action == "unchanged" and bool(change.reason) for change in found.changes
        ),
        "to fail": sum(change.action == "failed" for change in found.changes),
        "to remove": len(found.removed),
        "drifted": drifted,
        "unchanged": sum(not change.reason for change in found.changes),
    }
    return f"Plan: {tally(counts) or 'no views'}"


def _action(change: Change) -> str:
    """Return what a build would do with a view, as JSON has it."""
    return "remade" if change.action == "unchanged" and change.reason else change.action


def _as_document(found: Diff, drift: dict[str, tuple[str, ...]]) -> dict[str, object]:
    return {
        "ok": not (found.conflicts or found.failures),
        "is_empty": found.is_empty and not drift,
        "problems": [
            problem_as_document(problem) for problem in (*found.conflicts, *found.failures)
        ],
        "views": [
            {
                "schema": change.step.schema,
                "name": change.step.view,
                "action": _action(change),
                "reason": change.reason or None,
                "query_before": change.query_before or None,
                "query": change.step.query,
                "comments": list(change.comments),
                "drift": list(drift.get(change.step.key, ())),
                "files": {what: list(paths) for what, paths in change.files._asdict().items()},
                "file": change.step.origin.file or None,
                "line": change.step.origin.line or None,
            }
            for change in found.changes
        ],
        "removed": [{"schema": schema, "name": name} for schema, name in found.removed],
        "kept": [{"schema": schema, "name": name} for schema, name in found.kept],
    }
