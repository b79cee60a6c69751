"""Config to Plan: what to do, in which order, and where each step is stated.

A plan has two halves, because DuckDB keeps only one of them in the file. The
session half (extensions, settings, secrets, attachments) is gone when a
connection closes, and every connection replays it. The catalog half (schemas,
views, comments) is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import msgspec

from duckalog.config import MEMORY, Config, catalog_name
from duckalog.consistency import check
from duckalog.entry import MAIN_SCHEMA, View
from duckalog.environment import PLACEHOLDER, is_unfilled
from duckalog.errors import ConfigError, KeyPath, Origin, Problem, nearest, sentences, shown
from duckalog.parser import Parser
from duckalog.plan.checks import CheckQueries
from duckalog.plan.paths import with_absolute_paths
from duckalog.plan.session import session_steps
from duckalog.plan.steps import CheckStep, DatabaseStep, ExtensionStep, Step, ViewStep
from duckalog.plan.views import view_steps
from duckalog.redaction import Redactor
from duckalog.references import Reading, readings_of
from duckalog.sql import Statement, joined_name
from duckalog.statements import create_schema
from duckalog.views.select import SelectView

__all__ = [
    "CheckStep",
    "DatabaseStep",
    "ExtensionStep",
    "Plan",
    "Step",
    "ViewStep",
    "plan",
    "problems_of",
]


class Plan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The steps of a catalog in the order they run; consumers never look back to the config."""

    file: str
    files: tuple[str, ...]
    database: str
    session: tuple[Step, ...]
    views: tuple[ViewStep, ...]
    redact: Redactor
    extension_directory: str | None = None
    warnings: tuple[Problem, ...] = ()
    """What is right as it stands, and breaks when something else changes."""

    @property
    def is_in_memory(self) -> bool:
        """Say whether the catalog lives only as long as its connection."""
        return self.database == MEMORY

    @property
    def catalog_name(self) -> str:
        """What DuckDB calls the catalog."""
        return catalog_name(self.database)

    @cached_property
    def schemas(self) -> tuple[str, ...]:
        """The schemas of the views, without `main`, in the order they are first needed."""
        found = dict.fromkeys(view.schema for view in self.views)
        return tuple(name for name in found if name != MAIN_SCHEMA)

    def chosen(self, names: Iterable[str], *, with_needs: bool = False) -> Plan:
        """Return the plan of some views and databases, and of the databases that they need.

        `with_needs` adds the views that they read, through all others. A name is a
        view's (`orders`, `analytics.orders`), or the key of a step (`attachment:crm`).
        Raises ConfigError for one that the plan does not have.
        """
        wanted = self._keys_of(names)
        needs = self._needed_by(wanted)
        kept = needs if with_needs else wanted
        views = tuple(step for step in self.views if step.key in kept)
        session = tuple(
            step for step in self.session if not isinstance(step, DatabaseStep) or step.key in needs
        )
        return msgspec.structs.replace(self, views=views, session=session)

    def readers_of(self, keys: Iterable[str]) -> tuple[ViewStep, ...]:
        """Return the views that read any of the steps `keys`, directly or not, without these."""
        keys = set(keys)
        reached = set(keys)
        found = []
        for step in self.views:
            if reached.intersection(step.needs):
                reached.add(step.key)
                if step.key not in keys:
                    found.append(step)
        return tuple(found)

    def _needed_by(self, keys: set[str]) -> set[str]:
        needed = set(keys)
        for step in reversed(self.views):
            if step.key in needed:
                needed.update(step.needs)
        return needed

    def _keys_of(self, names: Iterable[str]) -> set[str]:
        known: dict[str, str] = {}
        for view in self.views:
            names_of_it = (view.name, view.view) if view.schema == MAIN_SCHEMA else (view.name,)
            known |= dict.fromkeys((one.lower() for one in (view.key, *names_of_it)), view.key)
        databases = (step for step in self.session if isinstance(step, DatabaseStep))
        known |= {step.key.lower(): step.key for step in databases}
        names = list(names)
        problems = [
            Problem(
                Origin(self.file),
                f'no view is called "{shown(name)}"',
                sentences(nearest(name, known)),
            )
            for name in names
            if name.lower() not in known
        ]
        if problems:
            raise ConfigError(problems)
        return {known[name.lower()] for name in names}

    def place_of(self, problem: Problem) -> tuple[int, int]:
        """Return where a problem stands among others: the number of its file, and the line."""
        file = problem.origin.file
        number = self.files.index(file) if file in self.files else len(self.files)
        return number, problem.origin.line

    def schema_statements(self) -> tuple[Statement, ...]:
        """Return the CREATE SCHEMA statements."""
        return tuple(create_schema(name) for name in self.schemas)


