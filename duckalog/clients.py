"""How other tools open a catalog with its session applied; secrets only as names of variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from duckalog.attachments.ducklake import DucklakeAttachment
from duckalog.attachments.postgres import PostgresAttachment
from duckalog.attachments.sqlite import SqliteAttachment
from duckalog.config import Config
from duckalog.entry import Attachment, own_secret_name, variable_name
from duckalog.environment import PLACEHOLDER, Filled, Secret, names_a_credential
from duckalog.libpq import CONNECT_TIMEOUT_S
from duckalog.plan import ExtensionStep, Plan
from duckalog.redaction import Redactor
from duckalog.secrets import DuckdbSecret
from duckalog.sql import as_word, identifier, libpq_value

_SQLALCHEMY = """\
# Needs duckalog, and: pip install duckdb-engine 'sqlalchemy<2.1'
# (duckdb-engine 0.17 cannot inspect columns with SQLAlchemy 2.1)
import duckalog
from duckdb_engine import ConnectionWrapper
from sqlalchemy import create_engine

engine = create_engine(
    "duckdb:///:memory:",
    creator=lambda: ConnectionWrapper(duckalog.connect({arguments})),
)
"""


def sqlalchemy_recipe(plan: Plan, *, has_own_path: bool = False) -> str:
    """Return the Python lines that make an engine whose connections are `duckalog.connect`'s.

    They name the catalog's file if it `has_own_path`, which the config does not state.
    """
    arguments = repr(plan.file)
    if has_own_path:
        arguments += f", db_path={plan.database!r}"
    return _SQLALCHEMY.format(arguments=arguments)


def dbt_profile(config: Config, plan: Plan) -> str:
    """Return a profile for dbt-duckdb that attaches the catalog for reading, as YAML.

    dbt builds into a database of its own. What a profile has no place for is
    named in a comment.
    """
    import yaml

    extensions = [
        {"name": step.name, "repo": step.repository} if step.repository else step.name
        for step in plan.session
        if isinstance(step, ExtensionStep) and step.is_loaded
    ]
    output = {
        "type": "duckdb",
        "path": "dbt.duckdb",
        "extensions": extensions,
        "settings": {
            name: _value(setting.value, name) for name, setting in config.duckdb.settings.items()
        },
        "secrets": [*map(_declared_secret, config.duckdb.secrets), *_own_secrets(config)],
        "attach": [
            *map(_attachment, config.attachments),
            {"path": str(plan.database), "alias": as_word(plan.catalog_name), "read_only": True},
        ],
    }
    shown = {key: _shown(value, plan.redact) for key, value in output.items() if value}
    profile = {"duckalog": {"target": "dev", "outputs": {"dev": shown}}}
    comments = [f"# {line}\n" for line in _left_out(config)]
    text: str = yaml.safe_dump(profile, sort_keys=False, allow_unicode=True, width=10_000)
    return plan.redact("".join(comments) + text)


def _shown(value: Any, redact: Redactor) -> Any:
    """Return a value of the profile with its variables, where a number or a choice is filled."""
    if isinstance(value, dict):
        return {key: _shown(item, redact) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item, redact) for item in value]
    redacted = redact(str(value))
    return value if redacted == str(value) else _jinja(redacted)


def _left_out(config: Config) -> Iterator[str]:
    if config.duckdb.pragmas:
        yield "duckdb.pragmas have no place in a profile: run them in on-run-start."
    if config.iceberg_catalogs:
        names = ", ".join(catalog.name for catalog in config.iceberg_catalogs)
        yield f"Iceberg catalogs have no place in a profile, and views over them fail: {names}."


def _declared_secret(secret: DuckdbSecret) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": secret.kind, "name": as_word(secret.secret_name)}
    provider = getattr(secret, "provider", None)
    if provider:
        fields["provider"] = provider
    if secret.scope:
        scopes = [_value(scope, "scope") for scope in secret.scope]
        fields["scope"] = scopes[0] if len(scopes) == 1 else scopes
    if secret.persistent:
        fields["persistent"] = True
    for key, value in secret.stated():
        fields[key] = _value(value, f"{secret.secret_name}_{key}")
    return fields


def _own_secrets(config: Config) -> Iterator[dict[str, Any]]:
    """Yield the secrets of attachments that state their credentials themselves."""
    for one in config.attachments.postgres:
        if not one.secret_name:
            keys = ("host", "port", "database", "user", "password")
            yield {
                "type": "postgres",
                "name": own_secret_name("postgres", _word(one.alias)),
                **{
                    key: _value(getattr(one, key), f"{one.alias}_{key}")
                    for key in keys
                    if getattr(one, key) is not None
                },
            }


def _attachment(one: Attachment) -> dict[str, Any]:
    """Return an attachment as dbt-duckdb attaches it."""
    read_only = _value(one.read_only, "read_only")
    found: dict[str, Any] = {"path": "", "alias": as_word(one.alias), "read_only": read_only}
    options: dict[str, Any] = {}
    if isinstance(one, PostgresAttachment):
        parameters = {"connect_timeout": CONNECT_TIMEOUT_S, "sslmode": one.sslmode, **one.options}
        stated = {key: value for key, value in parameters.items() if value is not None}
        found["path"] = " ".join(
            f"{key}={libpq_value(str(_value(value, key)))}" for key, value in stated.items()
        )
        found["type"] = "postgres"
        own = own_secret_name("postgres", _word(one.alias))
        found["secret"] = as_word(one.secret_name) if one.secret_name else own
        options["schema"] = one.schema
    elif isinstance(one, DucklakeAttachment):
        prefix = "" if one.metadata == "duckdb" else f"{one.metadata}:"
        found["path"] = f"ducklake:{prefix}{_value(one.path or '', 'path')}"
        options["data_path"] = one.data_path
        options["metadata_schema"] = one.metadata_schema
        options["meta_secret"] = one.secret_name and identifier(one.secret_name)
        options["snapshot_version"] = one.snapshot_version
        options["snapshot_time"] = one.snapshot_time
    else:
        found["path"] = _value(getattr(one, "path", ""), "path")
        if isinstance(one, SqliteAttachment):
            found["type"] = "sqlite"
            options["busy_timeout"] = one.busy_timeout
    options = {key: _value(value, key) for key, value in options.items() if value is not None}
    return {**found, **({"options": options} if options else {})}


def _value(value: Any, variable: str) -> Any:
    """Return a value for a profile; secrets that the config states in clear are `variable`."""
    if isinstance(value, Mapping):
        return {key: _value(item, f"{variable}_{key}") for key, item in value.items()}
    if isinstance(value, Secret):
        return _jinja(value.template or f"${{env:{variable_name(variable)}}}")
    if isinstance(value, Filled):
        return _jinja(value.template)
    if isinstance(value, tuple | list):
        return [_value(item, variable) for item in value]
    # Paths are texts of a type of their own, for which YAML has no form; what is to be
    # a number is a text until it is filled.
    return _jinja(str(value)) if isinstance(value, str) else value


def _jinja(template: str) -> str:
    """Return a text with its placeholders as dbt has them."""

    def one(match: re.Match[str]) -> str:
        if match["escape"]:
            return match.group()[1:]
        if match["default"] is None or names_a_credential(template):
            return f"{{{{ env_var({match['name']!r}) }}}}"
        return f"{{{{ env_var({match['name']!r}, {match['default']!r}) }}}}"

    return PLACEHOLDER.sub(one, template)


def _word(name: str) -> str:
    return re.sub(r"\W", "_", name)
