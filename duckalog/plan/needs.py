"""Which steps make what a view reads."""

from __future__ import annotations

from collections.abc import Iterable

from duckalog.config import Config, catalog_name
from duckalog.entry import MAIN_SCHEMA, Source, View
from duckalog.plan.steps import view_key
from duckalog.references import Name, Reading
from duckalog.sql import qualified


class Needs:
    """Finds which steps a view, or a check of one, needs."""

    def __init__(self, config: Config) -> None:
        self.own = catalog_name(config.database).lower()
        self.views = {
            (view.schema.lower(), view.name.lower()): view_key(view.schema, view.name)
            for view in config.views
        }
        self.named = {view_key(view.schema, view.name): view for view in config.views}
        self.databases = {
            one.alias.lower(): f"attachment:{one.alias}" for one in config.attachments
        }
        self.databases |= {
            one.name.lower(): f"catalog:{one.name}" for one in config.iceberg_catalogs
        }
        self.kinds = {f"attachment:{one.alias}": one.kind for one in config.attachments}
        self.kinds |= {f"catalog:{one.name}": "iceberg" for one in config.iceberg_catalogs}

    def of(self, view: View, reading: Reading | None) -> tuple[str, ...]:
        """Return the keys of the steps that a view needs, in the order of their names."""
        if reading is None:
            key = self.databases.get((view.reads_from or "").lower())
            return (key,) if key else ()
        return self.of_relations(view.schema, reading.relations)

    def sources(self, view: View, reading: Reading | None) -> tuple[Source, ...]:
        """Return what a view reads outside of the catalog, each source once.

        Without the files that raw SQL states.
        """
        if reading is None:
            database = self.databases.get((view.reads_from or "").lower(), "")
            return tuple(
                dict.fromkeys(Source(view.source_name, one, database) for one in view.locations)
            )
        found: dict[Source, None] = {}
        for name in sorted(reading.relations):
            key = self._step(view.schema, name) or ""
            if key in self.kinds:
                alias = key.partition(":")[2]
                found[Source(self.kinds[key], (alias, *name[1:]), key)] = None
        return tuple(found)

    def of_relations(self, schema: str, relations: Iterable[Name]) -> tuple[str, ...]:
        """Return the keys of the steps of relations that are named in a schema's view."""
        found = (self._step(schema, name) for name in relations)
        return tuple(sorted({key for key in found if key}))

    def looked_for(self, view: View, reading: Reading | None) -> frozenset[tuple[str, str]]:
        """Return the schemas and names, in lower case, where a view may find what it reads."""
        relations = reading.relations if reading else ()
        return frozenset(one for name in relations for one in self._places_of(view.schema, name))

    def relation(self, schema: str, name: Name) -> str:
        """Return the quoted name of a relation that is named in a schema's view."""
        key = self._step(schema, name)
        view = self.named.get(key) if key else None
        return qualified(view.schema, view.name) if view else qualified(*name)

    def _step(self, schema: str, name: Name) -> str | None:
        """Return the step that makes a relation, as DuckDB resolves its name in a view.

        One part: the view's own schema, then `main`. Two parts: a schema, then
        a database. None for what the config does not declare.
        """
        views = (self.views.get(one) for one in self._places_of(schema, name))
        database = self.databases.get(name[0].lower()) if len(name) > 1 else None
        return next(filter(None, views), database)

    def _places_of(self, schema: str, name: Name) -> tuple[tuple[str, str], ...]:
        """Return the schemas and names of views that a name may mean, the first one first."""
        parts = tuple(part.lower() for part in name)
        if len(parts) == 1:
            return (schema.lower(), parts[0]), (MAIN_SCHEMA, parts[0])
        is_own = parts[0] == self.own
        if len(parts) == 2:
            return ((parts[0], parts[1]), *(((MAIN_SCHEMA, parts[1]),) if is_own else ()))
        return ((parts[1], parts[2]),) if is_own else ()
