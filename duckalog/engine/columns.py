"""The columns of what a plan's views read: as the last build found them, or asked for now."""

from __future__ import annotations

import os

from duckalog.bookkeeping import Column, folded, read_memory
from duckalog.engine.execution import closing, execute
from duckalog.engine.opening import LOCK_TIMEOUT_S, open_catalog
from duckalog.engine.reports import BuildReport
from duckalog.engine.scratch import scratch_catalog, stored_columns
from duckalog.engine.trial import bind_all
from duckalog.lineage import KnownColumns, tables_read
from duckalog.plan import Plan
from duckalog.sql import qualified, select_all
from duckalog.statements import describe

Known = dict[tuple[str, ...], tuple[Column, ...]]


def remembered_columns(plan: Plan, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> KnownColumns:
    """Return the columns that stand in the plan's catalog file; none where it is not built.

    Those of a view whose definition has changed since are left out. No source is asked.
    """
    if plan.is_in_memory or not os.path.exists(plan.database):
        return {}
    opened = open_catalog(plan.database, read_only=True, lock_timeout_s=lock_timeout_s)
    with closing(opened) as connection:
        memory = read_memory(connection, plan.database)
    fingerprints = {folded((step.schema, step.view)): step.fingerprint for step in plan.views}
    known: Known = {}
    for name, columns in memory.columns.items():
        built = memory.remembered.get(name)
        if name not in fingerprints or (built and built.fingerprint == fingerprints[name]):
            known[name] = columns
    return known


def reported_columns(report: BuildReport) -> KnownColumns:
    """Return the columns that a build reported."""
    return {folded((view.schema, view.name)): view.columns for view in report.views}


def asked_columns(plan: Plan) -> KnownColumns:
    """Return the columns that the sources answer with now.

    Every source is asked, in a catalog that is thrown away. Raises EngineError
    with all that failed.
    """
    known: Known = {}
    with scratch_catalog(plan) as (connection, memory):
        bind_all(connection, plan, memory)
        for tables in tables_read(plan).values():
            for name, relation in tables:
                key = tuple(part.lower() for part in relation.name)
                if key not in known:
                    execute(connection, describe(select_all(qualified(*name))))
                    known[key] = tuple(Column(row[0], row[1]) for row in connection.fetchall())
        for relation_name, columns in stored_columns(connection, plan).items():
            known[relation_name] = columns
    return known
