"""Attached PostgreSQL databases.

Credentials travel in a DuckDB secret, as bound parameters; the ATTACH string
holds only what anyone may see, because DuckDB shows it in `duckdb_databases()`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated

import msgspec

from duckalog.decode import Unfit
from duckalog.entry import Attachment, bound, own_secret_name, shown_text
from duckalog.environment import Filled, Secret
from duckalog.errors import nearest
from duckalog.libpq import (
    CONNECT_TIMEOUT_S,
    DEFAULT_PORT,
    MAX_PORT,
    OPTIONS,
    PATHS,
    SECRETS,
    SslMode,
)
from duckalog.locations import absolute_path, is_relative, is_remote
from duckalog.sql import Bound, Spliced, Statement, identifier, libpq_value, literal
from duckalog.statements import attach, create_secret

Port = Annotated[int, msgspec.Meta(ge=1, le=MAX_PORT, description=f"a port from 1 to {MAX_PORT}")]


class PostgresAttachment(Attachment, frozen=True, kw_only=True):
    """A PostgreSQL database; `schema` attaches only one of its schemas.

    Either host, database and user, or the name of a declared `secret`.
    """

    kind = "postgres"

    host: str | None = None
    """The server's name or address. Example: `db.example`"""
    port: Port = DEFAULT_PORT
    """The server's port."""
    database: str | None = None
    """The database on the server. Example: `dw`"""
    user: str | None = None
    """The user to log in as. Example: `reader`"""
    password: Secret | None = None
    """The user's password; without one libpq looks in its passfile.
    Example: `${env:PG_PASSWORD}`"""
    secret_name: str | None = msgspec.field(default=None, name="secret")
    """The name of a `postgres` secret under `duckdb.secrets`, in place of host, database and user.
    Example: `dw_reader`"""
    sslmode: SslMode | None = None
    """Whether the connection is encrypted, and how the server's certificate is checked."""
    schema: str | None = None
    """Attach this schema only. Example: `public`"""
    options: dict[str, str | int | bool] = {}
    """Other parameters of libpq, by their names.
    Example: `{application_name: duckalog, connect_timeout: 5}`"""

    def __post_init__(self) -> None:
        own = {"host": self.host, "database": self.database, "user": self.user}
        if self.secret_name:
            stated = [key for key, value in own.items() if value is not None]
            if self.password:
                stated.append("password")
            if stated:
                raise Unfit(
                    f'"secret" and "{stated[0]}" exclude each other',
                    "The secret holds the connection; keep one of the two ways.",
                    (stated[0],),
                )
        else:
            for key, value in own.items():
                if not value:
                    raise Unfit(
                        f'the key "{key}" is missing',
                        "State host, database and user, or the name of a secret.",
                    )
        for name, option in self.options.items():
            is_path = name in PATHS and isinstance(option, str)
            if is_path and is_remote(self.origin.file) and is_relative(str(option)):
                message = "this has to be a file of this machine, and the config is not on it"
                raise Unfit(message, "Write the whole path.", ("options", name))
            if name not in OPTIONS:
                suggestion = nearest(name, OPTIONS)
                remedy = f"Parameters that libpq knows: {', '.join(sorted(OPTIONS))}"
                if name in SECRETS:
                    remedy = "Everyone can read these options: use the key password, or a passfile."
                raise Unfit(
                    f'"{name}" is not an option here', suggestion or remedy, ("options", name)
                )

    def extensions(self) -> Iterator[str]:
        """Yield `postgres_scanner`."""
        yield "postgres_scanner"

    def secret(self) -> Statement | None:
        """Return the CREATE SECRET, unless the attachment names a declared one."""
        if self.secret_name:
            return None
        fields: dict[str, str | Bound] = {}
        for key in ("host", "port", "database", "user", "password"):
            value = getattr(self, key)
            if value is not None:
                fields[key] = bound(value, f"{self.alias}_{key}", key)
        return create_secret(own_secret_name("postgres", self.alias), "postgres", fields)

    @property
    def default_schema(self) -> str:
        """The only schema that is attached, or PostgreSQL's own."""
        return self.schema or "public"

    def attach(self) -> Statement:
        """Return the ATTACH statement, its string with what is no secret."""
        parameters: dict[str, str | int | bool] = {"connect_timeout": CONNECT_TIMEOUT_S}
        if self.sslmode:
            parameters["sslmode"] = self.sslmode
        parameters.update(self._located_options())
        target = _conninfo(parameters, str)
        shown = _conninfo(parameters, shown_text)
        secret = self.secret_name or own_secret_name("postgres", self.alias)
        options: dict[str, str | Bound | Spliced] = {
            "type": "postgres",
            "secret": identifier(secret),
        }
        if self.schema:
            options["schema"] = bound(self.schema, f"{self.alias}_schema")
        return attach(
            literal(target) if shown == target else Spliced(literal(target), literal(shown)),
            self.alias,
            options,
            read_only=self.read_only,
        )

    def _located_options(self) -> Iterator[tuple[str, str | int | bool]]:
        """Yield the options; libpq would start their paths from the working directory."""
        folder = os.path.dirname(self.origin.file)
        for name, value in self.options.items():
            if name not in PATHS or not isinstance(value, str) or value in ("", "system"):
                yield name, value
                continue
            path = absolute_path(value, folder)
            yield name, Filled(path, value.template) if isinstance(value, Filled) else path

    @property
    def uses_secret(self) -> str | None:
        """The name of the declared secret, if the attachment names one."""
        return self.secret_name


def _conninfo(
    parameters: Mapping[str, str | int | bool], text_of: Callable[[str | int], str]
) -> str:
    """Return libpq's connection string of the parameters; libpq writes true as 1."""
    texts = {
        name: text_of(int(value) if isinstance(value, bool) else value)
        for name, value in parameters.items()
    }
    return " ".join(f"{name}={libpq_value(text)}" for name, text in texts.items())
