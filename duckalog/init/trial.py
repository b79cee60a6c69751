"""A draft tried out: built in a folder that is thrown away, and compared."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from duckalog.bookkeeping import Column, ViewName, folded
from duckalog.config import MEMORY
from duckalog.engine.build import build, build_in_memory
from duckalog.engine.execution import closing
from duckalog.engine.making import BuildOptions
from duckalog.errors import EngineError, Problem
from duckalog.init.draft import Draft
from duckalog.init.rendering import rendered
from duckalog.load import load_config
from duckalog.plan import Plan, plan

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class TrialResult(NamedTuple):
    """What building a draft gave: each view's columns, or why it failed.

    `refusal` says why nothing could be built.
    """

    columns: dict[ViewName, tuple[Column, ...]] = {}
    failures: dict[ViewName, str] = {}
    refusal: str = ""


def tried(draft: Draft) -> TrialResult:
    """Return what building a draft gives; raises ConfigError where it is no config at all."""
    with _planned(draft) as steps:
        try:
            report = build(steps, BuildOptions(keep_going=True))
        except EngineError as error:
            return TrialResult(refusal="; ".join(_reason(problem) for problem in error.problems))
    columns: dict[ViewName, tuple[Column, ...]] = {}
    failures: dict[ViewName, str] = {}
    for view in report.views:
        key = folded((view.schema, view.name))
        if view.problem:
            failures[key] = _reason(view.problem)
        else:
            columns[key] = view.columns
    return TrialResult(columns, failures)


@contextlib.contextmanager
def connected(draft: Draft) -> Iterator[DuckDBPyConnection]:
    """Yield a connection to a draft of a catalog in memory; raises EngineError."""
    with _planned(draft) as steps, closing(build_in_memory(steps)) as connection:
        yield connection


@contextlib.contextmanager
def _planned(draft: Draft) -> Iterator[Plan]:
    """Yield the plan of a draft, in a folder that is gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="duckalog-") as folder:
        file = Path(folder, "catalog.yaml")
        file.write_text(rendered(draft, folder), encoding="utf-8")
        environment = {**os.environ, **draft.variables}
        database = draft.database
        if database != MEMORY:
            # The same file name: queries may name their own catalog.
            database = os.path.join(folder, os.path.basename(database))
        yield plan(load_config(file, environment=environment), database)


def _reason(problem: Problem) -> str:
    """Return a problem on one line, without its place in a file that is gone."""
    said = [line for line in problem.explanation.splitlines() if line.strip()]
    return said[0] if said else problem.message
