"""Step to asset spec: the one method that users override."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from dagster import (
    AssetKey,
    AssetSpec,
    MetadataValue,
)

from duckalog import DatabaseStep, Plan, Source, ViewStep
from duckalog_dagster.automation import Condition, automation_condition
from duckalog_dagster.beta import code_reference
from duckalog_dagster.meta import NOTHING, ViewMeta, view_meta
from duckalog_dagster.settings import DuckalogTranslatorSettings

SQL_METADATA_KEY = "duckalog/sql"
STEP_METADATA_KEY = "duckalog/step"


@dataclass(frozen=True)
class DuckalogTranslatorData:
    """What a translator is told of an asset.

    `step` is a view, a database that the catalog attaches, or a source that a
    view reads; `deps` are the keys of the assets that it needs, as they were
    translated. Placeholders of the config are not filled.
    """

    step: ViewStep | DatabaseStep | Source
    catalog: str
    plan: Plan
    deps: tuple[AssetKey, ...] = ()

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the view's `meta.dagster` says, empty for all that is no view."""
        meta = self.step.meta.get("dagster") if isinstance(self.step, ViewStep) else None
        return meta if isinstance(meta, Mapping) else {}

    @property
    def table_name(self) -> str:
        """The name of the relation as DuckDB has it, empty for databases and files."""
        step = self.step
        if isinstance(step, ViewStep):
            return f"{self.catalog}.{step.schema}.{step.view}"
        if isinstance(step, Source) and step.database:
            return ".".join(step.location)
        return ""


class DuckalogTranslator:
    """Decides what the asset of each view, database and source is.

    Override `get_asset_spec`, and change what the base class returns:

        class Ours(DuckalogTranslator):
            def get_asset_spec(self, data):
                return super().get_asset_spec(data).replace_attributes(group_name="ours")
    """

    def __init__(self, settings: DuckalogTranslatorSettings | None = None) -> None:
        self.settings = settings or DuckalogTranslatorSettings()

    def get_asset_spec(self, data: DuckalogTranslatorData) -> AssetSpec:
        """Return the spec of an asset: its key, what it needs, and how it is shown.

        Raises ValueError, with the place in the config, where Dagster has no such asset.
        """
        try:
            return self._spec(data)
        except Exception as error:  # Dagster's own checks of values have no base that is public
            step = data.step
            if isinstance(step, Source):
                raise
            name = step.view if isinstance(step, ViewStep) else step.name
            raise ValueError(f'{step.origin} "{name}": {error}') from error

    def _spec(self, data: DuckalogTranslatorData) -> AssetSpec:
        step = data.step
        meta = view_meta(step.meta) if isinstance(step, ViewStep) else NOTHING
        return AssetSpec(
            key=meta.key or AssetKey(_key_parts(data)),
            deps=[*data.deps, *meta.keys_of_deps],
            description=_description(step),
            skippable=not isinstance(step, Source),
            metadata=self._metadata(data),
            group_name=meta.group or _word(data.catalog),
            code_version=None if isinstance(step, Source) else code_version(step, data.plan),
            owners=list(_owners(step, meta)),
            tags=dict(_tags(step, meta)),
            kinds=set(_kinds(step)),
            automation_condition=_automation(step, meta, self.settings.automation),
        )

    def _metadata(self, data: DuckalogTranslatorData) -> dict[str, Any]:
        step = data.step
        metadata: dict[str, Any] = {STEP_METADATA_KEY: step.key}
        if data.table_name:
            metadata["dagster/table_name"] = data.table_name
        if isinstance(step, Source):
            metadata["dagster/uri" if not step.database else "duckalog/source"] = ".".join(
                step.location
            )
            return metadata
        if isinstance(step, ViewStep) and self.settings.enable_sql_metadata:
            metadata[SQL_METADATA_KEY] = MetadataValue.md(f"```sql\n{step.query}\n```")
        if self.settings.enable_code_references and step.origin.file:
            file, line, _ = step.origin
            metadata["dagster/code_references"] = code_reference(file, line, os.path.basename(file))
        return metadata


