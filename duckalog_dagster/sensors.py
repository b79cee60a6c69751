"""A sensor that builds the catalog again when its config changes."""

from __future__ import annotations

import hashlib

from dagster import (
    AssetKey,
    AssetSelection,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)

from duckalog import DuckalogError
from duckalog_dagster.specs import CatalogSpecs, ConfigPath, catalog_specs
from duckalog_dagster.translator import DuckalogTranslator

INTERVAL_S = 60


def build_duckalog_config_sensor(
    config: ConfigPath,
    *,
    translator: DuckalogTranslator | None = None,
    name: str | None = None,
    minimum_interval_seconds: int = INTERVAL_S,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
) -> SensorDefinition:
    """Return a sensor that builds a catalog whenever what its config says has changed.

    Comments and layout do not count. The first tick only looks. Views that the
    loaded definitions do not have yet are built once the code location is
    loaded again, which the sensor asks for.
    """
    loaded = catalog_specs(config, translator)
    known = {spec.key for spec in loaded.specs}

    @sensor(
        name=name or f"{loaded.name}_config".replace("-", "_").replace(".", "_"),
        target=AssetSelection.assets(*known),
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
    )
    def config_sensor(context: SensorEvaluationContext) -> RunRequest | SkipReason:
        try:
            found = catalog_specs(config, translator)
        except DuckalogError as error:
            return SkipReason(f"the config cannot be built:\n{error}")
        state = state_of(found)
        before = context.cursor
        context.update_cursor(state)
        if before in (None, state):
            return SkipReason("the config has not changed")
        keys = [spec.key for spec in found.specs if spec.key in known]
        missing = [spec.key for spec in found.specs if spec.key not in known]
        if missing:
            context.log.warning("reload the code location to have %s", _shown(missing))
        if not keys:
            return SkipReason("reload the code location: it has none of the config's assets")
        return RunRequest(run_key=f"{state}/{before}", asset_selection=keys)

    return config_sensor


def state_of(found: CatalogSpecs) -> str:
    """Return a hash of all that a catalog's build depends on in its config."""
    steps = (*found.plan.session, *found.plan.views)
    texts = [one.script for step in steps for one in step.statements]
    return hashlib.sha256("\0".join([found.plan.database, *texts]).encode()).hexdigest()


def _shown(keys: list[AssetKey]) -> str:
    return ", ".join(key.to_user_string() for key in keys)
