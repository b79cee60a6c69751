"""Every view that DuckDB refuses, not only the first; nothing is changed by asking."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.engine.execution import execute
from duckalog.errors import Problem
from duckalog.plan import ViewStep
from duckalog.statements import BEGIN, COMMIT, create_schema

logger = logging.getLogger("duckalog.engine")

Make = Callable[[ViewStep], "Problem | None"]
"""Makes a view, and returns why DuckDB refuses it."""


def every_refusal(
    connection: DuckDBPyConnection,
    steps: Sequence[ViewStep],
    known: Mapping[str, Problem],
    make: Make,
) -> dict[str, Problem]:
    """Return each refused view's problem by its key, those that are known included.

    Views that read no other view are tried one by one, the others in
    transactions that are rolled back, without those that failed. A view that
    reads one that failed is not tried.
    """
    problems = dict(known)
    keys = {step.key for step in steps}
    for step in steps:
        if step.key not in problems and not keys.intersection(step.needs):
            problem = _alone(connection, step, make)
            if problem:
                problems[step.key] = problem
    while _add(connection, steps, problems, make):
        pass
    return problems


def _alone(connection: DuckDBPyConnection, step: ViewStep, make: Make) -> Problem | None:
    with rolled_back(connection):
        # In its own schema, where DuckDB looks first for the names that it reads.
        execute(connection, create_schema(step.schema))
        return make(step)


def _add(
    connection: DuckDBPyConnection,
    steps: Sequence[ViewStep],
    problems: dict[str, Problem],
    make: Make,
) -> bool:
    """Add the refusals of one transaction; say whether it was aborted before the last view."""
    failed = set(problems)
    with rolled_back(connection):
        for schema in dict.fromkeys(step.schema for step in steps):
            execute(connection, create_schema(schema))
        for step in steps:
            if step.key in failed or failed.intersection(step.needs):
                failed.add(step.key)
                continue
            problem = make(step)
            if problem:
                problems[step.key] = problem
                failed.add(step.key)
                if _is_aborted(connection):
                    return True
    return False


def _is_aborted(connection: DuckDBPyConnection) -> bool:
    try:
        connection.execute("SELECT 1")
    except duckdb.Error:
        return True
    return False


@contextlib.contextmanager
def rolled_back(connection: DuckDBPyConnection) -> Iterator[None]:
    """Run a block in a transaction of which nothing stays."""
    execute(connection, BEGIN)
    try:
        yield
    finally:
        roll_back(connection)


@contextlib.contextmanager
def all_or_nothing(connection: DuckDBPyConnection) -> Iterator[None]:
    """Run a block in a transaction of which all stays, or nothing if it raises."""
    execute(connection, BEGIN)
    try:
        yield
        # COMMIT of an aborted transaction answers OK and rolls back (DuckDB 1.5.5), but
        # nothing that aborts one gets here: it is raised.
        execute(connection, COMMIT)
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: DuckDBPyConnection) -> None:
    """End a transaction, whether or not it is over already."""
    try:
        connection.rollback()
    except duckdb.Error:
        logger.debug("the transaction was over already")
