"""Where each column of a view comes from, in the words of Dagster's catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dagster import AssetKey, TableColumnDep, TableColumnLineage

from duckalog import Lineage, Plan, ViewStep, column_lineage
from duckalog_dagster.specs import CatalogSpecs


def column_lineages(
    catalog: CatalogSpecs, plan: Plan, steps: Iterable[ViewStep], lock_timeout_s: float
) -> dict[str, TableColumnLineage]:
    """Return the lineage of views that were built, by their steps' keys, where it is known."""
    chosen = plan.chosen(step.key for step in steps)
    lineage = column_lineage(chosen, lock_timeout_s=lock_timeout_s)
    sources = catalog.sources_in(plan)
    views = {
        (plan.catalog_name.lower(), step.schema.lower(), step.view.lower()): key
        for key, step in catalog.steps_in(plan).items()
        if isinstance(step, ViewStep)
    }
    return {
        step.key: told
        for step in chosen.views
        if (told := _of_view(lineage, step, views | _sources_of(step, sources), plan))
    }


Keys = Mapping[tuple[str, ...], AssetKey]


def _sources_of(step: ViewStep, sources: Mapping[str, AssetKey]) -> dict[tuple[str, ...], AssetKey]:
    """Return the assets of a view's sources by the names that lineage may have for them."""
    found: dict[tuple[str, ...], AssetKey] = {}
    for source in step.sources:
        key = sources.get(source.key)
        if key is not None:
            location = tuple(part.lower() for part in source.location)
            # A table whose schema goes without saying is found by its ends.
            found[location if len(location) == 1 else (location[0], location[-1])] = key
            found[location] = key
    return found


def _of_view(lineage: Lineage, step: ViewStep, keys: Keys, plan: Plan) -> TableColumnLineage | None:
    view = lineage.view(step.view, step.schema)
    if view.unknown:
        return None
    deps = {}
    for column in view.columns:
        found: dict[tuple[AssetKey, str], None] = {}
        for source in column.sources:
            names = tuple(part.lower() for part in source.relation.name)
            for key in _keys_of(source.relation.kind, names, keys, plan):
                found[key, source.column] = None
        deps[column.name] = [TableColumnDep(key, name) for key, name in found]
    return TableColumnLineage(deps)


def _keys_of(kind: str, names: tuple[str, ...], keys: Keys, plan: Plan) -> Iterator[AssetKey]:
    if kind == "files":
        yield from (keys[name,] for name in names if (name,) in keys)
        return
    full = (plan.catalog_name.lower(), *names) if kind == "view" else names
    found = keys.get(full) or keys.get((full[0], full[-1]))
    if found:
        yield found
