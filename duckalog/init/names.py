"""What the names in a stored query mean, and the query with names that mean it elsewhere."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from duckalog.bookkeeping import ViewName, folded
from duckalog.entry import MAIN_SCHEMA
from duckalog.init.catalog_file import StoredCatalog
from duckalog.references import Mention, Name
from duckalog.sql import qualified_plainly

_BUILT_IN = ("information_schema", "pg_catalog", "system", "temp", "memory")


class QueryNeeds(NamedTuple):
    """What a query needs: views, tables and macros of its own file, and other databases."""

    views: frozenset[ViewName] = frozenset()
    tables: frozenset[ViewName] = frozenset()
    databases: frozenset[str] = frozenset()
    macros: frozenset[ViewName] = frozenset()


class Names:
    """The names of a file; its tables are read through `alias`, under which it is attached."""

    def __init__(self, stored: StoredCatalog, alias: str, keywords: Container[str]) -> None:
        self.keywords = keywords
        self.own = stored.name.lower()
        self.alias = alias
        self.views = {view.key: (view.schema, view.name) for view in stored.views}
        objects: dict[str, dict[ViewName, ViewName]] = {"table": {}, "macro": {}}
        for one in stored.objects:
            if one.kind in objects:
                objects[one.kind][folded((one.schema, one.name))] = (one.schema, one.name)
        self.tables, self.macros = objects["table"], objects["macro"]
        self.relations = {**self.tables, **self.views}
        self.schemas = {MAIN_SCHEMA, *(name.lower() for name in stored.schemas)}

    def rewritten(
        self, query: str, schema: str, mentions: list[Mention]
    ) -> tuple[str, QueryNeeds] | None:
        """Return a view's query as another catalog needs it, and what it leans on.

        None where a name that has to change cannot be found in the text.
        """
        views: set[ViewName] = set()
        tables: set[ViewName] = set()
        databases: set[str] = set()
        macros: set[ViewName] = set()
        changes: dict[tuple[int, int], str] = {}
        for mention in mentions:
            renamed: Name = ()
            if mention.kind == "column":
                if self._is_of_itself(mention.name):
                    renamed = mention.name[1:]
            elif isinstance(found := self._found(mention, schema), str):
                databases.add(found)
            elif found and mention.kind == "function":
                macros.add(folded(found))
                if len(mention.name) > 1:
                    renamed = found[1:]
            elif found and folded(found) in self.views:
                views.add(folded(found))
                if self._names_itself(mention.name):
                    renamed = found
            elif found:
                tables.add(folded(found))
                renamed = (self.alias, *found)
            if renamed and not mention.end:
                return None
            if renamed:
                changes[mention.start, mention.end] = qualified_plainly(renamed, self.keywords)
        raw = query.encode()
        for (start, end), replaced in sorted(changes.items(), reverse=True):
            raw = raw[:start] + replaced.encode() + raw[end:]
        needs = QueryNeeds(
            frozenset(views), frozenset(tables), frozenset(databases), frozenset(macros)
        )
        return raw.decode(), needs

    def _is_of_itself(self, name: Name) -> bool:
        """Say whether a column's name begins with the file's, and a relation in it."""
        if len(name) < 4 or name[0].lower() != self.own:
            return False
        relation = folded((name[1], name[2]))
        return relation in self.views or relation in self.tables

    def _names_itself(self, name: Name) -> bool:
        """Say whether a name begins with what the file was called."""
        return len(name) == 3 or (len(name) == 2 and name[0].lower() not in self.schemas)

    def _found(self, mention: Mention, schema: str) -> ViewName | str | None:
        """Return the relation or macro of the file that is meant, another database, or None."""
        name = mention.name
        known = self.macros if mention.kind == "function" else self.relations
        if len(name) == 1:
            own = known.get(folded((schema, name[0])))
            return own or known.get(folded((MAIN_SCHEMA, name[0])))
        first = name[0].lower()
        if len(name) == 2 and first in self.schemas:
            return known.get(folded((name[0], name[1])))
        if first == self.own:
            inner = (MAIN_SCHEMA, name[1]) if len(name) == 2 else (name[1], name[2])
            return known.get(folded(inner))
        if mention.kind == "function" or first in _BUILT_IN:
            return None
        return name[0]
