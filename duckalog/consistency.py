"""What does not go together in a config: names twice, unknown aliases, secrets in views."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from duckalog.config import OWN_DATABASES, Config, catalog_name
from duckalog.entry import (
    BOOKKEEPING_SCHEMA,
    MAIN_SCHEMA,
    Attachment,
    Entry,
    View,
)
from duckalog.environment import (
    Secret,
    Use,
    variables_in,
)
from duckalog.errors import MAX_PROBLEMS, Problem, nearest, sentences

SECTIONS = ("duckdb", "attachments", "iceberg_catalogs")
"""The sections whose entries are named in others."""


def check(config: Config, in_doubt: Container[str] = ()) -> list[Problem]:
    """Return what does not go together in a config: names twice, unknown aliases and the like.

    A name is not called unknown where its section is `in_doubt`: something else
    is wrong there, which may have hidden it.
    """
    found = [_names_twice(config), _unknown_databases(config, in_doubt)]
    if "duckdb" not in in_doubt:
        found += [_aliases(config), _schemas(config), _unknown_secrets(config)]
    return list(islice(chain.from_iterable(found), MAX_PROBLEMS))


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


_OWN_SCHEMAS = ("information_schema", "pg_catalog", "temp", BOOKKEEPING_SCHEMA)


def _aliases(config: Config) -> Iterator[Problem]:
    own = catalog_name(config.database).lower()
    schemas = {view.schema.lower(): view for view in config.views}
    databases: list[Any] = [*config.attachments, *config.iceberg_catalogs]
    for database in databases:
        alias = _alias(database)
        origin = config.at(database, _name_key(database))
        if alias.lower() in OWN_DATABASES:
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


def _unknown_databases(config: Config, in_doubt: Container[str]) -> Iterator[Problem]:
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
        section = "iceberg_catalogs" if is_catalog else "attachments"
        if found is None and section in in_doubt:
            continue
        if found is None:
            noun = "catalog" if is_catalog else "attachment"
            names = [_alias(one) for one in known.values()]
            listed = f"{noun}s here: {', '.join(names)}." if names else f"there are no {noun}s."
            remedy = sentences(
                nearest(alias, names), listed, f"rename it, or add it under {section}."
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
        if use.origin.path[:1] == ("views",) and (use.name in credentials or use.is_credential):
            message = (
                f"{use.name} is a credential, and views are stored in the catalog file in clear"
            )
            remedy = (
                "Put it in a secret under duckdb.secrets, which DuckDB finds by its scope; "
                "sessions make it anew from the environment."
            )
            yield Problem(use.origin, message, remedy)
