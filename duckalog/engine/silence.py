"""Iceberg catalogs that give no answer: told for each of their views, and waited for once.

DuckDB looks up the tables of a namespace one after the other (1.4 and 1.5), so
that a hundred views over a catalog that hangs would take a hundred time-outs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from duckdb import DuckDBPyConnection

from duckalog.engine import session
from duckalog.engine.parallel import in_parallel
from duckalog.engine.progress import Progress, untold
from duckalog.errors import Problem
from duckalog.locations import is_remote
from duckalog.plan import Plan, ViewStep

_OF_THE_NETWORK = "error for HTTP"
"""What DuckDB says where no response came, 1.4 to 2.0; not of a response that refuses."""


class Silence:
    """What is known of the catalogs of a plan that gave no answer in time."""

    def __init__(self, plan: Plan) -> None:
        self._names = {step.key: step.name for step in plan.session if step.kind == "catalog"}
        self._found_by: dict[str, str] = {}

    def catalogs_of(self, step: ViewStep) -> frozenset[str]:
        """Return the keys of the catalogs that a view names."""
        return frozenset(key for key in step.needs if key in self._names)

    def problem_of(self, step: ViewStep) -> Problem | None:
        """Return why a view need not be asked: a catalog that it reads gave no answer before."""
        for key in step.needs:
            if key in self._found_by:
                message = f'the catalog "{self._names[key]}" gives no answer'
                remedy = f'"{self._found_by[key]}" waited for it in vain.'
                return Problem(step.origin, message, remedy, step.view)
        return None

    def hear(self, step: ViewStep, problem: Problem | None, seconds: float) -> None:
        """Learn from what a view was told, after so many seconds."""
        is_silence = problem and _OF_THE_NETWORK in problem.cause
        if is_silence and seconds >= session.HTTP_LIMITS["http_timeout"] and self.tells_of(step):
            for key in self.catalogs_of(step):
                self._found_by.setdefault(key, step.view)

    def tells_of(self, step: ViewStep) -> bool:
        """Say whether a view asks one catalog and nothing else, which may be what is silent."""
        is_alone = len(step.needs) == len(self.catalogs_of(step)) == 1
        return (
            is_alone and not step.reads_unknown_files and not any(map(is_remote, step.stated_files))
        )


Result = TypeVar("Result", bound="Told")


class Told(Protocol):
    """What a view's source said: a problem, maybe."""

    @property
    def problem(self) -> Problem | None:
        """Why it said nothing else."""


def ask_each(
    connection: DuckDBPyConnection,
    plan: Plan,
    steps: Sequence[ViewStep],
    ask: Callable[[DuckDBPyConnection, ViewStep], Result | None],
    unasked: Callable[[Problem], Result],
    *,
    jobs: int,
    progress: Progress = untold,
) -> dict[str, Result]:
    """Return what `ask` says of each view, by its key, on `jobs` cursors at a time.

    Views of which it says nothing are left out. One view of each Iceberg catalog goes
    ahead: if it hears nothing, the others are `unasked`.
    """
    silence = Silence(plan)

    def ask_unless_in_vain(cursor: DuckDBPyConnection, step: ViewStep) -> Result | None:
        problem = silence.problem_of(step)
        if problem:
            return unasked(problem)
        start = time.perf_counter()
        told = ask(cursor, step)
        silence.hear(step, told.problem if told else None, time.perf_counter() - start)
        return told

    found: dict[str, Result] = {}
    for some in _first_of_each_catalog(steps, silence):
        told = in_parallel(connection, plan, some, ask_unless_in_vain, jobs=jobs, progress=progress)
        found |= {step.key: one for step, one in zip(some, told, strict=True) if one is not None}
    return found


def _first_of_each_catalog(
    steps: Sequence[ViewStep], silence: Silence
) -> tuple[list[ViewStep], list[ViewStep]]:
    """Return the views to ask first, then those whose Iceberg catalogs the first ones ask, too."""
    first: list[ViewStep] = []
    others: list[ViewStep] = []
    seen: set[str] = set()
    for step in steps:
        catalogs = silence.catalogs_of(step)
        (others if catalogs and catalogs <= seen else first).append(step)
        if silence.tells_of(step):
            seen |= catalogs
    return first, others
