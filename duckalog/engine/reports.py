"""What a build tells: its views, the databases it attached, and versions of the data."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column, Memory, ViewName, folded
from duckalog.changes import Action, drift
from duckalog.engine.publish import Published
from duckalog.errors import Origin, Problem
from duckalog.plan import DatabaseStep, Plan, view_key
from duckalog.sql import literal

logger = logging.getLogger("duckalog.engine")

_ASKED = {
    "postgres": (
        "postgres_query",
        "SELECT current_setting('server_version'), count(*) FROM pg_catalog.pg_class"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname !~ '^(pg_|information_schema)'",
    ),
    "sqlite": (
        "sqlite_query",
        "SELECT sqlite_version(), count(*) FROM sqlite_master WHERE type IN ('table', 'view')",
    ),
}


class ViewReport(NamedTuple):
    """What a build did with a view.

    `drift` says how its columns differ from those of the last build, where its
    definition did not change. One that was removed or failed has no columns.
    `data_version` is told by builds that have an id: it differs where the
    view's definition, its columns, or what it reads differ.
    """

    schema: str
    name: str
    action: Action
    seconds: float = 0.0
    columns: tuple[Column, ...] = ()
    origin: Origin = Origin()
    drift: tuple[str, ...] = ()
    problem: Problem | None = None
    data_version: str = ""

    @property
    def is_made_again(self) -> bool:
        """Say whether an unchanged view was written anew, for what its source has now."""
        return self.action == "unchanged" and self.seconds > 0


class DatabaseReport(NamedTuple):
    """A database that a build attached, with the seconds until it answered.

    `key` is that of its step. Its server's version and its number of tables
    are told where it was chosen by name and says them in one question.
    """

    key: str
    database_type: str
    seconds: float
    server_version: str = ""
    tables: int | None = None
    origin: Origin = Origin()
    problem: Problem | None = None


class BuildReport(NamedTuple):
    """What a build did: each view in build order, then those that were removed.

    `published` says how the file came to be what it is: `new`, `in-place`,
    `swap`, or `none` where nothing was to be written. `databases` are the
    attachments and catalogs of the session. `invalidated` are views that were
    not chosen and read what was made otherwise: the next build of them makes
    them again.
    """

    database: str
    views: tuple[ViewReport, ...]
    seconds: float
    published: Published
    databases: tuple[DatabaseReport, ...] = ()
    invalidated: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return how many views each action befell, in a few words."""
        actions = dict.fromkeys(view.action for view in self.views)
        told = ", ".join(f"{self.count(action)} {action}" for action in actions) or "no views"
        return f"{self.database}: {told} ({self.seconds:.1f} s)"

    def count(self, action: str) -> int:
        """Return how many views an action befell."""
        return sum(view.action == action for view in self.views)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What failed in a build that was told to keep going."""
        of_databases = [one.problem for one in self.databases]
        return tuple(filter(None, [*of_databases, *(view.problem for view in self.views)]))


def database_reports(
    connection: DuckDBPyConnection,
    plan: Plan,
    seconds: Mapping[str, float],
    asked: Sequence[str],
    problems: Mapping[str, Problem],
) -> tuple[DatabaseReport, ...]:
    """Return a report for each database of a session.

    Those whose keys are in `asked` are asked about themselves, but for those with `problems`.
    """
    found = []
    for step in plan.databases:
        problem = problems.get(step.key)
        is_asked = step.key in asked and not problem
        version, tables = _about(connection, step) if is_asked else ("", None)
        report = DatabaseReport(step.key, step.database_type, seconds[step.key])
        found.append(
            report._replace(
                server_version=version, tables=tables, origin=step.origin, problem=problem
            )
        )
    return tuple(found)


def _about(connection: DuckDBPyConnection, step: DatabaseStep) -> tuple[str, int | None]:
    if step.database_type not in _ASKED:
        return "", None
    function, query = _ASKED[step.database_type]
    with contextlib.suppress(duckdb.Error):  # its role may not see everything, and still read
        question = f"SELECT * FROM {function}({literal(step.name)}, {literal(query)})"
        ((version, tables),) = connection.execute(question).fetchall()
        return str(version), int(tables)
    return "", None


def data_versions(
    plan: Plan,
    memory: Memory,
    made: Mapping[str, str | None],
    columns: Mapping[ViewName, Sequence[Column]],
) -> dict[str, str]:
    """Return a version of what each view of a plan returns, by the steps' keys.

    It is the same as long as the view's definition, its columns, its own
    source and the versions of the views that it reads are. `made` are the
    states of the sources of the views that a build was about; of the others
    the catalog's memory knows. Where nobody knows, each build is a new version.
    """
    now = str(time.time_ns())
    versions: dict[str, str] = {}
    for step in plan.views:
        key = folded((step.schema, step.view))
        remembered = memory.remembered.get(key)
        state = made.get(step.key, remembered.source_state if remembered else None)
        parts = [
            step.fingerprint if step.key in made or not remembered else remembered.fingerprint,
            now if state is None else state,
            *(f"{column.name}\0{column.type}" for column in columns.get(key, ())),
            *(versions[need] for need in step.needs if need in versions),
        ]
        versions[step.key] = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return versions


def key_of(view: ViewReport) -> str:
    """Return the key of a view's step."""
    return view_key(view.schema, view.name)


def with_version(view: ViewReport, versions: Mapping[str, str]) -> ViewReport:
    """Return a view's report with the version of its data, if it is there."""
    is_there = view.action not in ("removed", "failed")
    return view._replace(data_version=versions.get(key_of(view), "")) if is_there else view


def with_columns(
    view: ViewReport,
    before: dict[ViewName, tuple[Column, ...]],
    after: dict[ViewName, tuple[Column, ...]],
) -> ViewReport:
    """Return a view's report with its columns, and how they differ from the last build's."""
    if view.action in ("removed", "failed"):
        return view
    key = folded((view.schema, view.name))
    columns = after.get(key, ())
    found = drift(before.get(key, ()), columns) if view.action == "unchanged" and columns else ()
    for change in found:
        logger.info('the source of "%s.%s" changed: %s', view.schema, view.name, change)
    return view._replace(columns=columns, drift=found, action="replaced" if found else view.action)
