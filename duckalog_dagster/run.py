"""A Dagster run over a catalog: built once, as a whole, and told by each op for its own assets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import duckdb
from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    AssetKey,
    Failure,
    MaterializeResult,
    TableColumnLineage,
)

from duckalog import (
    BuildReport,
    DatabaseReport,
    DatabaseStep,
    DuckalogError,
    Plan,
    ViewReport,
    ViewStep,
    build,
    connect,
)
from duckalog_dagster.lineage import column_lineages
from duckalog_dagster.metadata import database_result, row_count, view_result
from duckalog_dagster.sources import observed_versions
from duckalog_dagster.specs import CatalogSpecs, check_key

if TYPE_CHECKING:
    from duckalog_dagster.resource import DuckalogResource

Event = MaterializeResult[None] | AssetCheckResult
Step = ViewStep | DatabaseStep


class Wanted(NamedTuple):
    """What the events are to tell besides what every build does."""

    row_counts: bool = False


class CatalogRun:
    """One op's part of a run over a catalog."""

    def __init__(
        self, resource: DuckalogResource, catalog: CatalogSpecs, context: AssetExecutionContext
    ) -> None:
        self.resource = resource
        self.catalog = catalog
        self.context = context
        self.plan: Plan = resource.plan()
        selected = context.selected_asset_keys
        self.steps = {key: step for key, step in catalog.steps.items() if key in selected}
        self.checks = set(context.selected_asset_check_keys)

    def events(self, wanted: Wanted) -> Iterator[Event]:
        """Yield what was done with each asset, each after those that it needs, and its checks.

        Raises dagster.Failure with every problem, after the events of what went well.
        """
        with ExitStack() as stack:
            session = _Session(self, stack)
            try:
                reports = self._build() if self.steps else []
            except DuckalogError as error:
                yield from self._failed_checks(error)
                failure: Failure | None = _failure(error)
            else:
                yield from self._results(reports, session, wanted)
                yield from self._checks_alone(session)
                failure = _failure_of(reports)
        if failure:
            # Not chained: what caused it is told, without secrets, in the problems.
            raise failure from None

    def _build(self) -> list[BuildReport]:
        """Build what the run selects, unless an op of the run has done so before.

        What needs an asset of the run that is not the catalog's is built by
        itself, once that asset is made.
        """
        chosen = self._run_selection()
        foreign = {key: self.catalog.foreign[key] & chosen for key in self.catalog.steps}
        waits_for = frozenset[AssetKey]().union(*(foreign[key] for key in self.steps))
        batches = []
        if any(not foreign[key] for key in self.steps):
            batches.append((frozenset[AssetKey](), [key for key in chosen if not foreign.get(key)]))
        if waits_for:
            ready = [key for key in chosen if foreign.get(key) and foreign[key] <= waits_for]
            batches.append((waits_for, ready))
        return [self._build_batch(keys, waited_for) for waited_for, keys in batches]

    def _run_selection(self) -> frozenset[AssetKey]:
        """Return the assets of the whole run, whichever op makes them."""
        stated = self.context.run.asset_selection
        # A run of a whole job does not say: its job does.
        selection = stated or self.context.job_def.asset_layer.executable_asset_keys
        return frozenset((*selection, *self.steps))

    def _build_batch(
        self, keys: Sequence[AssetKey], waited_for: frozenset[AssetKey]
    ) -> BuildReport:
        steps = self.catalog.steps
        resource = self.resource
        parts = [self.context.run.run_id, self.catalog.name, str(self.context.retry_number)]
        parts += sorted(key.to_user_string() for key in waited_for)
        return build(
            self.plan,
            prune=resource.prune,
            adopt=resource.adopt,
            refresh=resource.refresh,
            keep_going=resource.keep_going,
            jobs=resource.jobs,
            lock_timeout_s=resource.lock_timeout_s,
            publish=resource.publish,
            select=[steps[key].key for key in keys if key in steps],
            build_id=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        )

    def _results(
        self, reports: Sequence[BuildReport], session: _Session, wanted: Wanted
    ) -> Iterator[Event]:
        views = {(one.schema, one.name): one for report in reports for one in report.views}
        databases = {one.key: one for report in reports for one in report.databases}
        observed = observed_versions(self.context.instance, self.catalog, self.plan)
        lineages = self._lineages()
        invalidated = [name for report in reports for name in report.invalidated]
        for key, step in self.steps.items():
            check = check_key(step, key)
            if isinstance(step, DatabaseStep):
                found: DatabaseReport = databases[step.key]
                checks = [_check(step, key, {})] if check in self.checks else []
                yield database_result(key, found, self._spec_version(key), checks)
                continue
            view = _with_version(views[step.schema, step.view], observed.get(step.key))
            if view.problem:
                if check in self.checks:
                    yield _check(step, key, {"problem": str(view.problem)}, passed=False)
                continue
            checks = [session.check(key, step, view)] if check in self.checks else []
            counted = row_count(session.connection, step) if wanted.row_counts else None
            lineage = lineages.get(step.key)
            yield view_result(key, step, view, invalidated, checks, counted, lineage)

    def _lineages(self) -> dict[str, TableColumnLineage]:
        views = [step for step in self.steps.values() if isinstance(step, ViewStep)]
        if not views:
            return {}
        try:
            return column_lineages(self.catalog, self.plan, views, self.resource.lock_timeout_s)
        except DuckalogError as error:  # the views are made, whatever is not told of them
            self.context.log.warning("the lineage of the columns cannot be told: %s", error)
            return {}

    def _spec_version(self, key: AssetKey) -> str:
        return self.context.assets_def.specs_by_key[key].code_version or ""

    def _checks_alone(self, session: _Session) -> Iterator[AssetCheckResult]:
        """Yield the checks that were selected without their assets."""
        for key, step in self.catalog.steps.items():
            if key not in self.steps and check_key(step, key) in self.checks:
                yield session.check(key, step)

    def _failed_checks(self, error: DuckalogError) -> Iterator[AssetCheckResult]:
        for key, step in self.catalog.steps.items():
            problem = problem_of(step, error)
            if problem and check_key(step, key) in self.checks:
                yield _check(step, key, {"problem": problem}, passed=False)


