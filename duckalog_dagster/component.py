"""A catalog as a component: `defs.yaml` in place of Python."""

# No annotations from __future__: Dagster reads them, and not those that are still text.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    Component,
    ComponentLoadContext,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    EnvVar,
    Model,
    Resolvable,
    Resolver,
    Scaffolder,
    ScaffoldRequest,
    ScheduleDefinition,
    SensorDefinition,
    scaffold_with,
)
from dagster.components import scaffold_component
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils.translation import (
    ComponentTranslator,
    TranslationFn,
    TranslationFnResolver,
    create_component_translator_cls,
)

from duckalog_dagster.assets import CatalogOps
from duckalog_dagster.definitions import Status, definitions_of
from duckalog_dagster.resource import LOCK_TIMEOUT_S, DuckalogResource
from duckalog_dagster.selection import build_schedule_from_duckalog_selection
from duckalog_dagster.sensors import build_duckalog_config_sensor
from duckalog_dagster.settings import DuckalogTranslatorSettings
from duckalog_dagster.specs import ASSETS_PER_OP, RESOURCE_KEY, catalog_specs
from duckalog_dagster.translator import (
    DuckalogTranslator,
    DuckalogTranslatorData,
)

_STARTER = """\
version: 1
duckdb:
  database: catalog.duckdb
views:
  - {name: hello, sql: SELECT 'world' AS hello}
"""


class DuckalogComponentScaffolder(Scaffolder[Any]):
    """Writes the component's `defs.yaml`, and a first config beside it."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """Write both files."""
        scaffold_component(request, {"config": "catalog.yaml"})
        (request.target_path / "catalog.yaml").write_text(_STARTER, encoding="utf-8")


class ScheduleModel(Model, Resolvable):
    """When to make which assets; the words of `select` are those of the Python function."""

    cron_schedule: str
    job_name: str | None = None
    select: str = "*"
    exclude: str = ""
    execution_timezone: str | None = None
    tags: dict[str, str] = {}


class CatalogModel(Model, Resolvable):
    """What the resource has besides the config.

    A variable may be `{env: NAME}`: another environment variable's value, which Dagster
    fills in when a run starts, and does not show.
    """

    database: str = ""
    variables: dict[str, str | dict[Literal["env"], str]] = {}
    env_file: str = ""
    prune: bool = True
    adopt: bool = False
    refresh: bool = False
    keep_going: bool = False
    publish: Literal["auto", "in-place", "swap"] = "auto"
    jobs: int = 32
    lock_timeout_s: float = LOCK_TIMEOUT_S

    def resource(self, config: Path) -> DuckalogResource:
        """Return the resource of a config."""
        variables = {
            name: EnvVar(value["env"]) if isinstance(value, dict) else value
            for name, value in self.variables.items()
        }
        return DuckalogResource(
            **{**self.model_dump(), "config": str(config), "variables": variables}
        )


@scaffold_with(DuckalogComponentScaffolder)
@dataclass
class DuckalogComponent(Component, Resolvable):
    """Assets of a duckalog config: every attachment, Iceberg catalog and view is one.

    `dg scaffold defs duckalog_dagster.DuckalogComponent shop` makes one.
    Override `get_asset_spec` or `execute` in a subclass for what YAML cannot say.
    """

    config: Annotated[
        str, Resolver.default(description="The config's path, from the component's folder.")
    ]
    op: OpSpec | None = None
    translation: (
        Annotated[
            TranslationFn[DuckalogTranslatorData],
            TranslationFnResolver(
                template_vars_for_translation_fn=lambda data: {"data": data, "step": data.step}
            ),
        ]
        | None
    ) = None
    catalog: CatalogModel = field(default_factory=CatalogModel)
    include_metadata: list[Literal["column_metadata", "row_count"]] = field(default_factory=list)
    translation_settings: DuckalogTranslatorSettings = field(
        default_factory=DuckalogTranslatorSettings
    )
    select: str = "*"
    exclude: str = ""
    assets_per_op: int = ASSETS_PER_OP
    schedule: ScheduleModel | None = None
    observation_cron_schedule: str | None = None
    rebuild_on_config_change: bool = False
    default_status: Status = "STOPPED"

    @cached_property
    def _base_translator(self) -> DuckalogTranslator:
        return DuckalogTranslator(self.translation_settings)

    def get_asset_spec(self, data: DuckalogTranslatorData) -> AssetSpec:
        """Return the spec of an asset, before `translation`."""
        return self._base_translator.get_asset_spec(data)

    def execute(self, context: AssetExecutionContext, duckalog: DuckalogResource) -> Iterator[Any]:
        """Yield the events of a build."""
        events = duckalog.build(context)
        yield from events.fetch_row_count() if "row_count" in self.include_metadata else events

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """Return the component's assets, with its schedules, sensor and resource."""
        path = (context.path / self.config).resolve()
        translator = _Translator(self)
        catalog = catalog_specs(path, translator).chosen(self.select, self.exclude)
        op = self.op or OpSpec()
        build_name = CatalogOps(catalog, op.name).build_name
        ops = CatalogOps(
            catalog, op.name, self.assets_per_op, resource_key=f"{RESOURCE_KEY}_{build_name}"
        )
        assets = ops.assets(
            self.execute, op_tags=op.tags, pool=op.pool, backfill_policy=op.backfill_policy
        )
        schedules = [self.schedule] if self.schedule else []
        return definitions_of(
            ops,
            assets,
            self.catalog.resource(path),
            self.observation_cron_schedule,
            self.default_status,
            schedules=[self._schedule(one, assets, build_name) for one in schedules],
            sensors=[self._sensor(path, translator)] if self.rebuild_on_config_change else [],
        )

    def _schedule(
        self, model: ScheduleModel, assets: Sequence[AssetsDefinition], job: str
    ) -> ScheduleDefinition:
        return build_schedule_from_duckalog_selection(
            assets,
            model.job_name or f"{job}_job",
            model.cron_schedule,
            model.select,
            model.exclude,
            tags=model.tags,
            execution_timezone=model.execution_timezone,
            default_status=DefaultScheduleStatus(self.default_status),
        )

    def _sensor(self, config: Path, translator: DuckalogTranslator) -> SensorDefinition:
        return build_duckalog_config_sensor(
            config,
            translator=translator,
            select=self.select,
            exclude=self.exclude,
            default_status=DefaultSensorStatus(self.default_status),
        )


class _Translator(
    create_component_translator_cls(DuckalogComponent, DuckalogTranslator),  # type: ignore[misc]
    ComponentTranslator[DuckalogComponent],
):
    """The component's own translator: what a subclass overrides, then `translation`."""

    def __init__(self, component: DuckalogComponent) -> None:
        DuckalogTranslator.__init__(self, component.translation_settings)
        self._component = component

    def get_asset_spec(self, data: DuckalogTranslatorData) -> AssetSpec:
        spec: AssetSpec = super().get_asset_spec(data)
        translate = self.component.translation
        return translate(spec, data) if translate else spec
