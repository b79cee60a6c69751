"""Which columns of its sources each column of a view comes from, by DuckDB's own binder.

Nothing is opened: the queries of a plan are bound over stubs that have the
columns of the sources. Where these are not known, or where DuckDB does not tell
what a query means, the answer is that the lineage is unknown, and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from duckalog.entry import MAIN_SCHEMA
from duckalog.lineage.bound_plan import TableName, trace
from duckalog.lineage.expressions import Untraceable
from duckalog.lineage.model import (
    ColumnLineage,
    Field,
    Kind,
    Lineage,
    Relation,
    Source,
    Value,
    ViewLineage,
)
from duckalog.lineage.stub_catalog import Bound, Column, StubCatalog
from duckalog.plan import Plan, ViewStep
from duckalog.references import Name, Reading, readings_of
from duckalog.sql import qualified, select_all

__all__ = [
    "Column",
    "ColumnLineage",
    "Field",
    "Kind",
    "KnownColumns",
    "Lineage",
    "Relation",
    "Source",
    "ViewLineage",
    "lineage_of",
    "relation_of_view",
    "relations_read",
    "tables_read",
]

KnownColumns = Mapping[tuple[str, ...], Sequence[Column]]
"""Columns by the lower-case names of their relations.

A schema and a name for what stands in the catalog; a database, a schema and a
name for tables elsewhere.
"""


def relation_of_view(step: ViewStep) -> Relation:
    """Return a view of the plan as lineage names it."""
    return Relation("view", (step.schema, step.view))


def tables_read(plan: Plan) -> dict[str, tuple[tuple[Name, Relation], ...]]:
    """Return the tables of attached databases and catalogs that each view reads, by its key.

    Each with its name as the view's SQL has it.
    """
    readings = _readings(plan)
    databases = _Databases(plan)
    return {
        step.key: tuple(databases.tables(readings[step.key])) if step.key in readings else ()
        for step in plan.views
    }


def relations_read(plan: Plan) -> dict[str, tuple[Relation, ...]]:
    """Return what each view reads, by its key, as far as its SQL says so."""
    readings = _readings(plan)
    databases = _Databases(plan)
    views = {step.key: relation_of_view(step) for step in plan.views}
    found: dict[str, tuple[Relation, ...]] = {}
    for step in plan.views:
        read = [views[need] for need in step.needs if need in views]
        if step.scan:
            read.append(Relation("files", step.scan.uris))
        elif step.key in readings:
            read += (relation for _, relation in databases.tables(readings[step.key]))
            read += (Relation("files", (file,)) for file in _files(readings[step.key]))
        found[step.key] = tuple(dict.fromkeys(read))
    return found


def _files(reading: Reading) -> list[str]:
    """Return the paths and URLs that raw SQL states where it reads them."""
    urls = {name[0] for name in reading.relations if len(name) == 1 and "://" in name[0]}
    return sorted({*urls, *(path.text for path in reading.paths)})


def lineage_of(plan: Plan, known: KnownColumns) -> Lineage:
    """Return the lineage of every view of a plan; `known` are the columns of what the views read.

    Views that are raw SQL need none of their own. Nothing is opened.
    """
    with StubCatalog(plan) as stubs:
        derivation = _Derivation(plan, known, stubs)
        for step in plan.views:
            derivation.prepare(step)
        found = dict(derivation.traced())
    return Lineage(tuple(found[step.key] for step in plan.views))


def _readings(plan: Plan) -> dict[str, Reading]:
    steps = [step for step in plan.views if not step.scan]
    readings = readings_of([step.query for step in steps])
    return {step.key: reading for step, reading in zip(steps, readings, strict=True)}


class _Databases:
    """Tells which names of a query are tables of attached databases."""

    def __init__(self, plan: Plan) -> None:
        self._steps = {step.name.lower(): step for step in plan.databases}
        self._schemas = {step.schema.lower() for step in plan.views}
        self._known: dict[tuple[str, ...], Relation] = {}

    def tables(self, reading: Reading) -> Iterator[tuple[Name, Relation]]:
        """Yield the tables that a query reads, each with its name as the query has it."""
        for name in sorted(reading.relations):
            step = self._steps.get(name[0].lower()) if len(name) > 1 else None
            if step is None or (len(name) == 2 and name[0].lower() in self._schemas):
                continue
            schema = name[1] if len(name) > 2 else step.default_schema
            parts = tuple(part for part in (step.name, schema, name[-1]) if part)
            folded = tuple(part.lower() for part in parts)
            yield name, self._known.setdefault(folded, Relation("table", parts))


class _Derivation:
    """Derives the lineage of a plan's views: stubs of all that they read first, then the traces."""

    def __init__(self, plan: Plan, known: KnownColumns, stubs: StubCatalog) -> None:
        self.plan = plan
        self.known = dict(known)
        self.stubs = stubs
        self.readings = _readings(plan)
        self.databases = _Databases(plan)
        self.to_trace: list[ViewStep] = []
        self.lineages: dict[str, ViewLineage] = {}
        self.whole: dict[str, Relation] = {}
        self.views = {step.key: relation_of_view(step) for step in plan.views}
        self.planned = {(step.schema.lower(), step.view.lower()) for step in plan.views}
        self._learn_from_whole_tables()

    def _learn_from_whole_tables(self) -> None:
        """Know the columns of the tables that views show whole."""
        for step in self.plan.views:
            for name, relation in self._tables(step):
                if step.source != "sql":
                    self.whole[step.key] = relation
                columns = self.known.get((step.schema.lower(), step.view.lower()))
                if columns and step.query == select_all(qualified(*name)):
                    folded = tuple(part.lower() for part in relation.name)
                    self.known.setdefault(folded, columns)

    def _tables(self, step: ViewStep) -> Iterator[tuple[Name, Relation]]:
        if step.key in self.readings:
            yield from self.databases.tables(self.readings[step.key])

    def prepare(self, step: ViewStep) -> None:
        """Make the stub of a view, and of the tables that it reads; note what is known already."""
        relation = relation_of_view(step)
        columns = self.known.get((step.schema.lower(), step.view.lower()))
        source = Relation("files", step.scan.uris) if step.scan else self.whole.get(step.key)
        if source:
            self.lineages[step.key] = _as_it_is(relation, source, columns)
        else:
            refusal = self._derive(step, relation)
            if not refusal:
                return
            reads = tuple(self._reads(step))
            self.lineages[step.key] = ViewLineage(relation, reads=reads, unknown=refusal)
        self.stubs.stand_in((self.stubs.name, step.schema, step.view), relation, columns)

    def _derive(self, step: ViewStep, relation: Relation) -> str:
        """Make the stub of raw SQL; return why that cannot be done, if so."""
        for name, table in self._tables(step):
            self._stand_in_for_table(name, table)
        self._stand_in_for_hand_made(step)
        for read in self._reads(step):
            if read in self.stubs.unknown:
                return _not_known(read)
        refusal = self.stubs.derive(step, relation)
        if not refusal:
            self.to_trace.append(step)
        elif _files(self.readings[step.key]):
            return "it reads files by itself: declare them as a view of their own"
        return self.plan.redact(refusal)

    def _reads(self, step: ViewStep) -> Iterator[Relation]:
        yield from (self.views[need] for need in step.needs if need in self.views)
        yield from (relation for _, relation in self._tables(step))

    def _stand_in_for_table(self, name: Name, relation: Relation) -> None:
        catalog = relation.name[0]
        stub: TableName = (catalog, name[1] if len(name) > 2 else MAIN_SCHEMA, name[-1])
        if stub not in self.stubs.tables:
            columns = self.known.get(tuple(part.lower() for part in relation.name))
            self.stubs.stand_in(stub, relation, columns)

    def _stand_in_for_hand_made(self, step: ViewStep) -> None:
        """Make the stubs of what a user made in the catalog, and the view may read."""
        for name in self.readings[step.key].relations:
            schemas = (step.schema, MAIN_SCHEMA) if len(name) == 1 else (name[-2],)
            for schema in schemas:
                key = (schema.lower(), name[-1].lower())
                stub: TableName = (self.stubs.name, *key)
                if key in self.known and key not in self.planned and stub not in self.stubs.tables:
                    self.stubs.stand_in(stub, Relation("table", stub), self.known[key])

    def traced(self) -> Iterator[tuple[str, ViewLineage]]:
        """Yield the lineage of every view, by its key."""
        yield from self.lineages.items()
        columns = self.stubs.columns()
        for step, bound in self.stubs.plans_of(self.to_trace):
            found = columns[self.stubs.name, step.schema, step.view]
            yield step.key, self._traced(step, bound, found)

    def _traced(self, step: ViewStep, bound: Bound, columns: Sequence[Column]) -> ViewLineage:
        """Return the lineage of a view, read off the plan of its query."""
        relation = relation_of_view(step)
        unknown = self.plan.redact(bound.refusal)
        if bound.plan is not None:
            try:
                traced = trace(bound.plan, self.stubs.tables)
            except Untraceable as error:
                unknown = str(error)
            else:
                missing = [one for one in traced.reads if one in self.stubs.unknown]
                if missing:
                    unknown = _not_known(missing[0])
                elif len(traced.columns) != len(columns):
                    unknown = "DuckDB's plan has other columns than the view"
        if unknown:
            return ViewLineage(relation, reads=tuple(self._reads(step)), unknown=unknown)
        return ViewLineage(
            relation,
            tuple(
                ColumnLineage(name, kind, _sources(value))
                for (name, kind), value in zip(columns, traced.columns, strict=True)
            ),
            tuple(sorted(traced.influences)),
            tuple(sorted(traced.reads)),
        )


def _as_it_is(
    relation: Relation, source: Relation, columns: Sequence[Column] | None
) -> ViewLineage:
    """Return the lineage of a view that shows all of its source."""
    if not columns:
        return ViewLineage(relation, reads=(source,), unknown=_not_known(source))
    return ViewLineage(
        relation,
        tuple(
            ColumnLineage(name, kind, (Source(source, name, "identity"),)) for name, kind in columns
        ),
        reads=(source,),
    )


def _sources(value: Value) -> tuple[Source, ...]:
    return tuple(Source(*field, kind) for field, kind in sorted(value.items()))


def _not_known(relation: Relation) -> str:
    return f"the columns of {relation.label} are not known"
