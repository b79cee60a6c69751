"""`--log-level` and `--log-format`: what a command logs to standard error."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import click

from duckalog.cli.terminal import coloured_problem
from duckalog.errors import Problem, indented

LEVELS = ("debug", "info", "warning", "error")
_META = "duckalog.log"


def log_options(command: Any) -> Any:
    """Add the options; `logged` is where they take effect."""
    level = click.option(
        "--log-level",
        type=click.Choice(LEVELS),
        expose_value=False,
        is_eager=True,
        callback=_remember,
        help="Log from this level on: debug with --verbose, else info with --log-format.",
    )
    form = click.option(
        "--log-format",
        type=click.Choice(("text", "json")),
        expose_value=False,
        is_eager=True,
        callback=_remember,
        help="Log as text, or as a JSON object a line, errors included.",
    )
    return level(form(command))


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        context.meta[f"{_META}.{parameter.name}"] = value


def logs_json(context: click.Context) -> bool:
    """Say whether standard error is to hold JSON lines only."""
    return context.meta.get(f"{_META}.log_format") == "json"


def problem_as_document(problem: Problem) -> dict[str, object]:
    """Return a problem as JSON has it."""
    return {
        "file": problem.origin.file or None,
        "line": problem.origin.line or None,
        "path": list(problem.origin.path),
        "name": problem.name or None,
        "message": problem.message,
        "cause": problem.cause or None,
        "remedy": problem.remedy or None,
    }


def tell_problem(problem: Problem) -> None:
    """Tell on standard error what went wrong."""
    _tell(str(problem), coloured_problem(problem), problem=problem_as_document(problem))


def tell_note(note: str) -> None:
    """Tell on standard error what is to be known besides what went wrong."""
    _tell(note, indented(note))


def _tell(text: str, on_terminal: str, **fields: object) -> None:
    if logs_json(click.get_current_context()):
        from duckalog.logs import json_line

        click.echo(json_line("error", "duckalog", text, time.time(), **fields), err=True)
    else:
        click.echo(on_terminal, err=True)


def logged(*, verbose: bool = False) -> contextlib.AbstractContextManager[None]:
    """Log as the options have it while the block runs; by default, nothing is set up."""
    from duckalog.logs import logging_to_stderr

    context = click.get_current_context()
    level = context.meta.get(f"{_META}.log_level") or ("debug" if verbose else None)
    if not is_logged(verbose=verbose):
        return contextlib.nullcontext()
    return logging_to_stderr(level or "info", as_json=logs_json(context))


def is_logged(*, verbose: bool = False) -> bool:
    """Say whether log lines are on standard error, where a progress bar would be in their way."""
    meta = click.get_current_context().meta
    return verbose or any(key.startswith(_META) for key in meta)
