"""The catalog half: one transaction that makes every view, or leaves all as it was."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column, Memory, ViewName, folded, forget, prepare, remember
from duckalog.engine.execution import UNCHANGED, execute, refused
from duckalog.errors import EngineError, Origin, Problem
from duckalog.plan import Plan, ViewStep
from duckalog.sql import create_schema, drop_view, qualified, reset_option, statement

logger = logging.getLogger("duckalog.engine")

Action = Literal["created", "replaced", "unchanged", "removed"]


class ViewReport(NamedTuple):
    """What a build did with a view; one that was removed has no columns."""

    schema: str
    name: str
    action: Action
    seconds: float = 0.0
    columns: tuple[Column, ...] = ()
    origin: Origin = Origin()


def apply_catalog(
    connection: DuckDBPyConnection,
    plan: Plan,
    memory: Memory,
    *,
    version: str,
    prune: bool = True,
    adopt: bool = False,
) -> list[ViewReport]:
    """Return what was done with each view, after making the catalog as the plan has it.

    The session half is applied before. Views that duckalog made, that nobody
    changed since, and that the plan no longer has are dropped if `prune`; other
    views are never touched, unless `adopt` lets the plan take over their names.
    Raises EngineError with every view that failed, nothing changed.
    """
    problems = list(_conflicts(plan, memory, adopt=adopt))
    if problems:
        raise EngineError(problems)
    removed = _stale(plan, memory) if prune else []
    # Whatever a pragma did: a view must bind as it does for those who open the file.
    execute(connection, reset_option("search_path"))
    seconds = _transaction(connection, plan, memory, removed, version)
    reports = [
        ViewReport(
            step.schema,
            step.view,
            _action(step, memory),
            seconds[step.key],
            origin=step.origin,
        )
        for step in plan.views
    ]
    _warn_of_changes(plan, memory)
    return [*reports, *(ViewReport(schema, name, "removed") for schema, name in removed)]


def _transaction(
    connection: DuckDBPyConnection,
    plan: Plan,
    memory: Memory,
    removed: Sequence[ViewName],
    version: str,
) -> dict[str, float]:
    """Return the seconds that each view took; all of them are made, or none."""
    seconds: dict[str, float] = {}
    first: Problem | None = None
    refusal: EngineError | None = None
    try:
        with _all_or_nothing(connection):
            prepare(connection)
            for one in plan.schema_statements():
                execute(connection, one)
            for schema, name in removed:
                execute(connection, drop_view(qualified(schema, name)))
            for step in plan.views:
                start = time.perf_counter()
                first = _refusal_of(connection, step, plan)
                if first:
                    raise _Refused
                seconds[step.key] = time.perf_counter() - start
            gone = [one.name for key, one in memory.remembered.items() if key not in memory.views]
            forget(connection, [*removed, *gone])
            remember(connection, plan.views, version)
        return seconds
    except _Refused:
        pass
    except duckdb.Error as error:
        # Not a view's: the disk is full, say, or the file is broken.
        message = "DuckDB cannot write the catalog"
        remedy = f"{plan.redact(str(error)).strip()}\n{UNCHANGED}"
        refusal = EngineError(Problem(Origin(plan.database), message, remedy))
    if first:
        refusal = EngineError(_every_refusal(connection, plan, first))
    assert refusal is not None
    raise refusal


class _Refused(Exception):
    """Ends the transaction after a view was refused."""


@contextlib.contextmanager
def _all_or_nothing(connection: DuckDBPyConnection) -> Iterator[None]:
    execute(connection, statement("BEGIN TRANSACTION"))
    try:
        yield
        # COMMIT of an aborted transaction answers OK and rolls back (DuckDB 1.5.5), but
        # nothing that aborts one gets here: it is raised.
        execute(connection, statement("COMMIT"))
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: DuckDBPyConnection) -> None:
    try:
        connection.rollback()
    except duckdb.Error:
        logger.debug("the transaction was over already")


def _refusal_of(connection: DuckDBPyConnection, step: ViewStep, plan: Plan) -> Problem | None:
    """Return why DuckDB refuses a view, after trying to make it."""
    try:
        for one in step.statements:
            execute(connection, one)
    except duckdb.Error as error:
        return refused(step, error, plan.redact)
    return None


def _every_refusal(connection: DuckDBPyConnection, plan: Plan, first: Problem) -> Iterator[Problem]:
    """Yield every view's problem, in build order; nothing is changed.

    Views that read no other view are tried one by one; the others in
    transactions that are rolled back, without those that failed. A view that
    reads one that failed is not tried.
    """
    problems = {first.origin: first}
    view_keys = {step.key for step in plan.views}
    for step in plan.views:
        if step.origin not in problems and not view_keys.intersection(step.needs):
            problem = _refusal_alone(connection, step, plan)
            if problem:
                problems[step.origin] = problem
    while _add_refusals(connection, plan, problems):
        pass
    for step in plan.views:
        if step.origin in problems:
            problem = problems[step.origin]
            yield problem._replace(remedy=f"{problem.remedy}\n{UNCHANGED}")


def _refusal_alone(connection: DuckDBPyConnection, step: ViewStep, plan: Plan) -> Problem | None:
    """Return why DuckDB refuses a view that reads no other view; nothing is changed."""
    execute(connection, statement("BEGIN TRANSACTION"))
    try:
        # In its own schema, where DuckDB looks first for the names that it reads.
        execute(connection, create_schema(step.schema))
        return _refusal_of(connection, step, plan)
    finally:
        _roll_back(connection)


def _add_refusals(
    connection: DuckDBPyConnection, plan: Plan, problems: dict[Origin, Problem]
) -> bool:
    """Add the refusals of one transaction; say whether it was aborted before the last view."""
    failed = {step.key for step in plan.views if step.origin in problems}
    execute(connection, statement("BEGIN TRANSACTION"))
    try:
        for one in plan.schema_statements():
            execute(connection, one)
        for step in plan.views:
            if step.key in failed or failed.intersection(step.needs):
                failed.add(step.key)
                continue
            problem = _refusal_of(connection, step, plan)
            if problem:
                problems[step.origin] = problem
                failed.add(step.key)
                if _is_aborted(connection):
                    return True
        return False
    finally:
        _roll_back(connection)


def _is_aborted(connection: DuckDBPyConnection) -> bool:
    try:
        connection.execute("SELECT 1")
    except duckdb.Error:
        return True
    return False


def _conflicts(plan: Plan, memory: Memory, *, adopt: bool) -> Iterator[Problem]:
    """Yield where a view of the plan would take the place of what a user made."""
    for step in plan.views:
        key = folded((step.schema, step.view))
        if key in memory.tables:
            message = "the catalog has a table of this name, which duckalog did not make"
            remedy = f"Rename the view, or the table.\n{UNCHANGED}"
            yield Problem(step.origin, message, remedy, step.view)
        elif key in memory.views and key not in memory.remembered and not adopt:
            message = "the catalog has a view of this name, which duckalog did not make"
            remedy = f"Rename one of them, or let the config take it over: --adopt\n{UNCHANGED}"
            yield Problem(step.origin, message, remedy, step.view)


def _stale(plan: Plan, memory: Memory) -> list[ViewName]:
    """Return the views that duckalog made and the plan no longer has, if nobody changed them."""
    planned = {folded((step.schema, step.view)) for step in plan.views}
    stale: list[ViewName] = []
    for key, remembered in memory.remembered.items():
        if key in planned or key not in memory.views:
            continue
        if memory.is_own(remembered.name):
            stale.append(remembered.name)
        else:
            name = ".".join(remembered.name)
            logger.warning('the view "%s" left the config but was changed by hand: kept', name)
    return stale


def _action(step: ViewStep, memory: Memory) -> Action:
    key = folded((step.schema, step.view))
    if key not in memory.views:
        return "created"
    remembered = memory.remembered.get(key)
    is_same = remembered is not None and remembered.fingerprint == step.fingerprint
    return "unchanged" if is_same and memory.is_own(key) else "replaced"


def _warn_of_changes(plan: Plan, memory: Memory) -> None:
    for step in plan.views:
        key = folded((step.schema, step.view))
        if key in memory.views and key in memory.remembered and not memory.is_own(key):
            logger.warning(
                'the view "%s" was changed by hand: it is as the config again', step.name
            )
