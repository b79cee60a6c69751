"""The making of a plan: what its SQL reads, the steps of its views, and every problem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from duckalog.config import Config, catalog_name
from duckalog.consistency import check
from duckalog.entry import View
from duckalog.environment import PLACEHOLDER, is_unfilled
from duckalog.errors import ConfigError, Origin, Problem, shown
from duckalog.parser import Parser
from duckalog.plan.checks import CheckQueries
from duckalog.plan.paths import place_of_query, with_absolute_paths
from duckalog.plan.steps import ViewStep
from duckalog.plan.views import view_steps
from duckalog.references import Reading, readings_of
from duckalog.sql import joined_name
from duckalog.views.select import SelectView


class PlanDraft(NamedTuple):
    """A plan that is being made.

    `config` has the paths in raw SQL made absolute, `views` are the views' steps in
    build order, and `readings` are what each query reads, with the query's place.
    """

    config: Config
    views: tuple[ViewStep, ...]
    readings: tuple[tuple[Origin, Reading], ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def draft_of(config: Config, database: str | None = None) -> PlanDraft:
    """Return the draft of a config's plan; `database` is built instead of the config's own."""
    stated_name = catalog_name(config.database)
    problems: list[Problem] = []
    if database and database != config.database:
        config = _built_at(config, database)
        problems += check(config)
    raw = [view for view in config.views if isinstance(view, SelectView)]
    checks = CheckQueries(config)
    with Parser() as parser:
        stated = [*((view.query(), view.sql) for view in raw), *checks.texts]
        readings = _readings(stated, parser)
        pragmas_that_write = list(_pragmas_that_write(config, parser))
    places = [*(place_of_query(config, view) for view in raw), *checks.places]
    of_views, of_checks = readings[: len(raw)], readings[len(raw) :]
    naming = tuple(_naming_their_catalog(config, stated_name, raw, of_views))
    is_called_so = catalog_name(config.database).lower() == stated_name.lower()
    problems += _refused(config, raw, of_views)
    problems += () if is_called_so else naming
    problems += checks.read(of_checks)
    located = with_absolute_paths(config, raw, of_views)
    problems += (one for one in located if isinstance(one, Problem))
    problems += pragmas_that_write
    final = {
        id(view): view if isinstance(one, Problem) else one
        for view, one in zip(raw, located, strict=True)
    }
    views: tuple[View, ...] = tuple(final.get(id(view), view) for view in config.views)
    config = msgspec.structs.replace(config, views=views)
    steps: list[ViewStep] = []
    try:
        by_view = {id(view): one for view, one in zip(final.values(), of_views, strict=True)}
        steps = view_steps(config, by_view, checks)
    except ConfigError as error:
        problems += error.problems
    return PlanDraft(
        config,
        tuple(steps),
        tuple(zip(places, readings, strict=True)),
        tuple(map(config.redact.problem, problems)),
        naming if is_called_so else (),
    )


def _built_at(config: Config, database: str) -> Config:
    section = msgspec.structs.replace(config.duckdb, database=database)
    return msgspec.structs.replace(config, duckdb=section)


def _readings(queries: Sequence[tuple[str, str | None]], parser: Parser) -> list[Reading]:
    """Return what each query reads; those that are not filled yet may not be SQL as they are.

    With each query stands the text that the config states it by.
    """
    found = readings_of([query for query, _ in queries], parser)
    for stand_in in (r'"\g<0>"', "x", "9"):  # a name of its own, part of one, and a number
        refused = [
            (index, PLACEHOLDER.sub(stand_in, query))
            for index, (query, stated) in enumerate(queries)
            if found[index].refusal and is_unfilled(stated)
        ]
        again = readings_of([query for _, query in refused], parser)
        for (index, _), reading in zip(refused, again, strict=True):
            found[index] = reading._replace(paths=())  # they are those of another text
    return found


def _pragmas_that_write(config: Config, parser: Parser) -> Iterator[Problem]:
    """Yield the pragmas that would change the catalog, and not only the session."""
    pragmas = config.duckdb.pragmas
    kinds = parser.writes_of([one.sql for one in pragmas])
    for pragma, kind in zip(pragmas, kinds, strict=True):
        if kind:
            message = f"a pragma is for the session, and {kind} changes a database"
            remedy = (
                "Every session runs it, also read-only ones. Write SET, PRAGMA or CREATE SECRET."
            )
            yield Problem(pragma.origin, message, remedy)


def _refused(
    config: Config, views: Sequence[SelectView], readings: Sequence[Reading]
) -> Iterator[Problem]:
    for view, reading in zip(views, readings, strict=True):
        if reading.refusal and not is_unfilled(view.sql):
            place = place_of_query(config, view)
            yield Problem(place, reading.refusal, reading.remedy, view.name)


def _naming_their_catalog(
    config: Config, name: str, views: Sequence[SelectView], readings: Sequence[Reading]
) -> Iterator[Problem]:
    """Yield the views that name the catalog as its file is called in the config.

    DuckDB stores the name, and the file may have another one: a copy's, or that
    of --db-path.
    """
    for view, reading in zip(views, readings, strict=True):
        for relation in sorted(reading.relations):
            if len(relation) > 1 and relation[0].lower() == name.lower():
                message = f'the query names its own catalog, "{shown(name)}"'
                better = shown(joined_name(relation[1:]))
                remedy = f"That breaks where the file is called otherwise. Write: {better}"
                yield Problem(place_of_query(config, view), message, remedy, view.name)
                break
