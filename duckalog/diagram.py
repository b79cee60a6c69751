"""A plan and its lineage drawn: which view reads what, as Mermaid, DOT or JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from duckalog.errors import shown, shown_view
from duckalog.lineage import Field, Lineage, Relation, relation_of_view, relations_read
from duckalog.locations import is_remote
from duckalog.plan import Plan, ViewStep

Format = Literal["mermaid", "dot", "json"]

Edge = tuple[Relation, Relation]


class Graph(NamedTuple):
    """Relations, sources first, and which is read by which."""

    plan: Plan
    relations: tuple[Relation, ...]
    edges: tuple[Edge, ...]
    lineage: Lineage | None

    def label(self, relation: Relation) -> str:
        """Return a relation's name as a picture shows it."""
        if relation.kind == "files":
            folder = os.path.dirname(self.plan.file)
            text = ", ".join(_from(folder, uri) for uri in relation.name)
        else:
            text = shown_view(*relation.name) if relation.kind == "view" else relation.label
        return shown(self.plan.redact(text))


def graph_of(plan: Plan, lineage: Lineage | None = None) -> Graph:
    """Return the graph of a plan; `lineage` adds the columns, and what only DuckDB's binder saw."""
    reads = relations_read(plan)
    edges: dict[Edge, None] = {}
    for step in plan.views:
        view = relation_of_view(step)
        found = list(reads[step.key])
        if lineage:
            found += lineage.view(step.view, step.schema).reads
        edges.update(dict.fromkeys((one, view) for one in found))
    views = [relation_of_view(step) for step in plan.views]
    sources = dict.fromkeys(source for source, _ in edges if source.kind != "view")
    return Graph(plan, (*sources, *views), tuple(edges), lineage)


def around(graph: Graph, views: Iterable[ViewStep]) -> Graph:
    """Return what some views come from, and what is made of them."""
    chosen = {relation_of_view(step) for step in views}
    before, after = set(chosen), set(chosen)
    for source, target in reversed(graph.edges):  # edges are in build order
        if target in before:
            before.add(source)
    for source, target in graph.edges:
        if source in after:
            after.add(target)
    kept = before | after
    edges = tuple(edge for edge in graph.edges if kept.issuperset(edge))
    relations = tuple(relation for relation in graph.relations if relation in kept)
    lineage = graph.lineage
    if lineage:
        lineage = Lineage(tuple(view for view in lineage.views if view.relation in kept))
    return graph._replace(relations=relations, edges=edges, lineage=lineage)


def render(graph: Graph, format: Format) -> str:
    """Return a graph as text; a picture with lineage shows the columns."""
    return {"mermaid": _mermaid, "dot": _dot, "json": _json}[format](graph)


def _from(folder: str, uri: str) -> str:
    """Return a path as seen from the config's folder, where it lies below."""
    if is_remote(uri):
        return uri
    relative = os.path.relpath(uri, folder)
    return uri if relative.startswith(os.pardir) else relative


class _Drawing(NamedTuple):
    """A graph whose parts have ids that need no quotes: relations, their fields, and arrows."""

    relations: dict[Relation, str]
    fields: dict[Relation, dict[Field, str]]
    arrows: tuple[tuple[str, str, bool], ...]


def _drawing(graph: Graph) -> _Drawing:
    ids = {relation: f"n{at}" for at, relation in enumerate(graph.relations)}
    fields: dict[Relation, dict[Field, str]] = {relation: {} for relation in ids}
    arrows: list[tuple[str, str, bool]] = []

    def field_id(field: Field) -> str:
        own = fields[field.relation]
        return own.setdefault(field, f"{ids[field.relation]}c{len(own)}")

    unknown = {relation for relation in ids if relation.kind == "view"}
    for view in graph.lineage.views if graph.lineage else ():
        if not view.unknown:
            unknown.discard(view.relation)
        for column in view.columns:
            target = field_id(Field(view.relation, column.name))
            arrows += (
                (field_id(source.field), target, source.kind == "condition")
                for source in column.sources
                if source.field.relation in ids
            )
    arrows += (
        (ids[source], ids[target], False)
        for source, target in graph.edges
        if graph.lineage is None or target in unknown
    )
    return _Drawing(ids, fields, tuple(arrows))


