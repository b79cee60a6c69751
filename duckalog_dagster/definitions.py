"""A catalog as definitions: assets, sources, resource, and what keeps them fresh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from dagster import (
    AssetsDefinition,
    AssetSelection,
    AutomationConditionSensorDefinition,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    ScheduleDefinition,
    SensorDefinition,
)

from duckalog_dagster.assets import CatalogOps, OpOptions, execution
from duckalog_dagster.io_manager import build_duckalog_io_manager
from duckalog_dagster.resource import DuckalogResource
from duckalog_dagster.sources import build_duckalog_observation_schedule, source_assets
from duckalog_dagster.specs import (
    ASSETS_PER_OP,
    RESOURCE_KEY,
    ConfigPath,
    catalog_specs,
)
from duckalog_dagster.translator import DuckalogTranslator

if TYPE_CHECKING:
    from typing_extensions import Unpack

Status = Literal["RUNNING", "STOPPED"]


def build_duckalog_definitions(
    config: ConfigPath,
    *,
    translator: DuckalogTranslator | None = None,
    select: str = "*",
    exclude: str = "",
    resource: DuckalogResource | None = None,
    name: str | None = None,
    resource_key: str = RESOURCE_KEY,
    assets_per_op: int = ASSETS_PER_OP,
    row_counts: bool = False,
    observation_cron_schedule: str | None = None,
    default_status: Status = "STOPPED",
    **op_options: Unpack[OpOptions],
) -> Definitions:
    """Return the definitions of a catalog: its assets, their sources, checks and resource.

    They load without environment variables, and without opening a database or the
    network; placeholders are filled when a run builds. The assets are those of
    `build_duckalog_assets`. `resource` is by default that of the config; a second
    catalog needs another `resource_key`. Under the same key with `_views` is what
    reads views for other assets.

    With `observation_cron_schedule` a schedule looks whether sources moved. Where
    `default_status` is RUNNING nobody has to turn it on, nor the sensor that
    makes what has an automation condition.
    """
    catalog = catalog_specs(config, translator).chosen(select, exclude)
    ops = CatalogOps(catalog, name, assets_per_op, resource_key)
    return definitions_of(
        ops,
        ops.assets(execution(row_counts), **op_options),
        resource or DuckalogResource(config=catalog.plan.file),
        observation_cron_schedule,
        default_status,
    )


def definitions_of(
    ops: CatalogOps,
    assets: Sequence[AssetsDefinition],
    resource: DuckalogResource,
    observation_cron_schedule: str | None,
    default_status: Status,
    *,
    schedules: Sequence[ScheduleDefinition] = (),
    sensors: Sequence[SensorDefinition] = (),
) -> Definitions:
    """Return a catalog's assets as definitions, with what observes and makes them by itself."""
    catalog, resource_key = ops.catalog, ops.resource_key
    sources = source_assets(catalog, ops.observe_name, ops.assets_per_op, resource_key)
    own_schedules, own_sensors = [*schedules], [*sensors]
    if observation_cron_schedule and sources:
        own_schedules.append(
            build_duckalog_observation_schedule(
                sources,
                observation_cron_schedule,
                job_name=f"{ops.observe_name}_job",
                default_status=DefaultScheduleStatus(default_status),
            )
        )
    automated = [spec.key for spec in catalog.specs if spec.automation_condition]
    if automated and default_status == "RUNNING":
        own_sensors.append(
            AutomationConditionSensorDefinition(
                f"{ops.build_name}_automation",
                target=AssetSelection.assets(*automated),
                default_status=DefaultSensorStatus.RUNNING,
            )
        )
    return Definitions(
        assets=[*sources, *assets],
        schedules=own_schedules,
        sensors=own_sensors,
        resources={
            resource_key: resource,
            f"{resource_key}_views": build_duckalog_io_manager(resource_key),
        },
    )
