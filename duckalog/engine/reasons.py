"""Why DuckDB may refuse a view that it took before: what it reads has other columns now."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Memory, folded
from duckalog.changes import drift
from duckalog.engine.calls import columns_of
from duckalog.engine.probe import Answer
from duckalog.errors import Problem, sentences
from duckalog.plan import ViewStep


def with_reasons(
    connection: DuckDBPyConnection,
    refused: Mapping[str, Problem],
    steps: Sequence[ViewStep],
    memory: Memory,
    answers: Mapping[str, Answer],
) -> dict[str, Problem]:
    """Return the problems of refused views, with how the columns changed that they read.

    Views that are not refused are bound for it, where no answer has their columns.
    """
    by_key = {step.key: step for step in steps}
    changes: dict[str, tuple[str, ...]] = {}
    found = {}
    for key, problem in refused.items():
        reasons = [problem.remedy]
        for need in by_key[key].needs if key in by_key else ():
            if need not in by_key or need in refused:
                continue
            if need not in changes:
                changes[need] = _changes_of(connection, by_key[need], memory, answers)
            if changes[need]:
                told = f'"{by_key[need].view}" has other columns than at the last build: '
                reasons.append(told + ", ".join(changes[need]))
        found[key] = problem._replace(remedy=sentences(*reasons))
    return found


def _changes_of(
    connection: DuckDBPyConnection, step: ViewStep, memory: Memory, answers: Mapping[str, Answer]
) -> tuple[str, ...]:
    before = memory.columns.get(folded((step.schema, step.view)), ())
    after = answers[step.key].columns if step.key in answers else ()
    if before and not after:
        with contextlib.suppress(duckdb.Error):
            after = columns_of(connection, step.query)
    return drift(before, after) if after else ()
