"""Config to Plan: what to do, in which order, and where each step is stated.

A plan has two halves, because DuckDB keeps only one of them in the file. The
session half (extensions, settings, secrets, attachments) is gone when a
connection closes, and every connection replays it. The catalog half (schemas,
views, comments) is stored.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

import msgspec

from duckalog.config import MEMORY, Config, catalog_name, check
from duckalog.entry import (
    MAIN_SCHEMA,
    Attachment,
    Catalog,
    Column,
    View,
    bound,
    extension_of,
)
from duckalog.environment import PLACEHOLDER, Filled, Redactor, shell_expression
from duckalog.errors import NOWHERE, ConfigError, Origin, Problem
from duckalog.references import Name, Reading, readings_of
from duckalog.secrets import DuckdbSecret
from duckalog.sql import (
    Spliced,
    Statement,
    comment_on_column,
    comment_on_view,
    create_schema,
    create_view,
    install,
    literal,
    load,
    qualified,
    set_option,
    statement,
    with_expressions,
)
from duckalog.views.select import SelectView

Kind = Literal["extension", "setting", "pragma", "secret", "attachment", "catalog", "view"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do: its statements in order, the steps it needs, and where it is stated."""

    kind: Kind
    name: str
    statements: tuple[Statement, ...]
    needs: tuple[str, ...] = ()
    origin: Origin = NOWHERE

    @property
    def key(self) -> str:
        """The step's name among all steps."""
        return f"{self.kind}:{self.name}"


class ExtensionStep(Step, frozen=True, kw_only=True):
    """An extension to have, and unless `is_loaded` is false to load."""

    repository: str = ""
    is_loaded: bool = True


class DatabaseStep(Step, frozen=True, kw_only=True):
    """A database to attach: its secret first, then ATTACH; `file` must exist before."""

    database_type: str
    file: str | None = None


class ViewStep(Step, frozen=True, kw_only=True):
    """A view to create: `statements` are CREATE VIEW and its comments."""

    schema: str
    view: str
    query: str
    source: str
    description: str | None = None
    columns: dict[str, Column] = {}
    tags: tuple[str, ...] = ()
    meta: dict[str, Any] = {}

    @property
    def relation(self) -> str:
        """The quoted name of the view; the schema `main` goes without saying."""
        return _relation(self.schema, self.view)

    @property
    def fingerprint(self) -> str:
        """A hash of all that the catalog stores of the view."""
        text = "\0".join(one.text for one in self.statements)
        return hashlib.sha256(text.encode()).hexdigest()


