"""The view steps: what each view needs, and the order they are made in."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from duckalog.config import Config, catalog_name
from duckalog.entry import (
    MAIN_SCHEMA,
    Source,
    View,
)
from duckalog.errors import ConfigError, Problem
from duckalog.plan.paths import stated_files
from duckalog.plan.steps import ViewStep, relation_of
from duckalog.references import Name, Reading
from duckalog.sql import (
    comment_on_column,
    comment_on_view,
    create_view,
)


def view_steps(config: Config, readings: Mapping[int, Reading]) -> list[ViewStep]:
    """Return a step for each view, after those it reads; `readings` are by the views' ids.

    Raises ConfigError for views that read each other in a circle.
    """
    needs = _Needs(config)
    steps = [
        _view_step(config, view, needs.of(view, reading), needs.sources(view, reading), reading)
        for view, reading in ((one, readings.get(id(one))) for one in config.views)
    ]
    return _in_order(steps)


class _Needs:
    """Finds which steps a view needs."""

    def __init__(self, config: Config) -> None:
        self.own = catalog_name(config.database).lower()
        self.views = {
            (view.schema.lower(), view.name.lower()): _view_key(view) for view in config.views
        }
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
        found = (self._step(view.schema, name) for name in reading.relations)
        return tuple(sorted({key for key in found if key}))

    def sources(self, view: View, reading: Reading | None) -> tuple[Source, ...]:
        """Return what a view reads outside of the catalog, each source once.

        Files that raw SQL reads by itself are not known.
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

    def _step(self, schema: str, name: Name) -> str | None:
        """Return the step that makes a relation, as DuckDB resolves its name in a view.

        One part: the view's own schema, then `main`. Two parts: a schema, then
        a database. None for what the config does not declare.
        """
        parts = tuple(part.lower() for part in name)
        if len(parts) == 1:
            own = self.views.get((schema.lower(), parts[0]))
            return own or self.views.get((MAIN_SCHEMA, parts[0]))
        if len(parts) == 2:
            found = self.views.get((parts[0], parts[1])) or self.databases.get(parts[0])
            return found or (
                self.views.get((MAIN_SCHEMA, parts[1])) if parts[0] == self.own else None
            )
        if parts[0] == self.own:
            return self.views.get((parts[1], parts[2]))
        return self.databases.get(parts[0])


def _view_key(view: View) -> str:
    return f"view:{view.schema}.{view.name}"


def _view_step(
    config: Config,
    view: View,
    needs: tuple[str, ...],
    sources: tuple[Source, ...],
    reading: Reading | None,
) -> ViewStep:
    relation = relation_of(view.schema, view.name)
    query = view.query()
    statements = [create_view(relation, query)]
    if view.description is not None:
        statements.append(comment_on_view(relation, view.description))
    for name, column in view.columns.items():
        if column.description is not None:
            statements.append(comment_on_column(relation, name, column.description))
    files = stated_files(config, view, reading) if reading else ()
    return ViewStep(
        kind="view",
        name=f"{view.schema}.{view.name}",
        statements=tuple(statements),
        needs=needs,
        origin=view.origin,
        schema=view.schema,
        view=view.name,
        query=query,
        source=view.source_name,
        scan=view.scan,
        pin=view.pinned,
        sources=sources,
        stated_files=files or (),
        reads_unknown_files=files is None,
        description=view.description,
        columns=view.columns,
        tags=view.tags,
        meta=view.meta,
    )


def _in_order(steps: Sequence[ViewStep]) -> list[ViewStep]:
    """Return views after those they read, otherwise as the config has them."""
    position = {step.key: index for index, step in enumerate(steps)}
    sorter = TopologicalSorter(
        {step.key: [need for need in step.needs if need in position] for step in steps}
    )
    try:
        sorter.prepare()
    except CycleError:
        raise ConfigError(_circles(steps)) from None
    ordered: list[ViewStep] = []
    ready: list[int] = []
    while sorter.is_active():
        for key in sorter.get_ready():
            heapq.heappush(ready, position[key])
        step = steps[heapq.heappop(ready)]
        ordered.append(step)
        sorter.done(step.key)
    return ordered


def _shown(step: ViewStep) -> str:
    return step.view if step.schema == MAIN_SCHEMA else step.name


def _circles(steps: Sequence[ViewStep]) -> list[Problem]:
    """Return a problem for each circle; the views of one that is found are left out of the next."""
    by_key = {step.key: step for step in steps}
    graph = {step.key: [need for need in step.needs if need in by_key] for step in steps}
    problems: list[Problem] = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = list(reversed(error.args[1]))
            names = [_shown(by_key[key]) for key in circle]
            first = by_key[circle[0]]
            message = f"views read each other in a circle: {' → '.join(names)}"
            if len(names) == 2:
                message = "the view reads itself"
            others = ", ".join(
                f"{_shown(by_key[key])} at {by_key[key].origin.location}" for key in circle[1:-1]
            )
            remedy = f"The others: {others}." if others else ""
            problems.append(Problem(first.origin, message, remedy, first.view))
            graph = {
                key: [need for need in needs if need not in circle]
                for key, needs in graph.items()
                if key not in circle
            }
        else:
            return problems
