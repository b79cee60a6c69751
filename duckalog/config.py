"""The root model, and how files become one: `load_config`.

Each file is read, filled and decoded by itself, so that paths are relative to
it and problems stand at its lines; then the parts are merged and checked
against each other. Every problem of every file is told at once.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any

import msgspec

from duckalog.attachments import ATTACHMENT_TYPES
from duckalog.attachments.duckdb import DuckdbAttachment
from duckalog.attachments.ducklake import DucklakeAttachment
from duckalog.attachments.postgres import PostgresAttachment
from duckalog.attachments.sqlite import SqliteAttachment
from duckalog.catalogs import catalog_type
from duckalog.decode import (
    INVALID,
    Choice,
    Context,
    DatabasePath,
    Derived,
    LocalPath,
    ShortForm,
    Unfit,
    absolute_path,
    decode,
)
from duckalog.document import Data, Document, read_document, read_text
from duckalog.entry import (
    BOOKKEEPING_SCHEMA,
    MAIN_SCHEMA,
    Attachment,
    Catalog,
    Entry,
    NonEmpty,
    View,
    check_options,
)
from duckalog.environment import (
    Redactor,
    Secret,
    Use,
    fill,
    fill_text,
    looks_secret,
    read_environment,
    redactor_for,
    variables_in,
)
from duckalog.errors import NOWHERE, ConfigError, Origin, Problem, nearest, sentences
from duckalog.secrets import DuckdbSecret, secret_type
from duckalog.sql import is_option_name
from duckalog.views import view_type
from duckalog.views.select import SelectView

VERSION = 1
MEMORY = ":memory:"
MAX_FILES = 1_000

_VARIANTS: dict[type, Choice] = {View: view_type, Catalog: catalog_type, DuckdbSecret: secret_type}


class Extension(Entry, frozen=True, kw_only=True):
    """A DuckDB extension, and the repository it comes from where that is not DuckDB's own."""

    name: NonEmpty
    repository: str | None = None

    def __post_init__(self) -> None:
        if not is_option_name(self.name):
            raise Unfit(
                f'"{self.name}" cannot be the name of an extension',
                "A name is letters, digits and underscores; a repository has its own key.",
                ("name",),
            )


class Setting(Entry, frozen=True, kw_only=True):
    """The value of a DuckDB setting."""

    value: Any

    def __post_init__(self) -> None:
        check_options({"value": self.value}, "value")


class Pragma(Entry, frozen=True, kw_only=True):
    """A statement that every session runs, as the user wrote it."""

    sql: NonEmpty


Extensions = tuple[Annotated[Extension, ShortForm("name")], ...]


class DuckdbSection(Entry, frozen=True, kw_only=True):
    """Where the catalog is, and what its sessions need."""

    database: DatabasePath | None = None
    install_extensions: Extensions = ()
    load_extensions: Extensions = ()
    pragmas: tuple[Annotated[Pragma, ShortForm("sql")], ...] = ()
    settings: dict[str, Annotated[Setting, ShortForm("value")]] = {}
    secrets: tuple[DuckdbSecret, ...] = ()
    extension_directory: LocalPath | None = None

    def __post_init__(self) -> None:
        check_options(dict.fromkeys(self.settings), "settings")


class Attachments(Entry, frozen=True, kw_only=True):
    """The databases that every session attaches, by type."""

    duckdb: tuple[DuckdbAttachment, ...] = ()
    sqlite: tuple[SqliteAttachment, ...] = ()
    postgres: tuple[PostgresAttachment, ...] = ()
    ducklake: tuple[DucklakeAttachment, ...] = ()

    def __iter__(self) -> Iterator[Attachment]:
        """Yield every attachment, type by type."""
        for kind in ATTACHMENT_TYPES:
            yield from getattr(self, kind)


