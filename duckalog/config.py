"""The root model: a whole config, typed, with where each part of it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import msgspec

from duckalog.attachments import ATTACHMENT_TYPES
from duckalog.attachments.duckdb import DuckdbAttachment
from duckalog.attachments.ducklake import DucklakeAttachment
from duckalog.attachments.postgres import PostgresAttachment
from duckalog.attachments.sqlite import SqliteAttachment
from duckalog.decode import Derived, ShortForm, Unfit
from duckalog.document import Document
from duckalog.entry import (
    Attachment,
    Catalog,
    Entry,
    NonEmpty,
    View,
    check_options,
)
from duckalog.errors import Origin
from duckalog.locations import DatabasePath, LocalPath
from duckalog.redaction import Redactor
from duckalog.secrets import DuckdbSecret
from duckalog.sql import is_option_name

VERSION = 1
MEMORY = ":memory:"
OWN_DATABASES = ("main", "temp", "system")
"""Names of databases that are DuckDB's own."""


class Extension(Entry, frozen=True, kw_only=True):
    """A DuckDB extension, and the repository it comes from where that is not DuckDB's own."""

    name: NonEmpty
    """What DuckDB calls the extension. Example: `h3`"""
    repository: str | None = None
    """The repository, by its name or URL, where it is not DuckDB's own. Example: `community`"""

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
    """The value that every session sets. Example: `4GB`"""

    def __post_init__(self) -> None:
        check_options({"value": self.value}, "value")


class Pragma(Entry, frozen=True, kw_only=True):
    """A statement that every session runs, as the user wrote it."""

    sql: NonEmpty
    """The statement, run by every session. Example: `SET TimeZone = 'UTC'`"""

    def __post_init__(self) -> None:
        if not self.sql.strip("; \t\r\n"):
            raise Unfit("the statement is empty")


Extensions = tuple[Annotated[Extension, ShortForm("name")], ...]


class DuckdbSection(Entry, frozen=True, kw_only=True):
    """Where the catalog is, and what its sessions need."""

    is_section: ClassVar[bool] = True

    database: DatabasePath | None = None
    """The DuckDB file to build, or `:memory:`, which only `connect` takes.
    Examples: `catalog.duckdb` `${env:DATA}/catalog.duckdb`"""
    install_extensions: Extensions = ()
    """Extensions to install before the session: a name, or a map with its repository.
    Example: `[spatial, {name: h3, repository: community}]`"""
    load_extensions: Extensions = ()
    """Extensions to load beyond those that sources need, which duckalog finds by itself.
    Example: `[spatial]`"""
    pragmas: tuple[Annotated[Pragma, ShortForm("sql")], ...] = ()
    """SQL statements that every session runs, in this order.
    Example: `["SET VARIABLE region = 'eu'"]`"""
    settings: dict[str, Annotated[Setting, ShortForm("value")]] = {}
    """DuckDB's settings by their names, for every session; but not those that DuckDB takes only
    where it opens a database, such as `custom_user_agent`.
    Example: `{threads: 4, memory_limit: 4GB}`"""
    secrets: tuple[DuckdbSecret, ...] = ()
    """Credentials that every session makes as DuckDB secrets, and drops at its end.
    Example: `[{type: s3, provider: credential_chain, scope: "s3://lake"}]`"""
    extension_directory: LocalPath | None = None
    """The folder of DuckDB's extensions, where it is not `~/.duckdb`.
    Example: `/opt/duckdb/extensions`"""

    def __post_init__(self) -> None:
        check_options(dict.fromkeys(self.settings), "settings")


class Attachments(Entry, frozen=True, kw_only=True):
    """The databases that every session attaches, by type."""

    is_section: ClassVar[bool] = True

    duckdb: tuple[DuckdbAttachment, ...] = ()
    """DuckDB files. Example: `[{alias: refdata, path: refdata.duckdb}]`"""
    sqlite: tuple[SqliteAttachment, ...] = ()
    """SQLite files. Example: `[{alias: crm, path: crm.db}]`"""
    postgres: tuple[PostgresAttachment, ...] = ()
    """PostgreSQL databases.
    Example: `[{alias: dw, host: db.example, database: dw, user: reader}]`"""
    ducklake: tuple[DucklakeAttachment, ...] = ()
    """DuckLakes. Example: `[{alias: lake, path: lake/metadata.ducklake}]`"""

    def __iter__(self) -> Iterator[Attachment]:
        """Yield every attachment, type by type."""
        for kind in ATTACHMENT_TYPES:
            yield from getattr(self, kind)


class Config(Entry, frozen=True, kw_only=True):
    """A whole config: its files merged, filled, and checked against each other."""

    is_section: ClassVar[bool] = True

    schema_uri: str | None = msgspec.field(default=None, name="$schema")
    """The JSON schema that an editor checks the file by. Example: `catalog.schema.json`"""
    version: int = VERSION
    """The version of the config's format. A file that others import need not state it."""
    duckdb: DuckdbSection = DuckdbSection()
    """Where the catalog is, and what its sessions need."""
    attachments: Attachments = Attachments()
    """The databases that every session attaches, by type."""
    iceberg_catalogs: tuple[Catalog, ...] = ()
    """The Iceberg catalogs that every session attaches.
    Example: `[{name: ice, catalog_type: rest, uri: "https://iceberg.example"}]`"""
    views: tuple[View, ...] = ()
    """The views of the catalog, in any order.
    Example: `[{name: orders, source: parquet, uri: "orders/*.parquet"}]`"""
    imports: tuple[NonEmpty, ...] = ()
    """Other config files, merged into this one; patterns are allowed.
    Example: `[shared.yaml, "domains/*.yaml"]`"""
    documents: Annotated[dict[str, Document], Derived] = {}
    redact: Annotated[Redactor, Derived] = Redactor()

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


def catalog_name(database: str) -> str:
    """Return what DuckDB calls the database in a file: its name up to the first dot.

    A symbolic link is called as the file that it leads to, which is what is opened.
    """
    if database == MEMORY:
        return "memory"
    file = os.path.basename(os.path.realpath(database))
    # DuckDB's own rules, 1.4 to 2.0: no dots before the name, and none of its three names.
    name = next((part for part in re.split("[.?]", file) if part), file)
    return f"{name}_db" if name.lower() in OWN_DATABASES else name
