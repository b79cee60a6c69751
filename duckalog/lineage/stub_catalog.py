"""A catalog in memory with the columns of the real one, and nothing behind them.

DuckDB binds queries in it as it would in the catalog. It can open no file, and
reach no network: what a stub does not stand for, it refuses.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from duckalog.entry import MAIN_SCHEMA
from duckalog.lineage.bound_plan import TableName
from duckalog.lineage.model import Relation
from duckalog.plan import Plan, ViewStep
from duckalog.sql import literal, qualified, search_path
from duckalog.statements import (
    attach_in_memory,
    create_schema,
    create_table,
    create_table_of,
    set_option,
)
from duckalog.values import execute_with

if TYPE_CHECKING:
    import duckdb

Column = tuple[str, str]
"""The name and the DuckDB type of a column."""

_UNKNOWN = (("columns that are not known", "VARCHAR"),)

_SETUP = re.compile(
    r"\s*(?:(?:RE)?SET\b|CREATE\s+(?:OR\s+REPLACE\s+)?TEMP(?:ORARY)?\b)", re.IGNORECASE
)
"""The pragmas that a query may depend on, and that reach nothing outside."""


class Bound(NamedTuple):
    """DuckDB's plan of a query, or why it has none."""

    plan: dict[str, Any] | None
    refusal: str = ""


class StubCatalog:
    """The stubs of a plan's relations; use it as a context manager."""

    def __init__(self, plan: Plan) -> None:
        import duckdb

        self.name = plan.catalog_name
        self.tables: dict[TableName, Relation] = {}
        self.unknown: set[Relation] = set()
        self._schemas: set[tuple[str, str]] = set()
        self._schema = ""
        self._connection = duckdb.connect(
            ":memory:", config={"python_enable_replacements": False, "threads": 1}
        )
        self._execute(attach_in_memory(self.name).text)
        for setting, value in _CLOSED:
            self._execute(set_option(setting, literal(value)).text)
        self._set_up(plan)

    def __enter__(self) -> StubCatalog:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _set_up(self, plan: Plan) -> None:
        import duckdb

        for step in plan.session:
            if step.kind not in ("setting", "pragma"):
                continue
            for one in step.statements:
                if _SETUP.match(one.text):
                    with contextlib.suppress(duckdb.Error):  # the build is who tells of it
                        self._connection.execute(one.text, one.values or None)

    def stand_in(
        self, name: TableName, relation: Relation, columns: Sequence[Column] | None
    ) -> None:
        """Make the stub of a relation; where its columns are not known, one that says so."""
        import duckdb

        self._prepare(name)
        try:
            if columns:
                self._execute(create_table(qualified(*name), columns).text)
        except duckdb.Error:  # a type of an extension's, say
            columns = None
        if not columns:
            self._execute(create_table(qualified(*name), _UNKNOWN).text)
            self.unknown.add(relation)
        self.tables[name] = relation

    def derive(self, step: ViewStep, relation: Relation) -> str:
        """Make the stub of a view from its query; return why DuckDB refuses, if it does."""
        import duckdb

        name = (self.name, step.schema, step.view)
        self._prepare(name)
        self._search_in(step.schema)
        try:
            self._execute(create_table_of(qualified(*name), step.query).text)
        except duckdb.Error as error:
            return _first_line(str(error))
        self.tables[name] = relation
        return ""

    def plans_of(self, steps: Sequence[ViewStep]) -> Iterator[tuple[ViewStep, Bound]]:
        """Yield views, each with DuckDB's plan of its query."""
        by_schema: defaultdict[str, list[ViewStep]] = defaultdict(list)
        for step in steps:
            by_schema[step.schema].append(step)
        for schema, group in by_schema.items():
            self._search_in(schema)
            rows = execute_with(
                self._connection,
                "SELECT json_serialize_plan(query, skip_null := true, skip_empty := true,"
                " optimize := false) FROM (SELECT unnest($1::JSON::VARCHAR[]) AS query)",
                [json.dumps([step.query for step in group])],
            ).fetchall()
            for step, (text,) in zip(group, rows, strict=True):
                yield step, _bound(text)

    def columns(self) -> Mapping[TableName, Sequence[Column]]:
        """Return the columns of every stub, in their order."""
        found: defaultdict[TableName, list[Column]] = defaultdict(list)
        for *name, column, kind in self._connection.execute(
            "SELECT database_name, schema_name, table_name, column_name, data_type"
            " FROM duckdb_columns() WHERE NOT internal ORDER BY table_oid, column_index"
        ).fetchall():
            found[name[0], name[1], name[2]].append((column, kind))
        return found

    def _execute(self, text: str) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(text)

    def _prepare(self, name: TableName) -> None:
        catalog, schema, _ = name
        if (catalog, schema) not in self._schemas:
            self._execute(attach_in_memory(catalog).text)
            self._execute(create_schema(catalog, schema).text)
            self._schemas.add((catalog, schema))

    def _search_in(self, schema: str) -> None:
        """Look names up as a view of a schema does: in that schema, then in `main`."""
        if schema != self._schema:
            self._prepare((self.name, schema, ""))
            path = search_path((self.name, schema), (self.name, MAIN_SCHEMA))
            self._execute(set_option("search_path", path).text)
            self._schema = schema


_CLOSED = (
    ("autoinstall_known_extensions", False),
    ("autoload_known_extensions", False),
    ("enable_external_access", False),
)


def _bound(text: str) -> Bound:
    try:
        tree = msgspec.json.decode(text.encode())
    except RecursionError:
        return Bound(None, "the query is nested too deeply")
    if tree["error"]:
        return Bound(
            None, _first_line(tree.get("error_message") or "DuckDB does not tell its plan")
        )
    plans = tree["plans"]
    return Bound(plans[0]) if len(plans) == 1 else Bound(None, "it is not one statement")


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]