def code_version(step: ViewStep | DatabaseStep, plan: Plan) -> str:
    """Return a hash of a step as its config states it, the same wherever the config lies."""
    text = "\0".join(one.script for one in step.statements)
    for folder in sorted({os.path.dirname(file) for file in plan.files}, key=len, reverse=True):
        text = text.replace(f"{folder}{os.sep}", "")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key_parts(data: DuckalogTranslatorData) -> list[str]:
    step = data.step
    if isinstance(step, ViewStep):
        schema = () if step.schema == "main" else (step.schema,)
        names: Iterable[str] = (*schema, step.view)
    elif isinstance(step, DatabaseStep):
        names = ("attachments", step.name)
    elif step.database:
        names = ("attachments", *step.location)
    else:
        names = ("files", *_file_parts(step.location[0], data.plan))
    return [_key_part(name) for name in (data.catalog, *names)]


def _file_parts(uri: str, plan: Plan) -> list[str]:
    """Return a URI or path as the parts of a key, without the wildcards that end it."""
    uri = _named(uri)
    if "://" in uri:
        scheme, _, rest = uri.partition("://")
        parts = [scheme, *rest.split("/")]
    else:
        folder = os.path.dirname(plan.file)
        path = os.path.relpath(uri, folder) if os.path.isabs(uri) else uri
        parts = [part for part in path.replace(os.sep, "/").split("/") if part != ".."]
    named = [part for part in parts if part and not re.fullmatch(r"\*+(?:\.\w+)?", part)]
    return named or parts


def _named(text: str) -> str:
    """Return a text with the names of variables in place of their placeholders."""
    return re.sub(r"\$\{env:(\w+)[^}]*\}", r"\1", text)


def _key_part(name: str) -> str:
    # Dagster 1.12 refuses dots too.
    part = re.sub(r"[^A-Za-z0-9_-]+", "_", _named(name))
    if part.strip("_-"):
        return part
    # Nothing is left of a name in other letters than Latin ones, which are no less different.
    return f"_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _word(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "duckalog"


def _description(step: DatabaseStep | Source | ViewStep) -> str | None:
    if isinstance(step, ViewStep):
        return step.description
    if isinstance(step, DatabaseStep):
        noun = "Iceberg catalog" if step.kind == "catalog" else f"{step.database_type} database"
        return f'The {noun} "{step.name}", attached by every session.'
    return None


def _owners(step: ViewStep | DatabaseStep | Source, meta: ViewMeta) -> Iterable[str]:
    if not isinstance(step, ViewStep):
        return
    stated = step.meta.get("owner") or () if meta.owners is None else meta.owners
    for owner in [stated] if isinstance(stated, str) else stated:
        is_known = "@" in owner or owner.startswith("team:")
        yield owner if is_known else f"team:{owner}"


def _tags(step: ViewStep | DatabaseStep | Source, meta: ViewMeta) -> Iterable[tuple[str, str]]:
    if isinstance(step, ViewStep):
        for tag in step.tags:
            yield re.sub(r"[^A-Za-z0-9_.-]+", "_", tag)[:63].strip("_.-") or "_", ""
    stated = meta.tags if isinstance(meta.tags, dict) else dict.fromkeys(meta.tags or ())
    for name, value in stated.items():
        yield name, "" if value is None else str(value)


def _kinds(step: ViewStep | DatabaseStep | Source) -> Iterable[str]:
    if isinstance(step, ViewStep):
        yield from ("duckdb", "view")
        kind = "" if step.source == "sql" else step.source
    else:
        kind = step.database_type if isinstance(step, DatabaseStep) else step.kind
        if isinstance(step, Source):
            scheme = step.location[0].partition("://")[0]
            if scheme in ("s3", "gcs", "azure"):
                yield scheme
    if kind:
        yield "deltalake" if kind == "delta" else kind


def _automation(
    step: ViewStep | DatabaseStep | Source, meta: ViewMeta, of_views: Any
) -> Condition | None:
    of_all = of_views if isinstance(step, ViewStep) else None
    stated = of_all if meta.automation is msgspec.UNSET else meta.automation
    return automation_condition(stated) if stated else None
