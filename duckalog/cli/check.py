"""`duckalog check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from duckalog.cli.group import (
    config_argument,
    echo_json,
    env_file_option,
    json_option,
)
from duckalog.cli.log import problem_as_document, tell_problem
from duckalog.cli.terminal import tally
from duckalog.errors import indented, shown_path

if TYPE_CHECKING:
    from duckalog.engine.verdicts import CheckReport, Sample, Verdict

_SIGNS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "not run": ("?", "red")}
_WARNING = ("!", "yellow")
_WIDTH = 40


@click.command()
@config_argument
@click.option("--db-path", type=click.Path(), help="Check this file instead.")
@click.option(
    "--select", multiple=True, metavar="VIEW", help="Check this view; may be given many times."
)
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How many failing rows to show of each check.",
)
@click.option("-v", "--verbose", is_flag=True, help="Tell of checks that passed, too.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How many views to check at a time.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a query may take.",
)
@env_file_option
@json_option
def check(
    config: str,
    db_path: str | None,
    select: tuple[str, ...],
    sample: int,
    verbose: bool,
    jobs: int,
    timeout: float,
    env_file: str | None,
    as_json: bool,
) -> None:
    """Check what CONFIG claims of its built catalog; nothing is written.

    Every database is to be reachable and every view to answer, and what
    `checks` says of a view is to be true. Exits with 1 where that is not so,
    unless the check's severity is warn.
    """
    from duckalog import api

    report = api.check(
        config,
        db_path,
        env_file=env_file,
        select=select or None,
        sample=sample,
        jobs=jobs,
        timeout_s=timeout,
    )
    if as_json:
        echo_json(_as_document(report))
    else:
        _tell(report, verbose=verbose)
    if not report.passed:
        click.get_current_context().exit(1)


def _tell(report: CheckReport, *, verbose: bool) -> None:
    for problem in report.problems:
        tell_problem(problem)
    for verdict in report.verdicts:
        if verbose or not verdict.passed:
            _tell_one(verdict)
    counts = {
        "passed": report.count("passed"),
        "failed": report.count("failed", "error"),
        "warned": report.count("failed", "warn"),
        "not run": report.count("not run"),
    }
    what = tally(counts) or "no checks"
    click.echo(f"Checked {shown_path(report.database)}: {what} ({report.seconds:.1f} s)")


def _tell_one(verdict: Verdict) -> None:
    is_warning = not verdict.passed and verdict.severity == "warn"
    sign, colour = _WARNING if is_warning else _SIGNS[verdict.status]
    subject = verdict.subject.removeprefix("view:").removeprefix("main.")
    name = click.style(f"{sign} {subject}: {verdict.name}", fg=colour)
    if verdict.passed:
        click.echo(f"{name} ({verdict.seconds:.2f} s)")
        return
    click.echo(f"{name} ({verdict.origin.location})")
    click.echo(indented(verdict.message))
    if verdict.problem:
        if verdict.problem.explanation:
            click.echo(indented(verdict.problem.explanation))
        return
    if verdict.description:
        click.echo(indented(verdict.description))
    if verdict.sample:
        click.echo(indented(_table(verdict.sample)))
    if verdict.withheld:
        click.echo(indented(f"(rows not shown: {verdict.withheld})"))
    click.echo(indented(verdict.sql))


def _table(sample: Sample) -> str:
    """Return rows as lines, each column as wide as its widest value."""
    lines = [sample.columns, *(map(_shown, row) for row in sample.rows)]
    cells = [[_cut(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _shown(value: str | None) -> str:
    return "NULL" if value is None else value


def _cut(text: str) -> str:
    text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    return f"{text[: _WIDTH - 1]}…" if len(text) > _WIDTH else text


def _as_document(report: CheckReport) -> dict[str, object]:
    return {
        "ok": report.passed,
        "database": report.database,
        "seconds": round(report.seconds, 6),
        "problems": [problem_as_document(problem) for problem in report.problems],
        "checks": [
            {
                "subject": verdict.subject,
                "name": verdict.name,
                "kind": verdict.kind,
                "severity": verdict.severity,
                "status": verdict.status,
                "message": verdict.message or None,
                "description": verdict.description,
                "failing_rows": verdict.failing_rows,
                "sample": verdict.sample._asdict() if verdict.sample else None,
                "withheld": verdict.withheld or None,
                "problem": problem_as_document(verdict.problem) if verdict.problem else None,
                "seconds": round(verdict.seconds, 6),
                "sql": verdict.sql,
                "file": verdict.origin.file or None,
                "line": verdict.origin.line or None,
            }
            for verdict in report.verdicts
        ],
    }
