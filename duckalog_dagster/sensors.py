"""A sensor that builds the catalog again when its config changes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

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

from duckalog import DatabaseStep, DuckalogError
from duckalog_dagster.specs import CatalogSpecs, ConfigPath, catalog_specs, op_name
from duckalog_dagster.translator import DuckalogTranslator

INTERVAL_S = 60


def build_duckalog_config_sensor(
    config: ConfigPath,
    *,
    translator: DuckalogTranslator | None = None,
    select: str = "*",
    exclude: str = "",
    name: str | None = None,
    minimum_interval_seconds: int = INTERVAL_S,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
) -> SensorDefinition:
    """Return a sensor that builds a catalog whenever what its config says has changed.

    Comments and layout do not count. The first tick only looks. Views that the
    loaded definitions do not have yet are told at each tick, and built once the
    code location is loaded again.
    """
    loaded = catalog_specs(config, translator).chosen(select, exclude)
    known = {spec.key for spec in loaded.specs}

    @sensor(
        name=name or op_name(f"{loaded.name}_config"),
        target=AssetSelection.assets(*known),
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
    )
    def config_sensor(context: SensorEvaluationContext) -> RunRequest | SkipReason:
        try:
            catalog = catalog_specs(config, translator).chosen(select, exclude)
        except (DuckalogError, ValueError) as error:
            return SkipReason(f"the config cannot be built:\n{error}")
        keys = [spec.key for spec in catalog.specs if spec.key in known]
        missing = [spec.key for spec in catalog.specs if spec.key not in known]
        state = state_of(catalog, keys)
        before, _, changes = (context.cursor or "").partition(" ")
        is_changed = before not in ("", state) and bool(keys)
        # Counted, as Dagster makes no second run of a key: a config may go back and forth.
        cursor = f"{state} {int(changes or 0) + is_changed}"
        context.update_cursor(cursor)
        if not is_changed:
            return SkipReason(_reload(missing) if missing else "the config has not changed")
        if missing:
            context.log.warning(_reload(missing))
        return RunRequest(run_key=cursor, asset_selection=keys)

    return config_sensor


def state_of(catalog: CatalogSpecs, keys: Sequence[AssetKey]) -> str:
    """Return a hash of all that a build of some of its assets depends on in a config."""
    settings = (step for step in catalog.plan.session if not isinstance(step, DatabaseStep))
    steps = (*settings, *(catalog.steps[key] for key in keys))
    texts = [one.script for step in steps for one in step.statements]
    return hashlib.sha256("\0".join([catalog.plan.database, *texts]).encode()).hexdigest()


def _reload(missing: Sequence[AssetKey]) -> str:
    names = ", ".join(key.to_user_string() for key in missing)
    return f"reload the code location to have {names}"
