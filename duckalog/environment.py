"""Environment variables in a document: `${env:NAME}` and `${env:NAME:default}`.

The only file that reads the environment: after parsing, before validation.
What it filled in is remembered, so that everything shown later can be redacted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from duckalog.document import Data, Document, unfit_text
from duckalog.errors import (
    ConfigError,
    KeyPath,
    Origin,
    Problem,
    Problems,
    nearest,
    sentences,
    shown,
)
from duckalog.redaction import (
    HIDDEN,
    SHORTEST_IN_SQL,
    SHORTEST_SECRET,
    Redactor,
    looks_secret,
    worth_hiding,
)
from duckalog.sql import environment_expression
from duckalog.user_sql import replace_in_sql

PLACEHOLDER = re.compile(
    r"(?P<escape>\$\$\{\s*(?i:env)\b)"
    r"|\$\{env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}$]*(?:\$(?!\{)[^}$]*)*))?\}"
)
_ASSIGNED = re.compile(r"\b(\w+)=\$\{env:(\w+)")
_LOGIN = re.compile(r"://[^/\s'\"]*@")
_LOOKS_LIKE_ONE = re.compile(r"\$\{\s*env\b[^}]*\}?", re.IGNORECASE)
_START = re.compile(r"\$\{\s*env\b", re.IGNORECASE)
SQL_TEXTS: tuple[tuple[str, ...], ...] = (
    ("duckdb", "pragmas"),
    ("views", "sql"),
    ("views", "checks", "sql"),
    ("views", "checks", "expression"),
)
"""Key paths, without list positions, of the texts that are SQL: values stay data in them."""

LOCATIONS: tuple[tuple[str, ...], ...] = (
    ("views",),
    ("imports",),
    ("duckdb", "database"),
    ("duckdb", "extension_directory"),
    ("duckdb", "secrets", "scope"),
    ("attachments", "duckdb", "path"),
    ("attachments", "sqlite", "path"),
    ("attachments", "ducklake", "path"),
    ("attachments", "ducklake", "data_path"),
    ("attachments", "postgres", "options"),
    ("iceberg_catalogs", "uri"),
    ("iceberg_catalogs", "warehouse"),
)
"""Key paths whose values are places and not credentials; all other values are taken for secret."""

_SECRETS = (("duckdb", "secrets"),)


class Filled(str):
    """A text with environment variables filled in; `template` is how the file has it."""

    __slots__ = ("template",)
    template: str

    def __new__(cls, value: str, template: str) -> Filled:
        filled = super().__new__(cls, value)
        filled.template = template
        return filled

    def __repr__(self) -> str:
        return repr(self.template)


class Secret:
    """A value that is never shown: `reveal()` is the only way to it."""

    __slots__ = ("_value", "template")

    def __init__(self, value: str, template: str = "") -> None:
        self._value = value
        self.template = template

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.template or HIDDEN})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


class Use(NamedTuple):
    """A placeholder that was filled: which variable, where, and with what."""

    name: str
    value: str
    origin: Origin
    is_default: bool
    template: str

    @property
    def is_secret(self) -> bool:
        """Say whether the value must not be shown: by its name, or by where it stands."""
        if self.is_credential:
            return True
        return not self.is_default and not _is_under(self.origin.path, LOCATIONS)

    @property
    def is_credential(self) -> bool:
        """Say whether the variable, or the key or setting that it fills, is named like one."""
        keys = self.origin.path[2:] if _is_under(self.origin.path, _SECRETS) else self.origin.path
        names = [self.name, *(key for key in keys if isinstance(key, str))]
        template = _template(self.template)
        names += template.assigned.get(self.name, ())
        if _is_under(self.origin.path, (("duckdb", "pragmas"),)):
            names += template.words
        return self.name in template.logins or any(looks_secret(name) for name in names)


class _Template(NamedTuple):
    """What a text says of its variables: the names before `=`, and those before a URL's @."""

    assigned: Mapping[str, Sequence[str]]
    logins: frozenset[str]
    words: Sequence[str]


@lru_cache(maxsize=8)
def _template(template: str) -> _Template:
    """Return what a text says of all its variables, which may be many."""
    assigned: dict[str, list[str]] = {}
    for key, name in _ASSIGNED.findall(template):
        assigned.setdefault(name, []).append(key)
    logins = frozenset(name for login in _LOGIN.findall(template) for name in variables_in(login))
    return _Template(assigned, logins, re.findall(r"\w+", template))


def is_filled(text: str) -> bool:
    """Say whether a text comes from the environment, or still has to."""
    return isinstance(text, Filled) or bool(PLACEHOLDER.search(text))


