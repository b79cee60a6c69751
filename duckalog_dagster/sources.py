"""What views read outside of the catalog, as assets that can be observed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    DagsterInstance,
    DataVersion,
    DefaultScheduleStatus,
    Failure,
    ObserveResult,
    ScheduleDefinition,
    define_asset_job,
)

from duckalog import DuckalogError, Plan, Source, SourceReport, observe
from duckalog_dagster.beta import multi_observable
from duckalog_dagster.specs import (
    ASSETS_PER_OP,
    RESOURCE_KEY,
    CatalogSpecs,
    ConfigPath,
    catalog_specs,
    op_name,
)
from duckalog_dagster.translator import DuckalogTranslator

if TYPE_CHECKING:
    from duckalog_dagster.resource import DuckalogResource


def build_duckalog_source_assets(
    config: ConfigPath,
    *,
    translator: DuckalogTranslator | None = None,
    select: str = "*",
    exclude: str = "",
    name: str | None = None,
    resource_key: str = RESOURCE_KEY,
) -> list[AssetsDefinition]:
    """Return what a catalog's views read as assets that can be observed.

    They are among `build_duckalog_definitions`; beside `duckalog_assets` and
    `build_duckalog_assets` they are made by this, of the same config, translator
    and words. They need a DuckalogResource under `resource_key`.
    """
    catalog = catalog_specs(config, translator).chosen(select, exclude)
    base = op_name(name or f"observe_{catalog.name}")
    return source_assets(catalog, base, ASSETS_PER_OP, resource_key)


def source_assets(
    catalog: CatalogSpecs, base: str, assets_per_op: int, resource_key: str
) -> list[AssetsDefinition]:
    """Return the sources of a catalog as assets that can be observed, in ops from `base` on."""
    look = _observer(catalog, resource_key)
    ops = []
    for number, part in enumerate(catalog.parts(catalog.sources, assets_per_op), 1):
        op = f"{base}_{number}" if number > 1 else base
        ops.append(multi_observable(part, op, resource_key)(look))
    return ops


def _observer(catalog: CatalogSpecs, resource_key: str) -> Any:
    """Return what an op runs that observes sources."""

    def look(context: AssetExecutionContext) -> Iterator[ObserveResult]:
        resource: DuckalogResource = getattr(context.resources, resource_key)
        selected = context.selected_asset_keys
        try:
            plan = resource.plan()
            of_source = catalog.sources_in(plan)
            asked = [source for source, key in of_source.items() if key in selected]
            reports = observe(plan, sources=asked, jobs=resource.jobs)
        except DuckalogError as error:
            failure = Failure(description=str(error))
        else:
            by_key: dict[AssetKey, list[SourceReport]] = {}
            for report in reports:
                by_key.setdefault(of_source[report.source.key], []).append(report)
            for key, several in by_key.items():
                # An observation without a version would be a change of what reads the source.
                if not any(one.problem for one in several):
                    yield _result(key, several)
            problems = [f"{one.source.key}: {one.problem}" for one in reports if one.problem]
            if not problems:
                return
            failure = Failure(description="\n".join(problems))
        raise failure from None

    look.__annotations__["context"] = AssetExecutionContext
    return look


def _result(key: AssetKey, reports: Sequence[SourceReport]) -> ObserveResult:
    versions = [report.version for report in reports]
    metadata: dict[str, Any] = {}
    for name in ("files", "bytes"):
        found = [getattr(one, name) for one in reports if getattr(one, name) is not None]
        if found:
            metadata[f"duckalog/{name}"] = sum(found)
    version = None if None in versions else DataVersion("-".join(map(str, versions)))
    return ObserveResult(asset_key=key, metadata=metadata, data_version=version)


def observed_versions(
    instance: DagsterInstance, catalog: CatalogSpecs, plan: Plan, wanted: Collection[str]
) -> dict[str, list[str]]:
    """Return what was last observed of the sources that only a network knows, by view.

    `wanted` are the keys of the views' steps.

    Those of the views that a view reads are among its own. Local sources are
    left out: a build looks at them itself.
    """
    files = {step.key: step.file for step in plan.databases}
    keys = catalog.sources_in(plan)
    read: dict[str, set[AssetKey]] = {}
    for view in plan.views:
        own = read[view.key] = set[AssetKey]()
        for need in view.needs:
            own |= read.get(need, set())
        for source in view.sources:
            is_local = files.get(source.database) if source.database else not _is_url(source)
            if source.key in keys and not is_local:
                own.add(keys[source.key])
    asked = set().union(*(read.get(view, set()) for view in wanted))
    seen = {key: _last_observed(instance, key) for key in asked}
    return {
        view: sorted(f"{key.to_user_string()} {seen[key]}" for key in read[view])
        for view in wanted
        if read.get(view)
    }


def _is_url(source: Source) -> bool:
    return "://" in source.location[0]


def _last_observed(instance: DagsterInstance, key: AssetKey) -> str:
    records = instance.fetch_observations(key, limit=1).records
    observation = records[0].asset_observation if records else None
    return (observation.data_version if observation else None) or ""


def build_duckalog_observation_schedule(
    duckalog_assets: Sequence[AssetsDefinition],
    cron_schedule: str,
    *,
    job_name: str = "observe_duckalog_sources",
    execution_timezone: str | None = None,
    default_status: DefaultScheduleStatus = DefaultScheduleStatus.STOPPED,
) -> ScheduleDefinition:
    """Return a schedule that observes the sources among some assets.

    So that conditions such as `duckalog_view_condition` make again what reads
    them, when their data moved. The sources are those of
    `build_duckalog_definitions(…).assets` or `build_duckalog_source_assets`;
    raises ValueError where there are none.
    """
    observable = [one for one in duckalog_assets if one.is_observable]
    if not observable:
        raise ValueError("no source is among these assets: add build_duckalog_source_assets(…)")
    job = define_asset_job(job_name, selection=AssetSelection.assets(*observable))
    return ScheduleDefinition(
        job=job,
        cron_schedule=cron_schedule,
        execution_timezone=execution_timezone,
        default_status=default_status,
    )
