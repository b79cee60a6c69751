"""The keys by which other assets name those of a catalog."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from dagster import AssetKey, AssetsDefinition

from duckalog import Plan, Source
from duckalog_dagster.selection import names_of
from duckalog_dagster.specs import ConfigPath, catalog_specs
from duckalog_dagster.translator import DuckalogTranslator


def get_asset_key_for_view(
    catalog: ConfigPath | Sequence[AssetsDefinition],
    view: str,
    translator: DuckalogTranslator | None = None,
) -> AssetKey:
    """Return the asset key of a view, by its name (`orders`, `analytics.orders`).

    So that other assets may need it. `catalog` is the config, or the assets that
    were made of it; these know what their translator made of the view. Raises
    ConfigError, or ValueError, where there is no such view.
    """
    if isinstance(catalog, str | os.PathLike):
        found = catalog_specs(catalog, translator)
        steps = found.plan.chosen([view]).views
        keys = [found.keys[step.key] for step in steps]
    else:
        specs = [spec for one in catalog for spec in one.specs if "view" in spec.kinds]
        names = ((spec.key, [name.lower() for name in names_of(spec)]) for spec in specs)
        keys = [key for key, known in names if view.lower() in known]
    if not keys:
        raise ValueError(f'no view is called "{view}": write name, or schema.name')
    return keys[0]


def get_asset_key_for_source(
    config: ConfigPath, source: str, translator: DuckalogTranslator | None = None
) -> AssetKey:
    """Return the asset key of what views read: files (`data/*.parquet`), or a table (`crm.leads`).

    So that an asset may have it that writes them, where the definitions of the
    catalog are made with `exclude="key:…"` of that key. Paths are as in the config,
    from its folder and with its placeholders. Raises ValueError for what no view reads.
    """
    catalog = catalog_specs(config, translator)
    sources = dict.fromkeys(one for view in catalog.plan.views for one in view.sources)
    named = {name: one for one in sources for name in _names(one, catalog.plan)}
    if source not in named:
        known = ", ".join(f'"{next(_names(one, catalog.plan))}"' for one in sources) or "nothing"
        raise ValueError(f'no view reads "{source}"; read are {known}')
    return catalog.keys[named[source].key]


def _names(source: Source, plan: Plan) -> Iterator[str]:
    whole = ".".join(source.location)
    if not source.database and os.path.isabs(whole):
        yield os.path.relpath(whole, os.path.dirname(plan.file)).replace(os.sep, "/")
    yield whole
