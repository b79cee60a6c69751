"""What everything that a config declares has in common, and the roles that the plan knows.

A source, attachment type, catalog type or secret type is one struct that holds
its keys and renders its own SQL; a role says what the plan may ask of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec

from duckalog.decode import Derived, OneOrMany, ShortForm, Unfit
from duckalog.environment import (
    Filled,
    Secret,
    credentials_in_urls,
    names_a_credential,
    shell_expression,
)
from duckalog.errors import NOWHERE, Origin, shown
from duckalog.locations import Uri, is_remote
from duckalog.redaction import HIDDEN
from duckalog.sql import Bound, Spliced, Statement, is_option_name, literal, map_literal

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]
CheckName = Annotated[
    str, msgspec.Meta(pattern="^[A-Za-z0-9_]+$", description="letters, digits and underscores")
]
Uris = Annotated[tuple[Uri, ...], OneOrMany]

MAIN_SCHEMA = "main"
BOOKKEEPING_SCHEMA = "_duckalog"
"""The schema of the catalog file that belongs to duckalog."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that a config declares; `origin` is where."""

    origin: Annotated[Origin, Derived] = NOWHERE


class Column(Entry, frozen=True, kw_only=True):
    """What a config says of a view's column."""

    description: str | None = None
    """What the column holds; becomes its comment in the catalog. Example: `Euros, tax included.`"""
    tags: tuple[str, ...] = ()
    """Labels of your own; duckalog gives them to Dagster. Example: `[pii]`"""
    meta: dict[str, Any] = {}
    """Whatever else is to be said of the column. Example: `{unit: EUR}`"""


Columns = dict[str, Annotated[Column, ShortForm("description")]]


class Scan(NamedTuple):
    """A call of a table function over files, where a view is `SELECT *` from it and no more."""

    function: str
    options: tuple[str, ...]
    is_remote: bool
    files: tuple[str, ...] = ()
    """Patterns of the local files whose change is a change of the source."""
    uris: tuple[str, ...] = ()
    """What it reads, local or remote."""


class Source(NamedTuple):
    """What a view reads outside of the catalog: files by their URI, or a database's table.

    `location` is one URI, or the database's alias and the table's own names.
    `database` is the key of the step that attaches it, empty for files.
    """

    kind: str
    location: tuple[str, ...]
    database: str = ""

    @property
    def key(self) -> str:
        """The source's name among all steps and sources."""
        return f"source:{self.database}:{'.'.join(self.location)}"


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What a pinned view reads, and how to state what was found there in its query."""


Severity = Literal["error", "warn"]


class Finding(NamedTuple):
    """What a check concludes from the values of its aggregates; without a complaint it passes."""

    failing_rows: int | None = None
    complaint: str = ""


class Check(Entry, frozen=True, kw_only=True):
    """What is to be true of a view, checked by `duckalog check`."""

    name: CheckName | None = None
    """The check's name in the view; without one it is made of the type and the columns.
    Example: `ids_are_unique`"""
    description: str | None = None
    """What it means if the check fails. Example: `A customer was billed twice.`"""
    severity: Severity = "error"
    """Whether a failure is an error, or is only told. Example: `warn`"""

    @property
    def kind(self) -> str:
        """The type of check."""
        return str(getattr(self, "type", ""))

    @property
    def about(self) -> tuple[str, ...]:
        """What the check is about, for the name that is made for it."""
        return ()

    @property
    def names_columns(self) -> tuple[str, ...]:
        """The view's columns that the check names."""
        return ()

    @property
    def query(self) -> str | None:
        """The SELECT that holds what the user wrote in SQL, if anything."""
        return None

    def with_query(self, _query: str) -> Check:
        """Return the check with another SELECT of that kind."""
        raise TypeError(f"{type(self).__name__} has no SQL of the user's")

    def scanned(self, relation: str) -> str:
        """Return what the aggregates are taken over: the view itself, or a query of it."""
        return relation

    def aggregates(self) -> tuple[str, ...]:
        """Return the aggregates that the check is judged by; checks of one view share a scan."""
        return ()

    def judge(self, _values: Sequence[Any]) -> Finding:
        """Return what the values of the aggregates say."""
        raise TypeError(f"{type(self).__name__} has no aggregates")

    def failing(self, _relation: str) -> str:
        """Return the query of what fails, empty where there is nothing to show."""
        return ""


