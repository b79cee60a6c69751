"""The view steps: what each view needs, and the order they are made in."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from duckalog.config import Config
from duckalog.entry import Source, View
from duckalog.errors import ConfigError, Problem, shown_view
from duckalog.plan.checks import CheckQueries
from duckalog.plan.needs import Needs
from duckalog.plan.paths import names_of_views, stated_files
from duckalog.plan.steps import CheckStep, ViewStep, relation_of
from duckalog.references import Reading
from duckalog.statements import comment_on_column, comment_on_view, create_view


def view_steps(
    config: Config, readings: Mapping[int, Reading], checks: CheckQueries
) -> list[ViewStep]:
    """Return a step for each view, after those it reads; `readings` are by the views' ids.

    Raises ConfigError for views that read each other in a circle.
    """
    needs = Needs(config)
    names = names_of_views(config)
    steps = [
        _view_step(
            view,
            needs.of(view, reading),
            needs.looked_for(view, reading),
            needs.sources(view, reading),
            () if reading is None else stated_files(config, view, reading, names),
            checks.steps_of(view, needs),
        )
        for view, reading in ((one, readings.get(id(one))) for one in config.views)
    ]
    return _in_order(steps)


def _view_step(
    view: View,
    needs: tuple[str, ...],
    looked_for: frozenset[tuple[str, str]],
    sources: tuple[Source, ...],
    files: tuple[str, ...] | None,
    checks: tuple[CheckStep, ...],
) -> ViewStep:
    """Return the step of a view, with what is found out about it."""
    relation = relation_of(view.schema, view.name)
    query = view.query()
    statements = [create_view(relation, query)]
    if view.description is not None:
        statements.append(comment_on_view(relation, view.description))
    for name, column in view.columns.items():
        if column.description is not None:
            statements.append(comment_on_column(relation, name, column.description))
    sources += tuple(Source(_kind_of(file), (file,)) for file in files or ())
    return ViewStep(
        kind="view",
        name=f"{view.schema}.{view.name}",
        statements=tuple(statements),
        needs=needs,
        looked_for=looked_for,
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
        checks=checks,
    )


_KINDS = {"parquet": "parquet", "csv": "csv", "tsv": "csv", "json": "json", "ndjson": "json"}


def _kind_of(file: str) -> str:
    """Return the kind of the files that a path or URL stands for, by its ending."""
    name = file.lower().partition("?")[0].removesuffix(".gz").removesuffix(".zst")
    return _KINDS.get(name.rpartition(".")[2], "file")


def _in_order(steps: Sequence[ViewStep]) -> list[ViewStep]:
    """Return views after those they read, otherwise as the config has them."""
    position = {step.key: index for index, step in enumerate(steps)}
    graph = {step.key: [need for need in step.needs if need in position] for step in steps}
    if not any(graph.values()):
        return list(steps)
    sorter = TopologicalSorter(graph)
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
            members = [by_key[key] for key in circle]
            names = [shown_view(step.schema, step.view) for step in members]
            first = members[0]
            message = f"views read each other in a circle: {' → '.join(names)}"
            if len(names) == 2:
                message = "the view reads itself"
            others = ", ".join(
                f"{name} at {step.origin.location}"
                for name, step in zip(names[1:-1], members[1:-1], strict=True)
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