def plan(config: Config, database: str | None = None) -> Plan:
    """Return the plan of a config; `database` is built instead of the config's own.

    Raises ConfigError for SQL that cannot be a view, and for views that read
    each other in a circle; all of them at once.
    """
    draft = _Draft(config, database)
    if draft.problems:
        raise ConfigError(draft.problems)
    config = draft.config
    return Plan(
        file=config.origin.file,
        files=config.files,
        database=config.database,
        session=tuple(session_steps(config, draft.readings)),
        views=tuple(draft.steps),
        redact=config.redact,
        extension_directory=config.duckdb.extension_directory,
        warnings=tuple(draft.warnings),
    )


def problems_of(config: Config, problems: Sequence[Problem]) -> list[Problem]:
    """Return what is wrong with the SQL of a config of which `problems` are known.

    An entry that has one of these is not asked a second time.
    """
    told = {_entry_of(problem.origin) for problem in problems}
    return [one for one in _Draft(config).problems if _entry_of(one.origin) not in told]


def _entry_of(origin: Origin) -> tuple[str, KeyPath]:
    return origin.file, origin.path[:2]


class _Draft:
    """A plan's making: the views' steps as far as they can be made, and every problem."""

    def __init__(self, config: Config, database: str | None = None) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        stated_name = catalog_name(config.database)
        if database and database != config.database:
            section = msgspec.structs.replace(config.duckdb, database=database)
            config = msgspec.structs.replace(config, duckdb=section)
            self.problems += check(config)
        queries = [view for view in config.views if isinstance(view, SelectView)]
        checks = CheckQueries(config)
        with Parser() as parser:
            stated = [*((view.query(), view.sql) for view in queries), *checks.texts]
            readings = _readings(stated, parser)
            pragmas_that_write = list(_pragmas_that_write(config, parser))
        of_views = readings[: len(queries)]
        self.problems += _refused(config, queries, of_views)
        naming = _naming_their_catalog(config, stated_name, queries, of_views)
        is_called_so = catalog_name(config.database).lower() == stated_name.lower()
        (self.warnings if is_called_so else self.problems).extend(naming)
        self.problems += checks.read(readings[len(queries) :])
        located = with_absolute_paths(config, queries, of_views)
        self.problems += (one for one in located if isinstance(one, Problem))
        self.problems += pragmas_that_write
        by_view = {id(view): one for view, one in zip(queries, located, strict=True)}
        views = tuple(
            found if isinstance(found := by_view.get(id(view), view), View) else view
            for view in config.views
        )
        self.config = msgspec.structs.replace(config, views=views)
        reading_of = {id(view): reading for view, reading in zip(located, of_views, strict=True)}
        places = [*(_place_of_query(config, view) for view in queries), *checks.places]
        self.readings = list(zip(places, readings, strict=True))
        self.steps: list[ViewStep] = []
        try:
            self.steps = view_steps(self.config, reading_of, checks)
        except ConfigError as error:
            self.problems += error.problems
        self.problems = [config.redact.problem(problem) for problem in self.problems]


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
            place = _place_of_query(config, view)
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
                yield Problem(_place_of_query(config, view), message, remedy, view.name)
                break


def _place_of_query(config: Config, view: SelectView) -> Origin:
    return config.at(view, "sql_file" if view.sql_file else "sql")