class View(Entry, frozen=True, kw_only=True):
    """A view of the catalog, whatever it reads."""

    name: NonEmpty
    """What the view is called; upper and lower case are the same. Example: `orders`"""
    schema: NonEmpty = MAIN_SCHEMA
    """The schema that the view is in; made when it is missing. Example: `analytics`"""
    description: str | None = None
    """What a row of the view is; becomes its comment in the catalog.
    Example: `One row per order.`"""
    columns: Columns = {}
    """What is to be said of columns, by their names: a description, or a map.
    Example: `{id: The order's number., email: {tags: [pii]}}`"""
    tags: tuple[str, ...] = ()
    """Labels of your own; duckalog gives them to Dagster. Example: `[core, daily]`"""
    meta: dict[str, Any] = {}
    """Whatever else is to be said of the view; Dagster is given its `owner`, and what it has
    under `dagster`. Example: `{owner: data-platform, dagster: {group: sales, deps: [dbt/a]}}`"""
    checks: tuple[Check, ...] = ()
    """What is to be true of the view, run by `duckalog check`.
    Example: `[{type: unique, columns: id}, {type: row_count, min: 1}]`"""

    @property
    def source_name(self) -> str:
        """The kind of source, `sql` for raw SQL."""
        return str(getattr(self, "source", "sql"))

    def query(self) -> str:
        """Return the SELECT that the view stands for."""
        raise TypeError(f"{type(self).__name__} is a role, not a source")

    @property
    def reads_from(self) -> str | None:
        """The alias of the attachment or catalog that the view reads, if it names one."""
        return None

    @property
    def locations(self) -> tuple[tuple[str, ...], ...]:
        """Where the view reads: URIs, or an alias and a table's names; none for raw SQL."""
        return ()

    @property
    def scan(self) -> Scan | None:
        """The table function that reads the files, where the view is only that."""
        return None

    @property
    def pinned(self) -> Pin | None:
        """What to look up at build, where the view is to keep reading just that."""
        return None

    def extensions(self) -> Iterator[str]:
        """Yield the DuckDB extensions that reading the view needs."""
        yield from ()


class Attachment(Entry, frozen=True, kw_only=True):
    """A database attached to every connection under its alias; a schema of its own in DuckDB."""

    kind: ClassVar[str]

    alias: NonEmpty
    """How SQL calls the database, and views in `database`. Example: `crm`"""
    read_only: bool = True
    """Whether DuckDB refuses to write to the database."""

    def extensions(self) -> Iterator[str]:
        """Yield the DuckDB extensions that attaching needs."""
        yield from ()

    def secret(self) -> Statement | None:
        """Return the CREATE SECRET that carries the credentials, if the type has any."""
        return None

    def attach(self) -> Statement:
        """Return the ATTACH statement."""
        raise TypeError(f"{type(self).__name__} is a role, not an attachment type")

    @property
    def file(self) -> str | None:
        """The local file that must exist before attaching: DuckDB may create it otherwise."""
        return None

    @property
    def default_schema(self) -> str:
        """The schema of a table whose name has none."""
        return MAIN_SCHEMA

    secret_type: ClassVar[str] = "postgres"

    @property
    def uses_secret(self) -> str | None:
        """The name of the declared secret, of `secret_type`, that the attachment names, if any."""
        return None


class Catalog(Entry, frozen=True, kw_only=True):
    """An Iceberg catalog, attached to every connection under its name."""

    name: NonEmpty
    """How SQL calls the catalog, and views in `catalog`. Example: `ice`"""
    uri: str | None = None
    """The URL of a REST catalog; Glue and S3 Tables have none.
    Example: `https://iceberg.example`"""
    warehouse: str | None = None
    """What the catalog calls the warehouse; for Glue an AWS account, for S3 Tables the ARN of a
    table bucket.
    Example: `analytics`"""
    read_only: bool = True
    """Whether DuckDB refuses to write to the catalog's tables."""

    def extensions(self) -> Iterator[str]:
        """Yield the DuckDB extensions that attaching needs."""
        yield "iceberg"

    def secret(self) -> Statement | None:
        """Return the CREATE SECRET that carries the credentials, if the catalog states any."""
        return None

    def attach(self, *, kept_for: str = "") -> Statement:
        """Return the ATTACH statement.

        `kept_for` is how long tables' metadata stays in memory where the config does not say.
        """
        raise TypeError(f"{type(self).__name__} is a role: it has no tables to keep {kept_for}")

    secret_type: ClassVar[str] = "iceberg"

    @property
    def uses_secret(self) -> str | None:
        """The name of the declared secret, of `secret_type`, that the catalog names, if any."""
        return None