class Config(Entry, frozen=True, kw_only=True):
    """A whole config: its files merged, filled, and checked against each other."""

    version: int
    duckdb: DuckdbSection = DuckdbSection()
    attachments: Attachments = Attachments()
    iceberg_catalogs: tuple[Catalog, ...] = ()
    views: tuple[View, ...] = ()
    imports: tuple[NonEmpty, ...] = ()
    documents: Annotated[dict[str, Document], Derived] = {}
    redact: Annotated[Redactor, Derived] = Redactor()

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise Unfit(
                f"version {self.version} is not supported",
                f"This duckalog reads version {VERSION}.",
                ("version",),
            )

    @property
    def database(self) -> str:
        """The absolute path of the catalog file, or `:memory:`."""
        return self.duckdb.database or MEMORY

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the config was read from, each after those that it imports."""
        return tuple(self.documents)

    def at(self, entry: Entry, *keys: str) -> Origin:
        """Return where a key of an entry stands, or where the entry does."""
        origin = entry.origin
        path = (*origin.path, *keys)
        document = self.documents.get(origin.file)
        return document.origin(path) if document else origin._replace(path=path)


def load_config(
    path: str | os.PathLike[str],
    *,
    env_file: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    fill_environment: bool = True,
) -> Config:
    """Return the config in a YAML or JSON file, with the files it imports merged in.

    Placeholders are filled from `environment` (by default the process's own,
    and below it `env_file`); with `fill_environment=False` they stay as text.
    Raises ConfigError with every problem of every file.
    """
    if not fill_environment:
        environment = None
    elif environment is None:
        environment = read_environment(env_file)
    loader = _Loader(environment)
    loader.read(os.path.abspath(os.fspath(path)), NOWHERE, ())
    return loader.config()


class _Loader:
    """Reads a file and its imports into parts, and merges them."""

    def __init__(self, environment: Mapping[str, str] | None) -> None:
        self.environment = environment
        self.parts: list[Config] = []
        self.seen: set[str] = set()
        self.documents: dict[str, Document] = {}
        self.uses: list[Use] = []
        self.secrets: list[Secret] = []
        self.problems: list[Problem] = []

    def read(self, file: str, stated_at: Origin, importers: tuple[str, ...]) -> None:
        """Read a file after its imports: what it states comes last."""
        real = os.path.realpath(file)
        if real in importers:
            chain = " → ".join(os.path.basename(one) for one in (*importers, real))
            message = f"the imports go round in a circle: {chain}"
            self.problems.append(Problem(stated_at, message, "Remove one of these imports."))
            return
        if real in self.seen:
            return
        if len(self.seen) >= MAX_FILES:
            raise ConfigError(Problem(stated_at, f"more than {MAX_FILES} files are imported"))
        self.seen.add(real)
        try:
            document = read_document(file)
        except ConfigError as error:
            if not importers:
                raise
            self.problems += (
                problem._replace(message=f"{problem.message} (imported at {stated_at.location})")
                for problem in error.problems
            )
            return
        data, uses, problems = fill(document, self.environment)
        self.uses += uses
        self.problems += problems
        for key, pattern in _imports_of(data):
            origin = document.origin(("imports", key))
            for imported in self._files_of(pattern, document, origin):
                self.read(imported, origin, (*importers, real))
        self.documents[document.file] = document
        self._decode(document, data, is_root=not importers)

    def _files_of(self, pattern: str, document: Document, origin: Origin) -> list[str]:
        path = absolute_path(pattern, document.directory)
        if not glob.has_magic(path):
            return [path]
        own = os.path.realpath(document.file)
        found = [one for one in sorted(glob.glob(path, recursive=True)) if os.path.isfile(one)]
        if not found:
            self.problems.append(Problem(origin, f'no file matches "{pattern}"'))
        return [one for one in found if os.path.realpath(one) != own]

    def _decode(self, document: Document, data: Data, *, is_root: bool) -> None:
        context = Context(
            document.directory,
            document.origin,
            _VARIANTS,
            is_filled=self.environment is not None,
        )
        if not isinstance(data, dict):
            context.problem((), "a config is a map", f"It starts with: version: {VERSION}")
        else:
            if not is_root:
                data = {"version": VERSION, **data}
            part = decode(Config, data, (), context)
            if part is not INVALID:
                self.parts.append(self._with_sql_files(part, document))
        self.problems += context.problems
        self.secrets += context.secrets

    def _with_sql_files(self, part: Config, document: Document) -> Config:
        views = tuple(
            self._with_sql(view, document)
            if isinstance(view, SelectView) and view.sql_file
            else view
            for view in part.views
        )
        return msgspec.structs.replace(part, views=views)

    def _with_sql(self, view: SelectView, document: Document) -> SelectView:
        origin = document.origin((*view.origin.path, "sql_file"))
        try:
            text = read_text(view.sql_file or "")
        except ConfigError as error:
            problem = error.problems[0]
            message = f"{problem.origin.location}: {problem.message}"
            self.problems.append(Problem(origin, message))
            return view
        text, uses, problems = fill_text(text, origin, self.environment)
        self.uses += uses
        self.problems += problems
        if not text.strip():
            self.problems.append(Problem(origin, "the file of the query is empty"))
        return msgspec.structs.replace(view, sql=text)

    def config(self) -> Config:
        """Return the merged config, or raise ConfigError with every problem."""
        if self.problems:
            raise ConfigError(self.problems)
        config = Config(
            version=VERSION,
            duckdb=self._duckdb(),
            attachments=Attachments(
                duckdb=self._all("attachments", "duckdb"),
                sqlite=self._all("attachments", "sqlite"),
                postgres=self._all("attachments", "postgres"),
                ducklake=self._all("attachments", "ducklake"),
            ),
            iceberg_catalogs=self._all("iceberg_catalogs"),
            views=self._all("views"),
            origin=self.parts[-1].origin,
            documents=self.documents,
            redact=redactor_for(self.uses, self.secrets),
        )
        self.problems += check(config)
        self.problems += secrets_in_views(self.uses, self.secrets)
        if self.problems:
            raise ConfigError(self.problems)
        return config

    def _all(self, *keys: str) -> tuple[Any, ...]:
        found: list[Any] = []
        for part in self.parts:
            value: Any = part
            for key in keys:
                value = getattr(value, key)
            found += value
        return tuple(found)

    def _duckdb(self) -> DuckdbSection:
        settings: dict[str, Setting] = {}
        for part in self.parts:
            for name, setting in part.duckdb.settings.items():
                self._only_once(f'the setting "{name}"', settings.get(name), setting)
                settings[name] = setting
        return DuckdbSection(
            database=self._stated_once("database"),
            extension_directory=self._stated_once("extension_directory"),
            install_extensions=self._all("duckdb", "install_extensions"),
            load_extensions=self._all("duckdb", "load_extensions"),
            pragmas=self._all("duckdb", "pragmas"),
            secrets=self._all("duckdb", "secrets"),
            settings=settings,
        )

    def _stated_once(self, key: str) -> Any:
        stated = [part.duckdb for part in self.parts if getattr(part.duckdb, key) is not None]
        for earlier, later in pairwise(stated):
            self._only_once(f"duckdb.{key}", earlier, later)
        return getattr(stated[-1], key) if stated else None

    def _only_once(self, what: str, earlier: Entry | None, later: Entry) -> None:
        if earlier is not None:
            message = f"{what} is stated in {earlier.origin.location} too"
            self.problems.append(Problem(later.origin, message, "Keep one of them."))


def _imports_of(data: Data) -> list[tuple[int, str]]:
    imports = data.get("imports") if isinstance(data, dict) else None
    if not isinstance(imports, list):
        return []
    return [(index, one) for index, one in enumerate(imports) if isinstance(one, str) and one]


def check(config: Config) -> list[Problem]:
    """Return what does not go together in a config: names twice, unknown aliases and the like."""
    return [
        *_names_twice(config),
        *_aliases(config),
        *_schemas(config),
        *_unknown_databases(config),
        *_unknown_secrets(config),
    ]


def _names_twice(config: Config) -> Iterator[Problem]:
    yield from _twice(
        config,
        ((f"{view.schema}.{view.name}", view) for view in config.views),
        lambda view: f'view called "{_view_name(view)}"',
    )
    databases: list[tuple[str, Entry]] = [(one.alias, one) for one in config.attachments]
    databases += [(one.name, one) for one in config.iceberg_catalogs]
    yield from _twice(config, databases, lambda one: f'database called "{_alias(one)}"')
    secrets = ((one.secret_name, one) for one in config.duckdb.secrets)
    yield from _twice(config, secrets, lambda one: f'secret called "{one.secret_name}"')


def _twice(
    config: Config, named: Iterable[tuple[str, Any]], described: Callable[[Any], str]
) -> Iterator[Problem]:
    seen: dict[str, Any] = {}
    for name, entry in named:
        first = seen.setdefault(name.lower(), entry)
        if first is not entry:
            origin = config.at(entry, _name_key(entry))
            message = f"there is a {described(first)} already, at {first.origin}"
            remedy = "DuckDB does not tell upper and lower case apart. Rename one of them."
            yield Problem(origin, message, remedy)


def _name_key(entry: Entry) -> str:
    return "alias" if isinstance(entry, Attachment) else "name"


def _view_name(view: View) -> str:
    return view.name if view.schema == MAIN_SCHEMA else f"{view.schema}.{view.name}"


def _alias(database: Any) -> str:
    return str(database.alias if isinstance(database, Attachment) else database.name)


_OWN_DATABASES = ("main", "temp", "system")
_OWN_SCHEMAS = ("information_schema", "pg_catalog", "temp", BOOKKEEPING_SCHEMA)


def catalog_name(database: str) -> str:
    """Return what DuckDB calls the database in a file: its name up to the first dot."""
    if database == MEMORY:
        return "memory"
    return os.path.basename(database).partition(".")[0]


def _aliases(config: Config) -> Iterator[Problem]:
    own = catalog_name(config.database).lower()
    schemas = {view.schema.lower(): view for view in config.views}
    databases: list[Any] = [*config.attachments, *config.iceberg_catalogs]
    for database in databases:
        alias = _alias(database)
        origin = config.at(database, _name_key(database))
        if alias.lower() in _OWN_DATABASES:
            yield Problem(origin, f'"{alias}" is a name of DuckDB\'s own', "Rename it.")
        elif alias.lower() == own:
            message = f'"{alias}" is what DuckDB calls the catalog itself'
            yield Problem(origin, message, "Rename it, or the file at duckdb.database.")
        elif alias.lower() in schemas:
            view = schemas[alias.lower()]
            message = f'"{alias}" is also the schema of a view, at {view.origin}'
            remedy = "DuckDB cannot tell a database from a schema of the same name. Rename one."
            yield Problem(origin, message, remedy)
        elif alias.lower() in (*_OWN_SCHEMAS, MAIN_SCHEMA):
            yield Problem(origin, f'"{alias}" is a schema of DuckDB\'s own', "Rename it.")


def _schemas(config: Config) -> Iterator[Problem]:
    own = catalog_name(config.database).lower()
    for view in config.views:
        origin = config.at(view, "schema")
        if view.schema.lower() in _OWN_SCHEMAS:
            message = f'the schema "{view.schema}" is reserved'
            yield Problem(origin, message, "Choose another schema.")
        elif view.schema.lower() == own:
            message = f'the schema "{view.schema}" has the name of the catalog itself'
            remedy = "DuckDB cannot tell them apart. Rename it, or the file at duckdb.database."
            yield Problem(origin, message, remedy)


def _unknown_databases(config: Config) -> Iterator[Problem]:
    attachments = {one.alias.lower(): one for one in config.attachments}
    catalogs = {one.name.lower(): one for one in config.iceberg_catalogs}
    for view in config.views:
        alias = view.reads_from
        if alias is None:
            continue
        is_catalog = view.source_name == "iceberg"
        key = "catalog" if is_catalog else "database"
        origin = config.at(view, key)
        known: Mapping[str, Any] = catalogs if is_catalog else attachments
        found = known.get(alias.lower())
        if found is None:
            noun = "catalog" if is_catalog else "attachment"
            names = [_alias(one) for one in known.values()]
            where = "iceberg_catalogs" if is_catalog else "attachments"
            listed = f"{noun}s here: {', '.join(names)}." if names else f"there are no {noun}s."
            remedy = sentences(
                nearest(alias, names), listed, f"rename it, or add it under {where}."
            )
            yield Problem(origin, f'no {noun} is called "{alias}"', remedy)
        elif not is_catalog and found.kind != view.source_name:
            message = f'the attachment "{alias}" is a {found.kind} database'
            yield Problem(origin, message, f"Write source: {found.kind}")


def _unknown_secrets(config: Config) -> Iterator[Problem]:
    secrets = {one.secret_name.lower(): one for one in config.duckdb.secrets}
    databases: list[Any] = [*config.attachments, *config.iceberg_catalogs]
    for database in databases:
        name = database.uses_secret
        if name is None:
            continue
        path = ("secret",) if isinstance(database, Attachment) else ("options", "secret")
        origin = config.at(database, *path)
        secret = secrets.get(name.lower())
        expected = database.secret_type
        if secret is None:
            names = [one.secret_name for one in config.duckdb.secrets]
            remedy = sentences(nearest(name, names), "add it under duckdb.secrets.")
            yield Problem(origin, f'no secret is called "{name}"', remedy)
        elif secret.kind != expected:
            message = f'the secret "{name}" is of type {secret.kind}, and this takes {expected}'
            yield Problem(origin, message)


def secrets_in_views(uses: Iterable[Use], secrets: Iterable[Secret]) -> Iterator[Problem]:
    """Yield where a credential would be stored in the catalog file, inside a view."""
    uses = list(uses)
    credentials = {name for secret in secrets for name in variables_in(secret.template)}
    credentials |= {
        use.name for use in uses if use.is_credential and use.origin.path[:1] != ("views",)
    }
    for use in uses:
        if use.origin.path[:1] == ("views",) and (
            use.name in credentials or looks_secret(use.name)
        ):
            message = (
                f"{use.name} is a credential, and views are stored in the catalog file in clear"
            )
            remedy = (
                "Put it in a secret under duckdb.secrets, which DuckDB finds by its scope; "
                "sessions make it anew from the environment."
            )
            yield Problem(use.origin, message, remedy)
