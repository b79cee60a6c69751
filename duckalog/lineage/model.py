"""What lineage says: which fields a column's value comes from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, NamedTuple

import msgspec

from duckalog.entry import MAIN_SCHEMA

Kind = Literal["identity", "transformation", "aggregation", "condition"]
"""How a value comes from a field, in OpenLineage's words.

`identity`: as it is. `transformation`: computed from it. `aggregation`: from
the field of many rows. `condition`: the field only decides (CASE WHEN, FILTER,
a window's PARTITION BY and ORDER BY, IN and EXISTS); OpenLineage calls that
indirect, and the other three direct.
"""


class Relation(NamedTuple):
    """Something with columns.

    A `view` of the plan has a schema and a name; a `table` has a database, a
    schema and a name; `files` have the URIs that a view reads, or the call of a
    table function.
    """

    kind: Literal["view", "table", "files"]
    name: tuple[str, ...]

    @property
    def label(self) -> str:
        """What people call it."""
        return (", " if self.kind == "files" else ".").join(self.name)


class Field(NamedTuple):
    """A column of a relation."""

    relation: Relation
    column: str


Value = dict[Field, Kind]
"""The fields that a value comes from, each in its most direct role."""


_RANKS: Mapping[Kind, int] = {
    "identity": 0,
    "transformation": 1,
    "aggregation": 2,
    "condition": 3,
}


def merged(*values: tuple[Value, Kind]) -> Value:
    """Return the value computed from others, each taken in the role that stands beside it."""
    found: Value = {}
    for value, role in values:
        for field, kind in value.items():
            taken = kind if _RANKS[kind] > _RANKS[role] else role
            known = found.get(field)
            if known is None or _RANKS[taken] < _RANKS[known]:
                found[field] = taken
    return found


class Source(NamedTuple):
    """A field that a value comes from, and how: in its most direct role, if it has several."""

    relation: Relation
    column: str
    kind: Kind

    @property
    def field(self) -> Field:
        """The field alone."""
        return Field(self.relation, self.column)


class ColumnLineage(NamedTuple):
    """A column of a view, its DuckDB type, and every field that its expression reads."""

    name: str
    type: str
    sources: tuple[Source, ...]


class ViewLineage(NamedTuple):
    """Where a view's columns come from: what it reads itself, one step up.

    `influences` decide which rows the view has, or in which order: the fields
    of its joins, filters, groups and sorting. They are in no column's sources
    for that alone. Where lineage cannot be had, `unknown` says why, and there
    are no columns.
    """

    relation: Relation
    columns: tuple[ColumnLineage, ...] = ()
    influences: tuple[Field, ...] = ()
    reads: tuple[Relation, ...] = ()
    unknown: str = ""

    def sources_of(self, column: str) -> tuple[Source, ...]:
        """Return the sources of a column, whatever the case of its name; raises KeyError."""
        for one in self.columns:
            if one.name.lower() == column.lower():
                return one.sources
        raise KeyError(column)


class Lineage(msgspec.Struct, frozen=True, dict=True):
    """The lineage of a catalog: each of its views, in build order."""

    views: tuple[ViewLineage, ...]

    def view(self, name: str, schema: str = MAIN_SCHEMA) -> ViewLineage:
        """Return the lineage of a view, whatever the case of its name; raises KeyError."""
        return self._by_name[schema.lower(), name.lower()]

    def origins(self, view: str, column: str, schema: str = MAIN_SCHEMA) -> tuple[Source, ...]:
        """Return where a view's column comes from in the end: fields of tables and files.

        A view whose own lineage is unknown is such an end, too. Raises KeyError.
        """
        value = self._origins[self.view(view, schema).relation][column.lower()]
        return tuple(Source(*field, kind) for field, kind in sorted(value.items()))

    @cached_property
    def _by_name(self) -> dict[tuple[str, ...], ViewLineage]:
        return {tuple(part.lower() for part in one.relation.name): one for one in self.views}

    @cached_property
    def _origins(self) -> dict[Relation, dict[str, Value]]:
        found: dict[Relation, dict[str, Value]] = {}
        for view in self.views:
            found[view.relation] = {
                column.name.lower(): merged(
                    *(
                        (
                            found.get(source.relation, {}).get(
                                source.column.lower(), {source.field: "identity"}
                            ),
                            source.kind,
                        )
                        for source in column.sources
                    )
                )
                for column in view.columns
            }
        return found
