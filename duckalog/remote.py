"""Configs and queries that are not on this machine, read through DuckDB.

Nothing here is imported, and DuckDB is not, until a URL is to be read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from duckalog.document import MAX_BYTES, text_of, too_large
from duckalog.errors import ConfigError, Origin, Problem, without_credentials
from duckalog.extensions import obtain_extension, remedy_for
from duckalog.redaction import HIDDEN, Redactor
from duckalog.sql import Bound, Statement, literal
from duckalog.statements import create_secret, set_option

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("duckalog.remote")

SCHEMES = ("http", "https", "s3")
_LIMITS = {"http_timeout": 10, "http_retries": 1}
_KEYS = {
    "key_id": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_SHORTEST_CREDENTIAL = 4
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


class RemoteFiles:
    """Reads URLs; S3's credentials are those of the AWS SDK, `environment` before its chain."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self._opened: DuckDBPyConnection | None = None
        self._is_logged_in = False

    def text(self, url: str) -> str:
        """Return the text at a URL; raises ConfigError."""
        _refuse_scheme(url)
        found = self._ask("SELECT size FROM read_blob($1)", url)
        if found and found[0][0] > MAX_BYTES:
            raise ConfigError(too_large(without_credentials(url)))
        found = self._ask("SELECT content FROM read_blob($1)", url)
        if len(found) != 1:
            raise ConfigError(Problem(Origin(without_credentials(url)), "there is no such file"))
        return text_of(bytes(found[0][0]), without_credentials(url))

    def matching(self, pattern: str) -> list[str]:
        """Return the URLs that match a pattern, in order; raises ConfigError."""
        _refuse_scheme(pattern)
        if not pattern.startswith("s3://"):
            shown = without_credentials(pattern)
            message = f'"{shown}" is a pattern, and nobody lists files over HTTP'
            raise ConfigError(Problem(Origin(shown), message, "Name each file."))
        return sorted(row[0] for row in self._ask("SELECT file FROM glob($1)", pattern))

    def close(self) -> None:
        """Let DuckDB go, if it was needed."""
        if self._opened is not None:
            self._opened.close()

    def _ask(self, query: str, url: str) -> list[tuple[Any, ...]]:
        import duckdb

        shown = without_credentials(url)
        try:
            return self._connected(url).execute(query, [url]).fetchall()
        except duckdb.Error as error:
            reason = _redactor(url)(str(error).replace(url, shown)).strip()
        raise ConfigError(Problem(Origin(shown), "the file cannot be read", cause=reason))

    def _connected(self, url: str) -> DuckDBPyConnection:
        if self._opened is None:
            self._opened = _open(Origin(without_credentials(url)))
        if url.startswith("s3://") and not self._is_logged_in:
            self._is_logged_in = True
            self._log_in(self._opened)
        return self._opened

    def _log_in(self, connection: DuckDBPyConnection) -> None:
        """Make a secret of the environment's credentials, else of what the AWS SDK finds."""
        import duckdb

        fields: dict[str, str | Bound] = {
            key: Bound(value, literal(HIDDEN))
            for key, name in _KEYS.items()
            if (value := self.environment.get(name))
        }
        if not fields:
            fields["provider"] = "credential_chain"
        fields |= self._place()
        try:
            if "provider" in fields:
                obtain_extension(connection, "aws", _execute)
            _execute(connection, create_secret("config", "s3", fields))
        except duckdb.Error as error:  # the bucket may be public
            logger.debug("no credentials for S3: %s", str(error).partition("\n")[0])

    def _place(self) -> dict[str, str | Bound]:
        """Return where S3 is, if the environment says so."""
        region = next(filter(None, map(self.environment.get, _REGIONS)), None)
        endpoint = next(filter(None, map(self.environment.get, _ENDPOINTS)), None)
        place: dict[str, str | Bound] = {"region": literal(region)} if region else {}
        if endpoint:
            scheme, _, host = endpoint.rstrip("/").partition("://")
            place["endpoint"] = literal(host)
            place["url_style"] = literal("path")
            place["use_ssl"] = literal(scheme != "http")
        return place


def _open(asked_for: Origin) -> DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        obtain_extension(connection, "httpfs", _execute)
        for name, value in _LIMITS.items():
            _execute(connection, set_option(name, literal(value)))
        return connection
    except duckdb.Error as error:
        cause = str(error)
    message = 'the extension "httpfs" cannot be had'
    raise ConfigError(Problem(asked_for, message, remedy_for("httpfs"), cause=cause))


def _execute(connection: DuckDBPyConnection, statement: Statement) -> None:
    connection.execute(statement.text, statement.values or None)


def _refuse_scheme(url: str) -> None:
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        shown = without_credentials(url)
        message = f'a config cannot be read from "{scheme}"'
        raise ConfigError(Problem(Origin(shown), message, f"It can from {', '.join(SCHEMES)}."))


def _redactor(url: str) -> Redactor:
    """Return what hides the login and the parameters of a URL."""
    place, _, query = url.partition("?")
    login = place.partition("://")[2].partition("/")[0].rpartition("@")[0]
    parts = [*login.split(":"), *(one.partition("=")[2] for one in query.split("&"))]
    return Redactor({part: HIDDEN for part in parts if len(part) >= _SHORTEST_CREDENTIAL})