_MERMAID_SHAPES = {"view": ("[", "]"), "table": ("[(", ")]"), "files": ("[/", "/]")}


def _mermaid(graph: Graph) -> str:
    drawing = _drawing(graph)
    lines = ["flowchart LR"]
    for relation, own_id in drawing.relations.items():
        label = _mermaid_text(graph.label(relation))
        if not drawing.fields[relation]:
            start, end = _MERMAID_SHAPES[relation.kind]
            lines.append(f"    {own_id}{start}{label}{end}")
            continue
        lines.append(f"    subgraph {own_id}[{label}]")
        for field, field_id in drawing.fields[relation].items():
            text = _mermaid_text(shown(graph.plan.redact(field.column)))
            lines.append(f"        {field_id}[{text}]")
        lines.append("    end")
    for source, target, decides in drawing.arrows:
        lines.append(f"    {source} {'-.->' if decides else '-->'} {target}")
    return "\n".join(lines) + "\n"


_MERMAID_SPECIAL = re.compile(r"[^\w ./:,-]|(?<![^\W_])_|_(?![^\W_])|(?<!\S)[.-]|[.-](?!\S)")
"""What Mermaid or the Markdown in its labels could read as more than text."""


def _mermaid_text(text: str) -> str:
    escaped = _MERMAID_SPECIAL.sub(lambda match: f"#{ord(match.group())};", text)
    return f'"{escaped}"'


_DOT_SHAPES = {"view": "box", "table": "cylinder", "files": "folder"}


def _dot(graph: Graph) -> str:
    drawing = _drawing(graph)
    lines = ["digraph catalog {", "    rankdir=LR;", "    compound=true;"]
    for relation, own_id in drawing.relations.items():
        label = _dot_text(graph.label(relation))
        if not drawing.fields[relation]:
            lines.append(f"    {own_id} [label={label}, shape={_DOT_SHAPES[relation.kind]}];")
            continue
        lines += (f"    subgraph cluster_{own_id} {{", f"        label={label};")
        for field, field_id in drawing.fields[relation].items():
            text = _dot_text(shown(graph.plan.redact(field.column)))
            lines.append(f"        {field_id} [label={text}, shape=plaintext];")
        lines.append("    }")
    for source, target, decides in drawing.arrows:
        lines.append(f"    {source} -> {target}{' [style=dashed]' if decides else ''};")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _json(graph: Graph) -> str:
    return json.dumps(as_document(graph), ensure_ascii=False, indent=2) + "\n"


def as_document(graph: Graph) -> dict[str, Any]:
    """Return a graph as JSON has it; secrets are not in it."""
    steps = {relation_of_view(step): step for step in graph.plan.views}
    text_of = graph.plan.redact
    ids = {relation: text_of(f"{relation.kind}:{relation.label}") for relation in graph.relations}

    def field(one: Field) -> dict[str, str]:
        return {"relation": ids[one.relation], "column": text_of(one.column)}

    return {
        "relations": [
            {
                "id": own_id,
                "kind": relation.kind,
                "name": [text_of(part) for part in relation.name],
                **(_stated(steps[relation]) if relation in steps else {}),
            }
            for relation, own_id in ids.items()
        ],
        "edges": [{"from": ids[source], "to": ids[target]} for source, target in graph.edges],
        "lineage": list(_lineage(graph, ids, field)),
    }


def _stated(step: ViewStep) -> dict[str, object]:
    return {
        "source": step.source,
        "description": step.description,
        "tags": list(step.tags),
        "file": step.origin.file or None,
        "line": step.origin.line or None,
    }


def _lineage(
    graph: Graph, ids: dict[Relation, str], field: Callable[[Field], dict[str, str]]
) -> Iterator[dict[str, object]]:
    for view in graph.lineage.views if graph.lineage else ():
        yield {
            "view": ids[view.relation],
            "unknown": view.unknown or None,
            "columns": [
                {
                    "name": column.name,
                    "type": column.type,
                    "sources": [
                        {**field(source.field), "kind": source.kind} for source in column.sources
                    ],
                }
                for column in view.columns
            ],
            "influences": [field(one) for one in view.influences],
        }
