"""A Dagster run over a catalog: built once, as a whole, and told by each op for its own assets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
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
from duckalog_dagster.checks import failed, own_check, run_checks
from duckalog_dagster.lineage import column_lineages
from duckalog_dagster.metadata import database_result, row_count, view_result
from duckalog_dagster.sources import observed_versions
from duckalog_dagster.specs import CatalogSpecs

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
        failure: Failure | None = None
        try:
            self.plan = _plan_of_run(resource, context)
        except DuckalogError as error:
            failure = _failure(error)
        if failure:
            raise failure
        selected = context.selected_asset_keys
        self.all_steps = catalog.steps_in(self.plan)
        self.steps = {key: step for key, step in self.all_steps.items() if key in selected}
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
                results = self._checked(reports)
                yield from self._results(reports, results, session, wanted)
                for several in results.values():
                    yield from several  # those that were selected without their assets
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
        foreign = {key: self.catalog.foreign[key] & chosen for key in self.all_steps}
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
        steps = self.all_steps
        resource = self.resource
        select = [steps[key].key for key in keys if key in steps]
        # A build that failed left nothing that ops of the run share; one in part did.
        attempt = self.context.retry_number if resource.keep_going else 0
        parts = [self.context.run.run_id, self.catalog.name, str(attempt)]
        parts += [*sorted(key.to_user_string() for key in waited_for), *sorted(select)]
        return build(
            self.plan,
            prune=resource.prune,
            adopt=resource.adopt,
            refresh=resource.refresh,
            keep_going=resource.keep_going,
            jobs=resource.jobs,
            lock_timeout_s=resource.lock_timeout_s,
            publish=resource.publish,
            select=select,
            build_id=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        )

    def _checked(self, reports: Sequence[BuildReport]) -> dict[AssetKey, list[AssetCheckResult]]:
        """Return what the checks find of what was built, and of what was not selected."""
        broken = {
            (one.schema, one.name) for report in reports for one in report.views if one.problem
        }
        wanted = [
            one
            for one in self.checks
            if not isinstance(step := self.all_steps[one.asset_key], ViewStep)
            or one.asset_key not in self.steps
            or (step.schema, step.view) not in broken
        ]
        order = {key: place for place, key in enumerate(self.all_steps)}
        wanted.sort(key=lambda one: (order[one.asset_key], one.name))
        return run_checks(self.catalog, self.plan, wanted, self.resource.lock_timeout_s)

    def _results(
        self,
        reports: Sequence[BuildReport],
        results: dict[AssetKey, list[AssetCheckResult]],
        session: _Session,
        wanted: Wanted,
    ) -> Iterator[Event]:
        """Yield the assets, and take their checks out of `results`."""
        views = {(one.schema, one.name): one for report in reports for one in report.views}
        databases = {one.key: one for report in reports for one in report.databases}
        session.without = {one.key for one in databases.values() if one.problem}
        own = [step.key for step in self.steps.values()]
        observed = observed_versions(self.context.instance, self.catalog, self.plan, own)
        lineages = self._lineages()
        invalidated = [name for report in reports for name in report.invalidated]
        for key, step in self.steps.items():
            checks = results.pop(key, [])
            if isinstance(step, DatabaseStep):
                database: DatabaseReport = databases[step.key]
                if database.problem:
                    yield from checks
                    continue
                yield database_result(key, database, self._spec_version(key), checks)
                continue
            view = _with_version(views[step.schema, step.view], observed.get(step.key))
            if view.problem:
                if own_check(step, key) in self.checks:
                    yield failed(own_check(step, key), str(view.problem))
                continue
            counted = self._rows_of(step, session) if wanted.row_counts else None
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

    def _rows_of(self, step: ViewStep, session: _Session) -> int | None:
        try:
            return row_count(session.connection, step)
        except (duckdb.Error, DuckalogError) as error:
            # The view is made. DuckDB's text may have a secret in it: the view's check tells more.
            reason = type(error).__name__
            self.context.log.warning("the rows of %s cannot be counted: %s", step.relation, reason)
            return None

    def _spec_version(self, key: AssetKey) -> str:
        return self.context.assets_def.specs_by_key[key].code_version or ""

    def _failed_checks(self, error: DuckalogError) -> Iterator[AssetCheckResult]:
        for key, step in self.all_steps.items():
            problem = _problem_of(step, error)
            if problem and own_check(step, key) in self.checks:
                yield failed(own_check(step, key), problem)


_plans: dict[tuple[str, int, int], Plan] = {}


def _plan_of_run(resource: DuckalogResource, context: AssetExecutionContext) -> Plan:
    """Return the plan that all ops of a run have which this process executes: it is read once."""
    config = (resource.config, resource.database, resource.env_file, *resource.variables.items())
    key = (context.run.run_id, context.retry_number, hash(config))
    plan = _plans.get(key)
    if plan is None:
        plan = resource.plan()
        _plans.clear()
        _plans[key] = plan
    return plan


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
        self.without: set[str] = set()

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection, with what the op's assets need of the session."""
        run = self.run
        keys = {step.key for step in run.steps.values()}
        needing = {step.key for step in run.plan.readers_of(self.without)}
        chosen = run.plan.chosen(keys - self.without - needing)
        connection = connect(chosen, lock_timeout_s=run.resource.lock_timeout_s)
        self.stack.callback(connection.close)
        return connection


def _problem_of(step: Step, error: DuckalogError) -> str:
    """Return what an error says of a step, or an empty text."""
    return "\n".join(str(one) for one in error.problems if one.origin == step.origin)


def _failure(error: DuckalogError) -> Failure:
    return Failure(description=str(error))


def _failure_of(reports: Sequence[BuildReport]) -> Failure | None:
    problems = [problem for report in reports for problem in report.problems]
    return Failure(description="\n".join(map(str, problems))) if problems else None
