"""What does not go together in a config: names twice, unknown aliases, secrets in views."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

from duckalog.checks import names_of
from duckalog.config import MEMORY, OWN_DATABASES, Config, catalog_name
from duckalog.document import Data, Document
from duckalog.entry import (
    BOOKKEEPING_SCHEMA,
    MAIN_SCHEMA,
    Attachment,
    Check,
    Entry,
    View,
)
from duckalog.environment import (
    Secret,
    Use,
    is_unfilled,
    variables_in,
)
from duckalog.errors import MAX_PROBLEMS, KeyPath, Problem, nearest, sentences, shown_view
from duckalog.user_sql import regions_of

_SECTIONS = (
    ("duckdb", "secrets"),
    ("attachments",),
    ("iceberg_catalogs",),
)
"""Where the things are stated that others name."""


class Doubts(NamedTuple):
    """What cannot be judged of a config, because other problems may hide it.

    An entry that is wrong by itself is not in the config, and still is no unknown name:
    `names` are those that its files state in each section, and `is_complete` says whether
    all that they state was seen. Without `has_database` the catalog's name is not known.
    """

    names: frozenset[tuple[str, str]] = frozenset()
    is_complete: bool = True
    has_database: bool = True

    def may_have(self, section: str, name: str) -> bool:
        """Say whether a name may be known in a section after all."""
        return not self.is_complete or (section, name.lower()) in self.names


NO_DOUBTS = Doubts()


def doubts(documents: Iterable[Document], problems: Iterable[Problem]) -> Doubts:
    """Return what the problems that were found may have hidden."""
    paths = [problem.origin.path for problem in problems]
    if not paths:
        return NO_DOUBTS
    names = frozenset(
        (section[-1], name.lower())
        for document in documents
        for section in _SECTIONS
        for name in _names_in(_at(document.data, section))
    )
    known = ("duckdb", "attachments", "iceberg_catalogs", "views", "version")
    return Doubts(
        names,
        is_complete=not (
            any("${" in name for _, name in names)
            or any(path[:1] == () or path[0] not in known for path in paths)
            or any(_is_whole_section(path) for path in paths)
        ),
        has_database=("duckdb",) not in paths and ("duckdb", "database") not in paths,
    )


def _is_whole_section(path: KeyPath) -> bool:
    """Say whether a problem is with a section and not with one thing in it."""
    is_named = any(path[: len(section)] == section[: len(path)] for section in _SECTIONS)
    return is_named and not any(isinstance(key, int) for key in path)


def _at(data: Data, path: KeyPath) -> Data:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _names_in(data: Data) -> Iterator[str]:
    if isinstance(data, list):
        for item in data:
            yield from _names_in(item)
    elif isinstance(data, dict):
        for key, item in data.items():
            if key in ("alias", "name") and isinstance(item, str):
                yield item
            elif isinstance(item, list):
                yield from _names_in(item)


def check(config: Config, in_doubt: Doubts = NO_DOUBTS) -> list[Problem]:
    """Return what does not go together in a config: names twice, unknown aliases and the like.

    What is `in_doubt` is not called unknown.
    """
    found = [
        _names_twice(config),
        _unknown_databases(config, in_doubt),
        _unknown_secrets(config, in_doubt),
        _checks_twice(config),
    ]
    if in_doubt.has_database:
        found += [_aliases(config), _schemas(config), _own_file(config)]
    return list(islice(chain.from_iterable(found), MAX_PROBLEMS))


def _names_twice(config: Config) -> Iterator[Problem]:
    yield from _twice(
        config,
        ((f"{view.schema}.{view.name}", view) for view in config.views),
        lambda view: f'view called "{shown_view(view.schema, view.name)}"',
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


def _checks_twice(config: Config) -> Iterator[Problem]:
    """Yield the checks of a view whose names are the same."""
    for view in config.views:
        if not view.checks:
            continue
        seen: dict[str, Check] = {}
        for check, name in zip(view.checks, names_of(view.checks), strict=True):
            first = seen.setdefault(name.lower(), check)
            if first is not check:
                origin = config.at(check, *(("name",) if check.name else ()))
                message = f'there is a check called "{name}" already, at {first.origin.location}'
                remedy = (
                    "Give one of them another name."
                    if check.name or first.name
                    else "They check the same. Keep one of them."
                )
                yield Problem(origin, message, remedy, shown_view(view.schema, view.name))


def _name_key(entry: Entry) -> str:
    return "alias" if isinstance(entry, Attachment) else "name"


def _alias(database: Any) -> str:
    return str(database.alias if isinstance(database, Attachment) else database.name)


_OWN_SCHEMAS = ("information_schema", "pg_catalog", "temp", BOOKKEEPING_SCHEMA)


def _aliases(config: Config) -> Iterator[Problem]:
    """Yield the databases whose alias means something else to DuckDB."""
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


def _own_file(config: Config) -> Iterator[Problem]:
    if config.database == MEMORY:
        return
    own = os.path.realpath(config.database)
    for attachment in config.attachments:
        if attachment.file is not None and os.path.realpath(attachment.file) == own:
            origin = config.at(attachment, "path")
            message = "this is the catalog's own file"
            remedy = "Its views read each other without an attachment. Take it away."
            yield Problem(origin, message, remedy, attachment.alias)


def _schemas(config: Config) -> Iterator[Problem]:
    """Yield the views in schemas that DuckDB, or duckalog, keeps for itself."""
    own = catalog_name(config.database).lower()
    for view in config.views:
        if view.schema.lower() in _OWN_SCHEMAS:
            message = f'the schema "{view.schema}" is reserved'
            yield Problem(config.at(view, "schema"), message, "Choose another schema.")
        elif view.schema.lower() == own:
            message = f'the schema "{view.schema}" has the name of the catalog itself'
            remedy = "DuckDB cannot tell them apart. Rename it, or the file at duckdb.database."
            yield Problem(config.at(view, "schema"), message, remedy)


def _unknown_databases(config: Config, in_doubt: Doubts) -> Iterator[Problem]:
    """Yield the views over a database that is not declared, or is of another kind."""
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
        if found is None and (is_unfilled(alias) or in_doubt.may_have(section, alias)):
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


def _unknown_secrets(config: Config, in_doubt: Doubts) -> Iterator[Problem]:
    """Yield the databases whose secret is not declared, or is of another type."""
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
        if secret is None and (is_unfilled(name) or in_doubt.may_have("secrets", name)):
            continue
        if secret is None:
            names = [one.secret_name for one in config.duckdb.secrets]
            remedy = sentences(nearest(name, names), "add it under duckdb.secrets.")
            yield Problem(origin, f'no secret is called "{name}"', remedy)
        elif secret.kind != expected:
            message = f'the secret "{name}" is of type {secret.kind}, and this takes {expected}'
            yield Problem(origin, message)


def secrets_in_views(
    config: Config, uses: Iterable[Use], secrets: Iterable[Secret]
) -> Iterator[Problem]:
    """Yield where a credential would be stored in the catalog file, inside a view."""
    uses, secrets = list(uses), list(secrets)
    credentials = {name for secret in secrets for name in variables_in(secret.template)}
    credentials |= {
        use.name for use in uses if use.is_credential and use.origin.path[:1] != ("views",)
    }
    filled_in = set()
    for use in uses:
        if use.origin.path[:1] == ("views",) and (use.name in credentials or use.is_credential):
            filled_in.add((use.origin.file, use.origin.path[:2]))
            is_check = "checks" in use.origin.path
            fate = "checks are shown" if is_check else "views are stored in the catalog file"
            message = f"{use.name} is a credential, and {fate} in clear"
            remedy = (
                "Put it in a secret under duckdb.secrets, which DuckDB finds by its scope; "
                "sessions make it anew from the environment."
            )
            yield Problem(use.origin, message, remedy)
    stated = [one.reveal() for one in secrets if not one.template]
    filled = [use.value for use in uses if use.name in credentials and not use.is_default]
    for view in _with_any(_long(stated), _long(filled), config.views):
        if (view.origin.file, view.origin.path[:2]) not in filled_in:
            message = "this view has a credential in it, and it is stored in the catalog in clear"
            remedy = "DuckDB finds secrets by their scope: leave it out of the query."
            yield Problem(view.origin, message, remedy, view.name)


_SURELY_MEANT = 8
"""Characters from which on a text that equals a credential is no coincidence."""


def _long(values: Iterable[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if len(value) >= _SURELY_MEANT]


def _with_any(stated: list[str], filled: list[str], views: Iterable[View]) -> Iterator[View]:
    """Yield the views whose SQL has a credential: a filled one in quotes only.

    The password "password" of a test is no column of that name.
    """
    if not stated and not filled:
        return
    for view in views:
        query = view.query()
        is_filled = any(value in query for value in map(_in_quotes, filled)) and any(
            value in piece
            for kind, piece in regions_of(query)
            if kind in ("string", "dollar")
            for value in map(_in_quotes, filled)
        )
        if is_filled or any(value in query for value in stated):
            yield view


def _in_quotes(value: str) -> str:
    return value.replace("'", "''")