class Plan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The steps of a catalog in the order they run; consumers never look back to the config."""

    file: str
    files: tuple[str, ...]
    database: str
    session: tuple[Step, ...]
    views: tuple[ViewStep, ...]
    redact: Redactor
    extension_directory: str | None = None

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

    def schema_statements(self) -> tuple[Statement, ...]:
        """Return the CREATE SCHEMA statements."""
        return tuple(create_schema(name) for name in self.schemas)


def plan(config: Config, database: str | None = None) -> Plan:
    """Return the plan of a config; `database` is built instead of the config's own.

    Raises ConfigError for SQL that cannot be a view, and for views that read
    each other in a circle; all of them at once.
    """
    path = database or config.database
    problems = []
    if path != config.database:
        section = msgspec.structs.replace(config.duckdb, database=path)
        config = msgspec.structs.replace(config, duckdb=section)
        problems += check(config)
    queries = [view for view in config.views if isinstance(view, SelectView)]
    readings = dict(
        zip(
            (id(view) for view in queries),
            readings_of([view.query() for view in queries]),
            strict=True,
        )
    )
    problems += _refused(config, queries, [readings[id(view)] for view in queries])
    if problems:
        raise ConfigError(problems)
    needs = _Needs(config)
    steps = [_view_step(view, needs.of(view, readings.get(id(view)))) for view in config.views]
    return Plan(
        file=config.origin.file,
        files=config.files,
        database=path,
        session=tuple(_session(config, list(readings.values()))),
        views=tuple(_in_order(steps)),
        redact=config.redact,
        extension_directory=config.duckdb.extension_directory,
    )


def _refused(
    config: Config, views: Sequence[SelectView], readings: Sequence[Reading]
) -> Iterator[Problem]:
    for view, reading in zip(views, readings, strict=True):
        if reading.refusal:
            key = "sql_file" if view.sql_file else "sql"
            yield Problem(config.at(view, key), reading.refusal, name=view.name)


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

    def of(self, view: View, reading: Reading | None) -> tuple[str, ...]:
        """Return the keys of the steps that a view needs, in the order of their names."""
        if reading is None:
            alias = view.reads_from
            return (self.databases[alias.lower()],) if alias else ()
        found = (self._step(view.schema, name) for name in reading.relations)
        return tuple(sorted({key for key in found if key}))

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


def _relation(schema: str, name: str) -> str:
    return qualified(name) if schema == MAIN_SCHEMA else qualified(schema, name)


def _view_step(view: View, needs: tuple[str, ...]) -> ViewStep:
    relation = _relation(view.schema, view.name)
    query = view.query()
    statements = [create_view(relation, query)]
    if view.description is not None:
        statements.append(comment_on_view(relation, view.description))
    for name, column in view.columns.items():
        if column.description is not None:
            statements.append(comment_on_column(relation, name, column.description))
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
            names = [by_key[key].view for key in circle]
            first = by_key[circle[0]]
            message = f"views read each other in a circle: {' → '.join(names)}"
            if len(names) == 2:
                message = "the view reads itself"
            others = ", ".join(
                f"{by_key[key].view} at {by_key[key].origin.location}" for key in circle[1:-1]
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


_EXTENSION_OF_FUNCTION = {
    "delta_scan": "delta",
    "iceberg_scan": "iceberg",
    "iceberg_metadata": "iceberg",
    "iceberg_snapshots": "iceberg",
    "sqlite_scan": "sqlite_scanner",
    "postgres_scan": "postgres_scanner",
    "postgres_scan_pushdown": "postgres_scanner",
    "postgres_query": "postgres_scanner",
    "mysql_query": "mysql_scanner",
    "st_read": "spatial",
    "read_xlsx": "excel",
}
_NEEDED_BY_EXTENSION = {"iceberg": ("httpfs", "avro"), "delta": ("httpfs",), "aws": ("httpfs",)}
_NAMES_OF_EXTENSIONS = {
    "sqlite": "sqlite_scanner",
    "postgres": "postgres_scanner",
    "mysql": "mysql_scanner",
    "http": "httpfs",
    "https": "httpfs",
    "s3": "httpfs",
}
"""Other names that DuckDB accepts for its extensions."""


def _session(config: Config, readings: Sequence[Reading]) -> Iterator[Step]:
    yield from _extension_steps(config, readings)
    yield from _setting_steps(config, has_queries=bool(readings))
    for number, pragma in enumerate(config.duckdb.pragmas, 1):
        yield Step(
            kind="pragma",
            name=str(number),
            statements=(_pragma(pragma.sql),),
            origin=pragma.origin,
        )
    for secret in config.duckdb.secrets:
        yield Step(
            kind="secret",
            name=secret.secret_name,
            statements=(secret.create(),),
            needs=_extension_keys(secret.extensions()),
            origin=secret.origin,
        )
    for attachment in config.attachments:
        yield _database_step("attachment", attachment.alias, attachment.kind, attachment)
    for catalog in config.iceberg_catalogs:
        yield _database_step("catalog", catalog.name, "iceberg", catalog)


def _pragma(sql: str) -> Statement:
    text = sql.strip().rstrip(";")
    if not isinstance(sql, Filled):
        return statement(text)
    template = sql.template.strip().rstrip(";")
    return statement(Spliced(text, with_expressions(template, PLACEHOLDER, shell_expression)))


def _setting_steps(config: Config, *, has_queries: bool) -> Iterator[Step]:
    settings = config.duckdb.settings
    stated = {name.lower() for name in settings}
    folders = list(dict.fromkeys(os.path.dirname(file) for file in config.files))
    # Paths inside raw SQL start from the config too. DuckDB splits the setting at commas.
    if has_queries and "file_search_path" not in stated and "," not in "".join(folders):
        value = literal(",".join(folders))
        yield Step(
            kind="setting",
            name="file_search_path",
            statements=(set_option("file_search_path", value),),
            origin=config.origin,
        )
    for name, setting in settings.items():
        yield Step(
            kind="setting",
            name=name,
            statements=(set_option(name, bound(setting.value, name)),),
            origin=setting.origin,
        )


def _database_step(
    kind: Literal["attachment", "catalog"],
    name: str,
    database_type: str,
    database: Attachment | Catalog,
) -> DatabaseStep:
    secret = database.secret()
    needs = _extension_keys(database.extensions())
    if database.uses_secret:
        needs = (*needs, f"secret:{database.uses_secret}")
    return DatabaseStep(
        kind=kind,
        name=name,
        statements=(*((secret,) if secret else ()), database.attach()),
        needs=needs,
        origin=database.origin,
        database_type=database_type,
        file=getattr(database, "file", None),
    )


def _extension_steps(config: Config, readings: Sequence[Reading]) -> Iterator[ExtensionStep]:
    """Yield each extension once: those that the config lists, then those that its parts need."""
    section = config.duckdb
    listed = {_canonical(one.name): one for one in section.load_extensions}
    only_installed = {
        _canonical(one.name): one
        for one in section.install_extensions
        if _canonical(one.name) not in listed
    }
    needed = [name for part in _parts(config) for name in part.extensions()]
    for reading in readings:
        known = sorted(reading.functions & _EXTENSION_OF_FUNCTION.keys())
        needed += [_EXTENSION_OF_FUNCTION[function] for function in known]
        needed += [name for url in sorted(reading.urls) for name in extension_of(url)]
    loaded = _with_needed([*listed, *needed])
    repositories = {
        _canonical(one.name): one.repository or ""
        for one in (*section.load_extensions, *section.install_extensions)
    }
    stated = {**only_installed, **listed}
    for name in (*(one for one in only_installed if one not in loaded), *loaded):
        repository = repositories.get(name, "")
        is_loaded = name in loaded
        yield ExtensionStep(
            kind="extension",
            name=name,
            statements=(install(name, repository), *((load(name),) if is_loaded else ())),
            origin=stated[name].origin if name in stated else config.origin,
            repository=repository,
            is_loaded=is_loaded,
        )


def _parts(config: Config) -> Iterator[View | Attachment | Catalog | DuckdbSecret]:
    yield from config.duckdb.secrets
    yield from config.attachments
    yield from config.iceberg_catalogs
    yield from config.views


def _with_needed(names: Iterable[str]) -> list[str]:
    """Return extensions, each once and after those that it loads itself."""
    ordered: dict[str, None] = {}
    for name in names:
        for needed in _NEEDED_BY_EXTENSION.get(name, ()):
            ordered.setdefault(needed)
        ordered.setdefault(name)
    return list(ordered)


def _extension_keys(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"extension:{name}" for name in _with_needed(names))


def _canonical(name: str) -> str:
    return _NAMES_OF_EXTENSIONS.get(name.lower(), name.lower())
