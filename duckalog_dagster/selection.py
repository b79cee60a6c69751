"""Choosing among a catalog's assets by what their views are called and tagged, and schedules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    DefaultScheduleStatus,
    RunConfig,
    ScheduleDefinition,
    define_asset_job,
)

from duckalog_dagster.translator import STEP_METADATA_KEY


def build_duckalog_asset_selection(
    duckalog_assets: Sequence[AssetsDefinition], select: str = "*", exclude: str = ""
) -> AssetSelection:
    """Return the selection of a catalog's assets that words choose, without those of `exclude`.

    A word is a view's name (`orders`, `analytics.revenue`, `analytics.*`), an
    attachment (`attachment:crm`), `tag:core`, `kind:parquet` or an asset's key
    (`key:shop/marts/*`); `+` before it adds all that it needs, and after it all
    that needs it, of the same assets.
    """
    chosen = _chosen(duckalog_assets, select)
    return chosen - _chosen(duckalog_assets, exclude) if exclude else chosen


def chosen_keys(specs: Sequence[AssetSpec], words: str) -> set[AssetKey]:
    """Return the keys of the specs that words choose; each spec stands after those it needs."""
    found: set[AssetKey] = set()
    for word, keys in _matching(specs, words):
        needed, needing = set(keys), set(keys)
        if word.startswith("+"):
            for spec in reversed(specs):
                needed |= {dep.asset_key for dep in spec.deps} if spec.key in needed else set()
        if word.endswith("+"):
            for spec in specs:
                if any(dep.asset_key in needing for dep in spec.deps):
                    needing.add(spec.key)
        found |= needed | needing
    return found


def _matching(specs: Sequence[AssetSpec], words: str) -> Iterator[tuple[str, list[AssetKey]]]:
    for word in words.split():
        keys = [spec.key for spec in specs if _matches(spec, word.strip("+"))]
        if not keys:
            raise ValueError(f'no view, attachment, tag, kind or key matches "{word}"')
        yield word, keys


def _chosen(assets: Sequence[AssetsDefinition], words: str) -> AssetSelection:
    specs = [spec for one in assets if one.is_materializable for spec in one.specs]
    own = AssetSelection.assets(*(spec.key for spec in specs))
    found: AssetSelection = AssetSelection.assets()
    for word, keys in _matching(specs, words):
        part: AssetSelection = AssetSelection.assets(*keys)
        found = found | part
        if word.startswith("+"):
            found = found | (part.upstream() & own)
        if word.endswith("+"):
            found = found | (part.downstream() & own)
    return found


def _matches(spec: AssetSpec, word: str) -> bool:
    what, _, name = word.partition(":")
    if what == "tag" and name:
        return any(fnmatchcase(tag, name) for tag in spec.tags)
    if what == "kind" and name:
        return name in spec.kinds
    if what == "key" and name:
        return fnmatchcase(spec.key.to_user_string(), name)
    return any(fnmatchcase(one, word) for one in names_of(spec))


def names_of(spec: AssetSpec) -> Iterator[str]:
    """Yield what an asset is called in its config."""
    step = str(spec.metadata.get(STEP_METADATA_KEY, ""))
    yield step
    kind, _, name = step.partition(":")
    if kind == "view":
        yield name
        yield name.removeprefix("main.")


def build_schedule_from_duckalog_selection(
    duckalog_assets: Sequence[AssetsDefinition],
    job_name: str,
    cron_schedule: str,
    select: str = "*",
    exclude: str = "",
    schedule_name: str | None = None,
    tags: Mapping[str, str] | None = None,
    config: RunConfig | Mapping[str, Any] | None = None,
    execution_timezone: str | None = None,
    default_status: DefaultScheduleStatus = DefaultScheduleStatus.STOPPED,
) -> ScheduleDefinition:
    """Return a schedule that makes the chosen assets of a catalog.

    The words of `select` and `exclude` are those of
    `build_duckalog_asset_selection`.
    """
    return ScheduleDefinition(
        name=schedule_name,
        cron_schedule=cron_schedule,
        job=define_asset_job(
            name=job_name,
            selection=build_duckalog_asset_selection(duckalog_assets, select, exclude),
            config=config,
            tags=tags,
        ),
        execution_timezone=execution_timezone,
        default_status=default_status,
    )
