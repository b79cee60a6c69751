"""The root model: a whole config, typed, with where each part of it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from duckalog.attachments import ATTACHMENT_TYPES
from duckalog.attachments.duckdb import DuckdbAttachment
from duckalog.attachments.ducklake import DucklakeAttachment
from duckalog.attachments.postgres import PostgresAttachment
from duckalog.attachments.sqlite import SqliteAttachment
from duckalog.decode import (
    DatabasePath,
    Derived,
    LocalPath,
    ShortForm,
    Unfit,
)
from duckalog.document import Document
from duckalog.entry import (
    Attachment,
    Catalog,
    Entry,
    NonEmpty,
    View,
    check_options,
)
from duckalog.environment import (
    Redactor,
)
from duckalog.errors import Origin
from duckalog.secrets import DuckdbSecret
from duckalog.sql import is_option_name

VERSION = 1
MEMORY = ":memory:"
OWN_DATABASES = ("main", "temp", "system")
"""Names of databases that are DuckDB's own."""


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

    def __post_init__(self) -> None:
        if not self.sql.strip("; \t\r\n"):
            raise Unfit("the statement is empty")


Extensions = tuple[Annotated[Extension, ShortForm("name")], ...]


class DuckdbSection(Entry, frozen=True, kw_only=True):
    """Where the catalog is, and what its sessions need."""

    is_section: ClassVar[bool] = True

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

    is_section: ClassVar[bool] = True

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

    is_section: ClassVar[bool] = True

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