def is_unfilled(value: object) -> bool:
    """Say whether a value is a text that still has to be filled."""
    is_text = isinstance(value, str) and not isinstance(value, Filled)
    return is_text and bool(PLACEHOLDER.search(str(value)))


def read_environment(env_file: str | os.PathLike[str] | None = None) -> Mapping[str, str]:
    """Return the process's environment, and below it the variables of `env_file`.

    Nothing is written to the process's environment. Raises ConfigError where
    the file cannot be read.
    """
    if env_file is None:
        return os.environ
    from dotenv.parser import parse_stream

    file = os.path.abspath(os.fspath(env_file))
    try:
        with open(file, encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
    else:
        broken = [binding.original.line for binding in bindings if binding.error]
        if not broken:
            stated = {one.key: one.value or "" for one in bindings if one.key is not None}
            return {**stated, **os.environ}
        remedy = "Write NAME=value, the value in quotes if it has spaces or quotes."
        raise ConfigError(
            Problem(Origin(file, line), "this line is not NAME=value", remedy) for line in broken
        )
    # Outside of the handler: Python's own error holds the whole text.
    raise ConfigError(Problem(Origin(file), f"the env file cannot be read: {reason}"))


class Lenient(dict[str, str]):
    """An environment for those who only look: a variable that is not set is its own placeholder."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return a variable's value, else the default, else its own placeholder."""
        value = super().get(name, default)
        return f"${{env:{name}}}" if value is None else value


def fill(
    document: Document, environment: Mapping[str, str] | None
) -> tuple[Data, list[Use], list[Problem]]:
    """Return the document's data with its placeholders filled, their uses, and every problem.

    Filled texts are `Filled`. Without an environment the placeholders stay as
    they are, and only malformed ones are problems.
    """
    if not _has_placeholder(document.data):
        return document.data, [], []
    filler = _Filler(document.origin, environment)
    return filler.data(document.data, ()), filler.uses, filler.problems


def fill_text(
    text: str, origin: Origin, environment: Mapping[str, str] | None, *, is_sql: bool = True
) -> tuple[str, list[Use], list[Problem]]:
    """Return a text with its placeholders filled: SQL from a file of its own, as data."""
    filler = _Filler(lambda _path: origin, environment)
    return filler.text(text, origin.path, is_sql=is_sql), filler.uses, filler.problems


class _Filler:
    def __init__(
        self, locate: Callable[[KeyPath], Origin], environment: Mapping[str, str] | None
    ) -> None:
        self.locate = locate
        self.environment = environment
        self.uses: list[Use] = []
        self.problems = Problems()

    def data(self, data: Data, path: KeyPath) -> Data:
        if isinstance(data, str):
            if "${" not in data:
                return data
            return self.text(data, path, is_sql=_is_under(path, SQL_TEXTS))
        if isinstance(data, list):
            return [self.data(item, (*path, index)) for index, item in enumerate(data)]
        if isinstance(data, dict):
            return {key: self.data(item, (*path, key)) for key, item in data.items()}
        return data

    def text(self, text: str, path: KeyPath, *, is_sql: bool) -> str:
        malformed = _malformed(text)
        if malformed:
            message = f'"{shown(malformed)}" is not a placeholder'
            remedy = "Write ${env:NAME}, or ${env:NAME:default}; $${env:NAME} is the text itself."
            self.problems.append(Problem(self.locate(path), message, remedy))
            return text
        if self.environment is None or not PLACEHOLDER.search(text):
            return text

        told = len(self.problems)
        first = len(self.uses)
        values = iter([self._value(match, path, text) for match in PLACEHOLDER.finditer(text)])
        self.uses[first:] = dict.fromkeys(self.uses[first:])
        if len(self.problems) > told:
            return text
        if not is_sql:
            return Filled(PLACEHOLDER.sub(lambda _match: next(values), text), text)
        try:
            return Filled(replace_in_sql(text, PLACEHOLDER, lambda _match: next(values)), text)
        except ValueError as error:
            self.problems.append(Problem(self.locate(path), str(error)))
            return text

    def _value(self, match: re.Match[str], path: KeyPath, template: str) -> str:
        if match["escape"]:
            return match.group()[1:]
        name, default = match["name"], match["default"]
        assert self.environment is not None
        value = self.environment.get(name, default)
        origin = self.locate(path)
        if value is None:
            similar = nearest(name, self.environment)
            remedy = sentences(similar, f"export it, or write a default: ${{env:{name}:…}}")
            message = f"environment variable {name} is not set"
            self.problems.append(Problem(origin, message, remedy))
            return match.group()
        unfit = unfit_text(value)
        if unfit:
            self.problems.append(Problem(origin, f"environment variable {name}: {unfit}"))
            return match.group()
        self.uses.append(Use(name, value, origin, name not in self.environment, template))
        return value


def escaped(text: str) -> str:
    """Return how a config states `text`, where that would look like a placeholder."""
    return _START.sub(lambda match: f"${match.group()}", text)


def shell_expression(template: str) -> str:
    """Return the SQL expression that a DuckDB shell evaluates to the filled `template`."""
    pieces: list[tuple[str, bool]] = []
    defaults: dict[str, str] = {}
    position = 0
    before = ""
    for match in PLACEHOLDER.finditer(template):
        before += template[position : match.start()]
        position = match.end()
        if match["escape"]:
            before += match.group()[1:]
            continue
        if before:
            pieces.append((before, False))
            before = ""
        pieces.append((match["name"], True))
        if match["default"] and not names_a_credential(template):
            defaults[match["name"]] = match["default"]
    if before + template[position:]:
        pieces.append((before + template[position:], False))
    return environment_expression(pieces, defaults)


def names_a_credential(template: str) -> bool:
    """Say whether a text's variables, or what it assigns them to, are named like credentials."""
    assigned = (name for pair in _ASSIGNED.findall(template) for name in pair)
    return any(map(looks_secret, (*variables_in(template), *assigned)))


_URL_PASSWORD = re.compile(r"://[^/\s'\":@]*:([^/\s'\"@]+)@")
_URL_PARAMETER = re.compile(r"[?&]([^=&\s'\"]+)=([^&\s'\"]+)")


def credentials_in_urls(text: str) -> list[str]:
    """Return the passwords, signatures and tokens that a text states in clear, inside URLs."""
    if "://" not in text:
        return []
    found = _URL_PASSWORD.findall(text)
    found += [
        value
        for name, value in _URL_PARAMETER.findall(text)
        if looks_secret(name.replace("-", "_"))
    ]
    return [value for value in found if not PLACEHOLDER.search(value)]


def with_hidden_credentials(data: Data) -> Data:
    """Return data in which texts with such URLs are Filled, so that nothing shows them."""
    if isinstance(data, str):
        credentials = credentials_in_urls(data)
        if not credentials:
            return data
        template = data.template if isinstance(data, Filled) else data
        for credential in credentials:
            template = template.replace(credential, HIDDEN)
        return Filled(data, template)
    if isinstance(data, list):
        return [with_hidden_credentials(item) for item in data]
    if isinstance(data, dict):
        return {key: with_hidden_credentials(item) for key, item in data.items()}
    return data


def variables_in(template: str) -> tuple[str, ...]:
    """Return the names of the environment variables that a text mentions, in order."""
    return tuple(m["name"] for m in PLACEHOLDER.finditer(template) if not m["escape"])


def redactor_for(uses: Iterable[Use], secrets: Iterable[Secret]) -> Redactor:
    """Return the redactor for the values that were filled in and those stated as secret."""
    stated = [(secret.reveal(), secret.template or HIDDEN) for secret in secrets]
    taken = [use for use in uses if use.is_secret]
    named = _placeholders(use for use in taken if use.is_credential)
    credentials = worth_hiding([*named, *stated], SHORTEST_IN_SQL)
    hidden = worth_hiding([*_placeholders(taken), *stated], SHORTEST_SECRET)
    return Redactor(hidden, Redactor(credentials))


def _placeholders(uses: Iterable[Use]) -> list[tuple[str, str]]:
    return [(use.value, f"${{env:{use.name}}}") for use in uses]


def _malformed(text: str) -> str:
    """Return the first thing in a text that is nearly a placeholder, or an empty string."""
    for found in _LOOKS_LIKE_ONE.finditer(text):
        is_escaped = text.startswith("$", found.start() - 1)
        if not is_escaped and not PLACEHOLDER.match(text, found.start()):
            return found.group()
    return ""


def _has_placeholder(data: Data) -> bool:
    if isinstance(data, str):
        return "${" in data
    if isinstance(data, dict):
        return any(map(_has_placeholder, data.values()))
    return isinstance(data, list) and any(map(_has_placeholder, data))


def texts_in(data: Data, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield every text in a document's data, and the keys that lead to it."""
    if isinstance(data, str):
        yield path, data
        return
    inside: Iterable[tuple[str | int, Data]] = ()
    if isinstance(data, list):
        inside = enumerate(data)
    elif isinstance(data, dict):
        inside = data.items()
    for key, item in inside:
        if isinstance(item, str):
            yield (*path, key), item
        else:
            yield from texts_in(item, (*path, key))


def _is_under(path: KeyPath, paths: tuple[tuple[str, ...], ...]) -> bool:
    keys = tuple(key for key in path if isinstance(key, str))
    return any(keys[: len(one)] == one for one in paths)