def _with_version(view: ViewReport, observed: Sequence[str] | None) -> ViewReport:
    """Return a view's report, its version being also that of the sources it is over."""
    if not observed:
        return view
    text = "\n".join((view.data_version, *observed))
    return view._replace(data_version=hashlib.sha256(text.encode()).hexdigest())


class _Session:
    """A connection to the built catalog, opened when it is first asked for."""

    def __init__(self, run: CatalogRun, stack: ExitStack) -> None:
        self.run = run
        self.stack = stack
        self.opened: duckdb.DuckDBPyConnection | DuckalogError | None = None

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection, with what the op's assets need of the session."""
        if self.opened is None:
            self.opened = self._open()
        if isinstance(self.opened, DuckalogError):
            raise self.opened
        return self.opened

    def _open(self) -> duckdb.DuckDBPyConnection | DuckalogError:
        run = self.run
        keys = {*run.steps, *(check.asset_key for check in run.checks)}
        chosen = run.plan.chosen(run.catalog.steps[key].key for key in keys)
        try:
            connection = connect(chosen, lock_timeout_s=run.resource.lock_timeout_s)
        except DuckalogError as error:
            return error
        self.stack.callback(connection.close)
        return connection

    def check(self, key: AssetKey, step: Step, view: ViewReport | None = None) -> AssetCheckResult:
        """Return the result of a step's own check; a view just made has been bound by that."""
        if view and view.seconds:
            return _check(step, key, {})
        try:
            connection = self.connection
        except DuckalogError as error:
            problem = problem_of(step, error) or (str(error) if isinstance(step, ViewStep) else "")
            return _check(step, key, {"problem": problem} if problem else {}, passed=not problem)
        if isinstance(step, DatabaseStep):
            return _check(step, key, {})
        try:
            connection.execute(f"FROM {step.relation} LIMIT 0").fetchall()
        except duckdb.Error as error:
            told = self.run.plan.redact(f"{step.origin}: {error}")
            return _check(step, key, {"problem": told}, passed=False)
        return _check(step, key, {})


def problem_of(step: Step, error: DuckalogError) -> str:
    """Return what an error says of a step, or an empty text."""
    return "\n".join(str(one) for one in error.problems if one.origin == step.origin)


def _check(
    step: Step, key: AssetKey, metadata: dict[str, str], *, passed: bool = True
) -> AssetCheckResult:
    name = check_key(step, key).name
    return AssetCheckResult(passed=passed, asset_key=key, check_name=name, metadata=metadata)


def _failure(error: DuckalogError) -> Failure:
    return Failure(description=str(error))


def _failure_of(reports: Sequence[BuildReport]) -> Failure | None:
    problems = [problem for report in reports for problem in report.problems]
    return Failure(description="\n".join(map(str, problems))) if problems else None
