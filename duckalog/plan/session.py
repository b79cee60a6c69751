"""The session steps: what every connection to the catalog needs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from duckalog.config import Config, Setting
from duckalog.entry import (
    Attachment,
    Catalog,
    View,
    bound,
    extension_of,
    shown_text,
)
from duckalog.environment import PLACEHOLDER, Filled, shell_expression
from duckalog.errors import NOWHERE, Origin
from duckalog.locations import absolute_path, is_remote
from duckalog.plan.steps import DatabaseStep, ExtensionStep, Step
from duckalog.references import Reading
from duckalog.secrets import DuckdbSecret
from duckalog.sql import Spliced, Statement, ended, statement
from duckalog.statements import install, load, set_option
from duckalog.user_sql import with_expressions

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
_EXTENSION_OF_SETTING = {
    "azure_": "azure",
    "ca_cert_file": "httpfs",
    "delta_": "delta",
    "ducklake_": "ducklake",
    "enable_server_cert_verification": "httpfs",
    "force_download": "httpfs",
    "hf_": "httpfs",
    "http_keep_alive": "httpfs",
    "http_retr": "httpfs",
    "http_timeout": "httpfs",
    "httpfs_": "httpfs",
    "iceberg_": "iceberg",
    "mysql_": "mysql_scanner",
    "pg_": "postgres_scanner",
    "s3_": "httpfs",
    "sqlite_": "sqlite_scanner",
    "unsafe_disable_etag_checks": "httpfs",
    "unsafe_enable_version_guessing": "iceberg",
}
"""The extension that knows a setting, by the name's beginning (1.5.5: duckdb_settings())."""
_NAME_OF_SETTING = re.compile(
    r"\s*(?:SET|PRAGMA)\s+(?:GLOBAL\s+|SESSION\s+|LOCAL\s+)?\"?(\w+)", re.IGNORECASE
)
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


def session_steps(config: Config, readings: Iterable[tuple[Origin, Reading]]) -> Iterator[Step]:
    """Yield the steps of the session half, in the order they run.

    With each reading of a query of the config stands where it is stated. A value
    that is a secret in one place is shown in none: ATTACH, for one, takes no bound
    values.
    """
    for step in _steps(config, readings):
        yield step.shown_by(config.redact.credentials)


def _steps(config: Config, readings: Iterable[tuple[Origin, Reading]]) -> Iterator[Step]:
    """Yield the steps with their statements as they are."""
    settings = [(step.name.lower() in _OF_INSTALLING, step) for step in _setting_steps(config)]
    yield from (step for is_of_installing, step in settings if is_of_installing)
    yield from _extension_steps(config, readings)
    yield from (step for is_of_installing, step in settings if not is_of_installing)
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
    text = ended(sql.strip().rstrip(";"))
    if not isinstance(sql, Filled):
        return statement(text)
    template = ended(sql.template.strip().rstrip(";"))
    return statement(Spliced(text, with_expressions(template, PLACEHOLDER, shell_expression)))


def _setting_steps(config: Config) -> Iterator[Step]:
    for name, setting in config.duckdb.settings.items():
        yield Step(
            kind="setting",
            name=name,
            statements=(set_option(name, bound(_located(name, setting), name)),),
            origin=setting.origin,
        )


_PATH_SETTINGS = frozenset(
    """
    allowed_directories allowed_paths ca_cert_file extension_directories extension_directory
    home_directory log_query_path profile_output profiling_output secret_directory temp_directory
    """.split()
)
"""Settings of DuckDB whose value is a path, or a list of paths."""


_OF_INSTALLING = frozenset(
    """
    allow_community_extensions autoinstall_extension_repository custom_extension_repository
    extension_directories extension_directory home_directory http_proxy http_proxy_password
    http_proxy_username
    """.split()
)
"""Settings that say how extensions are had: the others may be an extension's own."""


def _located(name: str, setting: Setting) -> object:
    """Return a setting's value; a relative path starts from the file that states it."""
    if name.lower() == "file_search_path" and isinstance(setting.value, str):
        return ",".join(str(_from_file(one, setting)) for one in setting.value.split(","))
    if name.lower() not in _PATH_SETTINGS:
        return setting.value
    if isinstance(setting.value, list):
        return [_from_file(one, setting) for one in setting.value]
    return _from_file(setting.value, setting)


