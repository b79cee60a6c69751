"""All checks of a catalog: its databases, and its views several at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import columns_in, folded
from duckalog.engine.build import build_in_memory
from duckalog.engine.checking import SAMPLE_ROWS, BuiltColumns, CheckContext, not_run, verdicts_of
from duckalog.engine.execution import abandon, close, closing, is_abandoned
from duckalog.engine.opening import LOCK_TIMEOUT_S, open_catalog, to_build
from duckalog.engine.session import PROBE_LIMIT_S, Outcome, prepare_cursor, try_session
from duckalog.engine.verdicts import CheckReport, Verdict
from duckalog.errors import EngineError, Problem
from duckalog.plan import DatabaseStep, Plan, ViewStep

JOBS = 4
TIMEOUT_S = 300.0


class CheckOptions(NamedTuple):
    """How to check.

    `select` are names of views, all without it; `jobs` views are checked at a
    time, each query within `timeout_s`; `sample` failing rows are told.
    """

    select: tuple[str, ...] | None = None
    sample: int = SAMPLE_ROWS
    jobs: int = JOBS
    timeout_s: float = TIMEOUT_S
    lock_timeout_s: float = LOCK_TIMEOUT_S


DEFAULTS = CheckOptions()


def check(plan: Plan, options: CheckOptions = DEFAULTS) -> CheckReport:
    """Return what the checks of a plan find in its catalog; nothing is written.

    Raises ConfigError for views that are not there, EngineError where the
    catalog cannot be opened.
    """
    start = time.perf_counter()
    views = plan.views if options.select is None else plan.views_called(options.select)
    if plan.is_in_memory:
        with closing(build_in_memory(plan)) as connection:
            outcomes = {step.key: Outcome() for step in plan.session}
            return _Catalog(connection, plan, views, options, outcomes).report(start)
    if options.select is not None:
        read_by_checks = {key for view in views for check in view.checks for key in check.needs}
        plan = plan.attaching(plan.needed_by(read_by_checks.union(view.key for view in views)))
    opened = open_catalog(
        plan.database,
        read_only=True,
        lock_timeout_s=options.lock_timeout_s,
        config=plan.file,
    )
    with closing(opened) as connection:
        # Before anything is attached, which DuckDB would ask, and before it binds a view: it
        # then takes the columns that the source has now for those that it stored (1.5, 2.0).
        built = columns_in(connection)
        limit_s = min(options.timeout_s, PROBE_LIMIT_S)
        outcomes = try_session(connection, plan, probe_limit_s=limit_s)
        return _Catalog(connection, plan, views, options, outcomes, built).report(start)


class _Catalog:
    """A catalog that is open, and what became of its session."""

    def __init__(
        self,
        connection: DuckDBPyConnection,
        plan: Plan,
        views: Sequence[ViewStep],
        options: CheckOptions,
        outcomes: Mapping[str, Outcome],
        built: BuiltColumns | None = None,
    ) -> None:
        self.connection = connection
        self.plan = plan
        self.views = views
        self.options = options
        self.outcomes = outcomes
        self.built = built
        self.context = CheckContext(options.sample, options.timeout_s, built)
        self.gone = self._views_without_source()

    def report(self, start: float) -> CheckReport:
        """Return the verdicts on databases and views."""
        problems = tuple(
            problem
            for step in self.plan.session
            if not isinstance(step, DatabaseStep)
            for problem in self.outcomes[step.key].problems
        )
        verdicts = [*map(self._reached, self.plan.databases), *self._on_views()]
        seconds = time.perf_counter() - start
        return CheckReport(self.plan.database, tuple(verdicts), problems, seconds)

    def _reached(self, step: DatabaseStep) -> Verdict:
        """Return the verdict on whether a database can be reached."""
        outcome = self.outcomes[step.key]
        problem = outcome.problems[0] if outcome.problems else None
        if outcome.lacks:
            reasons = "\n".join(str(one) for one in self.outcomes[outcome.lacks].problems)
            message = f"it needs the {outcome.lacks.replace(':', ' ')}, which cannot be had"
            problem = Problem(step.origin, message, name=step.name, cause=reasons)
        return Verdict(
            subject=step.key,
            name="reachable",
            kind="reachable",
            severity="error",
            status="not run" if problem else "passed",
            message=problem.message if problem else "",
            problem=problem,
            seconds=outcome.seconds,
            sql=self.plan.redact(step.statements[-1].script),
            origin=step.origin,
        )

    def _views_without_source(self) -> dict[str, str]:
        """Return the databases that cannot be reached, and views over them with which it is."""
        gone = {
            step.key: step.key
            for step in self.plan.databases
            if not self.outcomes[step.key].is_well
        }
        for view in self.plan.views if gone else ():  # each after those that it reads
            lacking = next((gone[key] for key in view.needs if key in gone), None)
            if lacking:
                gone[view.key] = lacking
        return gone

    def _on_views(self) -> list[Verdict]:
        """Return the verdicts on views, several of which are checked at a time."""
        if not self.views:
            return []
        from concurrent.futures import ThreadPoolExecutor

        cursors: list[DuckDBPyConnection] = []

        def verdicts(view: ViewStep) -> list[Verdict]:
            cursor = self.connection.cursor()
            cursors.append(cursor)
            try:
                return self._on_view(cursor, view)
            finally:
                close(cursor)

        workers = max(1, min(self.options.jobs, len(self.views)))
        pool = ThreadPoolExecutor(workers, thread_name_prefix="duckalog-check")
        try:
            found = list(pool.map(verdicts, self.views))
        except BaseException:  # Ctrl-C: what is being asked cannot be waited for
            for one in (self.connection, *cursors):
                abandon(one)
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        if any(map(is_abandoned, cursors)):
            abandon(self.connection)  # closing it would close, and so wait for, its cursors
        return [verdict for one in found for verdict in one]

    def _on_view(self, cursor: DuckDBPyConnection, view: ViewStep) -> list[Verdict]:
        checks = view.checks
        if self.built is not None and folded((view.schema, view.view)) not in self.built:
            remedy = to_build(self.plan.file)
            return [not_run(check, "the view is not built yet", remedy) for check in checks]
        lacking = {
            check.name: next(
                (self.gone[key] for key in (view.key, *check.needs) if key in self.gone), ""
            )
            for check in checks
        }
        can_run = [check for check in checks if not lacking[check.name]]
        try:
            prepare_cursor(cursor, self.plan)
            found = {one.name: one for one in verdicts_of(cursor, can_run, self.context)}
        except EngineError as error:  # a setting, of which the report tells
            reason = str(error)
            found = {check.name: not_run(check, _NO_SESSION, cause=reason) for check in can_run}
        return [
            found.get(check.name) or not_run(check, _out_of_reach(lacking[check.name]))
            for check in checks
        ]


_NO_SESSION = "the session cannot be made"


def _out_of_reach(key: str) -> str:
    kind, _, name = key.partition(":")
    return f'the {kind} "{name}" cannot be reached'
