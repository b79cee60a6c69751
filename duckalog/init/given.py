"""Attachments that are given as `alias=path` or `alias=DSN`, as the config states them."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from duckalog.entry import variable_name
from duckalog.errors import ConfigError
from duckalog.init.rendering import Place, Template
from duckalog.libpq import OPTIONS
from duckalog.locations import is_remote

_SQLITE_MAGIC = b"SQLite format 3\0"
_CONNINFO = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?!')(?:[^\s\\]|\\.)*))\s*")
_FORMS = (
    "Write alias=file.duckdb, alias=file.db, alias=ducklake:meta.ducklake or alias=postgres://…"
)


class Given(NamedTuple):
    """An attachment that the user told of; `variables` fill its placeholders for a trial.

    `left_out` is how many parameters of its DSN have no place in a config: their names
    may be parts of a password whose quotes were forgotten.
    """

    alias: str
    kind: str
    data: dict[str, Any]
    variables: dict[str, str]
    left_out: int = 0


def given_attachment(text: str) -> Given:
    """Return what `alias=place` means; raises ConfigError, which never shows a password."""
    alias, separator, place = text.partition("=")
    if not separator or not alias.strip() or not place.strip():
        raise ConfigError("an attachment is given as alias=place", _FORMS)
    alias, place = alias.strip(), place.strip()
    if place.startswith(("postgres://", "postgresql://")):
        return _postgres(alias, _of_url(alias, place))
    if re.match(r"\w+\s*=", place) and not os.path.exists(place):
        return _postgres(alias, _of_conninfo(alias, place))
    for prefix, kind in (("ducklake:", "ducklake"), ("sqlite:", "sqlite"), ("duckdb:", "duckdb")):
        if place.startswith(prefix):
            return _file(alias, kind, place.removeprefix(prefix))
    return _file(alias, "", place)


def _file(alias: str, kind: str, place: str) -> Given:
    if is_remote(place):
        if re.search(r"://[^/]*@|\?", place):
            raise ConfigError(f'the URL of "{alias}" may hold a credential', "Give it without one.")
        return Given(alias, kind or "duckdb", {"alias": alias, "path": Place(place)}, {})
    path = os.path.abspath(os.path.expanduser(place))
    if not os.path.isfile(path):
        raise ConfigError(f'there is no file "{place}" to attach as "{alias}"', _FORMS)
    return Given(alias, kind or kind_of_file(path), {"alias": alias, "path": Place(path)}, {})


def kind_of_file(path: str) -> str:
    """Return `sqlite` or `duckdb`, as the first bytes of a file say."""
    with open(path, "rb") as opened:
        return "sqlite" if opened.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC else "duckdb"


def _of_url(alias: str, place: str) -> dict[str, str]:
    try:
        url = urlsplit(place)
        found = {"host": url.hostname, "port": str(url.port or ""), "user": url.username}
        found |= {"password": url.password, "dbname": url.path.lstrip("/")}
    except ValueError:
        found = {}
    if not found:
        raise ConfigError(f'the URL of "{alias}" cannot be read', _FORMS)
    return {key: unquote(value) for key, value in found.items() if value} | dict(
        parse_qsl(url.query)
    )


def _of_conninfo(alias: str, place: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while position < len(place):
        match = _CONNINFO.match(place, position)
        if match is None or match.end() == position:
            raise ConfigError(f'the connection string of "{alias}" cannot be read', _FORMS)
        value = match[2] if match[2] is not None else match[3]
        found[match[1]] = re.sub(r"\\(.)", r"\1", value)
        position = match.end()
    return found


def _postgres(alias: str, parameters: dict[str, str]) -> Given:
    """Return a Postgres attachment; a password becomes a placeholder."""
    stated = dict(parameters)
    data: dict[str, Any] = {"alias": alias, "host": stated.pop("host", "localhost")}
    if port := stated.pop("port", ""):
        data["port"] = int(port) if port.isdigit() else port
    variables: dict[str, str] = {}
    data["database"] = stated.pop("dbname", None) or stated.get("user", "postgres")
    data["user"] = stated.pop("user", "postgres")
    if (password := stated.pop("password", None)) is not None:
        name = f"{variable_name(alias) or 'POSTGRES'}_PASSWORD"
        name = name if name[0].isalpha() else f"PG_{name}"
        data["password"] = Template(f"${{env:{name}}}")
        variables[name] = password
    if sslmode := stated.pop("sslmode", ""):
        data["sslmode"] = sslmode
    options = {key: value for key, value in stated.items() if key in OPTIONS}
    if options:
        data["options"] = options
    return Given(alias, "postgres", data, variables, len(stated.keys() - OPTIONS))