def _from_file(path: Any, setting: Setting) -> object:
    if not isinstance(path, str) or not path or is_remote(path):
        return path
    located = absolute_path(path, os.path.dirname(setting.origin.file))
    return Filled(located, path.template) if isinstance(path, Filled) else located


_A_BUILD = "1 hour"
"""For how long an Iceberg catalog keeps what it hears of a table, in a session that builds."""


def _database_step(
    kind: Literal["attachment", "catalog"],
    name: str,
    database_type: str,
    database: Attachment | Catalog,
) -> DatabaseStep:
    secret = database.secret()
    keeping = database.attach(kept_for=_A_BUILD) if isinstance(database, Catalog) else None
    needs = _extension_keys(database.extensions())
    if database.uses_secret:
        needs = (*needs, f"secret:{database.uses_secret}")
    return DatabaseStep(
        kind=kind,
        name=name,
        statements=(*((secret,) if secret else ()), database.attach()),
        attach_keeping=keeping,
        needs=needs,
        origin=database.origin,
        database_type=database_type,
        file=getattr(database, "file", None),
        default_schema=getattr(database, "default_schema", None),
    )


def _extension_steps(
    config: Config, readings: Iterable[tuple[Origin, Reading]]
) -> Iterator[ExtensionStep]:
    """Yield each extension once: those that the config lists, then those that its parts need."""
    section = config.duckdb
    listed = {_canonical(one.name): one.origin for one in section.load_extensions}
    only_installed = {
        name: one.origin
        for one in section.install_extensions
        if (name := _canonical(one.name)) not in listed
    }
    needed = [*listed.items(), *_needed_extensions(config, readings)]
    loaded = _with_needed(needed)
    repositories = {
        _canonical(one.name): one.repository or ""
        for one in (*section.load_extensions, *section.install_extensions)
    }
    origins = {**loaded, **only_installed, **listed}
    for name in (*(one for one in only_installed if one not in loaded), *loaded):
        repository = repositories.get(name, "")
        is_loaded = name in loaded
        yield ExtensionStep(
            kind="extension",
            name=name,
            statements=(
                install(name, repository, shown_text(repository)),
                *((load(name),) if is_loaded else ()),
            ),
            origin=origins[name],
            repository=repository,
            is_loaded=is_loaded,
        )


def _needed_extensions(
    config: Config, readings: Iterable[tuple[Origin, Reading]]
) -> Iterator[tuple[str, Origin]]:
    """Yield the extensions that the parts of a config need, each with the part's place."""
    section = config.duckdb
    for part in _parts(config):
        yield from ((name, part.origin) for name in part.extensions())
    settings = [(name, setting.origin) for name, setting in section.settings.items()]
    settings += [
        (match[1], one.origin)
        for one in section.pragmas
        if (match := _NAME_OF_SETTING.match(one.sql))
    ]
    for name, origin in settings:
        for beginning, extension in _EXTENSION_OF_SETTING.items():
            if name.lower().startswith(beginning):
                yield extension, origin
    for origin, reading in readings:
        for function in sorted(reading.functions & _EXTENSION_OF_FUNCTION.keys()):
            yield _EXTENSION_OF_FUNCTION[function], origin
        for url in sorted(reading.urls):
            yield from ((name, origin) for name in extension_of(url))


def _parts(config: Config) -> Iterator[View | Attachment | Catalog | DuckdbSecret]:
    yield from config.duckdb.secrets
    yield from config.attachments
    yield from config.iceberg_catalogs
    yield from config.views


def _with_needed(named: Iterable[tuple[str, Origin]]) -> dict[str, Origin]:
    """Return extensions, each once and after those that it loads itself, with their places."""
    ordered: dict[str, Origin] = {}
    for name, origin in named:
        for needed in _NEEDED_BY_EXTENSION.get(name, ()):
            ordered.setdefault(needed, origin)
        ordered.setdefault(name, origin)
    return ordered


def _extension_keys(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"extension:{name}" for name in _with_needed((one, NOWHERE) for one in names))


def _canonical(name: str) -> str:
    return _NAMES_OF_EXTENSIONS.get(name.lower(), name.lower())
