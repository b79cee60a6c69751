"""Dagster assets for duckalog's catalogs: every attachment, Iceberg catalog and view is one."""

from __future__ import annotations

from duckalog_dagster.assets import build_duckalog_assets, duckalog_assets
from duckalog_dagster.automation import duckalog_view_condition
from duckalog_dagster.component import DuckalogComponent
from duckalog_dagster.definitions import build_duckalog_definitions
from duckalog_dagster.events import DuckalogEventIterator
from duckalog_dagster.io_manager import build_duckalog_io_manager
from duckalog_dagster.keys import get_asset_key_for_source, get_asset_key_for_view
from duckalog_dagster.resource import DuckalogResource
from duckalog_dagster.selection import (
    build_duckalog_asset_selection,
    build_schedule_from_duckalog_selection,
)
from duckalog_dagster.sensors import build_duckalog_config_sensor
from duckalog_dagster.settings import DuckalogTranslatorSettings
from duckalog_dagster.sources import (
    build_duckalog_observation_schedule,
    build_duckalog_source_assets,
)
from duckalog_dagster.specs import (
    build_duckalog_asset_specs,
    build_duckalog_check_specs,
)
from duckalog_dagster.translator import (
    DuckalogTranslator,
    DuckalogTranslatorData,
)

__all__ = [
    "DuckalogComponent",
    "DuckalogEventIterator",
    "DuckalogResource",
    "DuckalogTranslator",
    "DuckalogTranslatorData",
    "DuckalogTranslatorSettings",
    "build_duckalog_asset_selection",
    "build_duckalog_asset_specs",
    "build_duckalog_assets",
    "build_duckalog_check_specs",
    "build_duckalog_config_sensor",
    "build_duckalog_definitions",
    "build_duckalog_io_manager",
    "build_duckalog_observation_schedule",
    "build_duckalog_source_assets",
    "build_schedule_from_duckalog_selection",
    "duckalog_assets",
    "duckalog_view_condition",
    "get_asset_key_for_source",
    "get_asset_key_for_view",
]