_EXTENSION_OF_SCHEME = {
    **dict.fromkeys(("s3", "s3a", "s3n", "gs", "gcs", "r2", "hf", "http", "https"), "httpfs"),
    **dict.fromkeys(("az", "azure", "abfs", "abfss"), "azure"),
}


def extension_of(uri: str) -> Iterator[str]:
    """Yield the extension that opens `uri`, where it needs one."""
    if is_remote(uri):
        extension = _EXTENSION_OF_SCHEME.get(uri.partition("://")[0].lower())
        if extension:
            yield extension


def check_options(options: Mapping[str, Any], key: str = "options") -> None:
    """Raise Unfit for an option whose name or value cannot stand in SQL as data."""
    seen: dict[str, str] = {}
    for name, value in options.items():
        if not is_option_name(name):
            raise Unfit(
                f'"{shown(name)}" cannot be the name of an option',
                "Names of options are letters, digits and underscores.",
                (key,),
            )
        first = seen.setdefault(name.lower(), name)
        if first is not name:
            raise Unfit(
                f'"{first}" and "{name}" differ in case only', "Keep one of them.", (key, name)
            )
        try:
            if value is not None:
                literal(value)
        except ValueError as error:
            raise Unfit(f"the value has no place in SQL: {error}", "", (key, name)) from None


def rendered_options(options: Mapping[str, Any]) -> dict[str, str]:
    """Return options with their values as SQL; those without a value are left out."""
    return {name: literal(value) for name, value in options.items() if value is not None}


def bound(value: object, variable: str, key: str = "") -> str | Bound:
    """Return a field's value for a statement: secrets and filled texts bound, the rest as SQL.

    In scripts a secret that the file states in clear, at the entry's `key`, is
    read from the environment variable named `variable`.
    """
    if isinstance(value, Secret):
        if value.template:
            return Bound(value.reveal(), shell_expression(value.template))
        name = variable_name(variable)
        return Bound(value.reveal(), shell_expression(f"${{env:{name}}}"), {name: key})
    if isinstance(value, Filled):
        return Bound(str(value), shell_expression(value.template))
    if isinstance(value, str) and credentials_in_urls(value):
        return Bound(value, literal(shown_text(value)))
    return literal(value)


def bound_map(values: Mapping[str, Secret], variable: str, key: str = "") -> Bound:
    """Return a map of secrets, bound; those stated in clear are `variable` and their key."""
    revealed = {"key": list(values), "value": [value.reveal() for value in values.values()]}
    shown: dict[str, str] = {}
    invented: dict[str, str] = {}
    for name, value in values.items():
        item = bound(value, f"{variable}_{name}", f"{key}.{name}")
        shown[literal(name)] = item.shown if isinstance(item, Bound) else item
        invented |= item.invented if isinstance(item, Bound) else {}
    # DuckDB takes a dict of these two keys for a MAP; an ATTACH ignores a STRUCT (1.5.5).
    return Bound(revealed, map_literal(shown), invented)


def located(place: str) -> str | Spliced:
    """Return the literal of a place to attach, which ATTACH does not take as a bound value."""
    shown = shown_text(place)
    return literal(place) if shown == place else Spliced(literal(place), literal(shown))


def shown_text(value: object) -> str:
    """Return a value as scripts show it: without credentials, with the placeholders of some."""
    if isinstance(value, Filled) and names_a_credential(value.template):
        return value.template
    text = str(value)
    for credential in credentials_in_urls(text):
        text = text.replace(credential, HIDDEN)
    return text


def variable_name(text: str) -> str:
    """Return `text` as the name of an environment variable."""
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")


def own_secret_name(kind: str, name: str) -> str:
    """Return the name of the DuckDB secret that duckalog makes for an attachment or catalog."""
    return f"__duckalog_{kind}_{name}"
