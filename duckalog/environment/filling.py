"""Values of the environment put into a document, and which of them are to be hidden later."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from duckalog.document import Data, Document, unfit_text
from duckalog.environment.credentials import Secret
from duckalog.environment.placeholders import (
    ASSIGNED,
    PLACEHOLDER,
    Filled,
    malformed_in,
    variables_in,
)
from duckalog.errors import KeyPath, Origin, Problem, Problems, nearest, sentences, shown
from duckalog.redaction import (
    HIDDEN,
    SHORTEST_IN_SQL,
    SHORTEST_SECRET,
    Redactor,
    looks_secret,
    worth_hiding,
)
from duckalog.user_sql import replace_in_sql

_LOGIN = re.compile(r"://[^/\s'\"]*@")

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
    for key, name in ASSIGNED.findall(template):
        assigned.setdefault(name, []).append(key)
    logins = frozenset(name for login in _LOGIN.findall(template) for name in variables_in(login))
    return _Template(assigned, logins, re.findall(r"\w+", template))


class Lenient(dict[str, str]):
    """An environment for those who only look: a text whose variables are not set stays unfilled."""


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
    """Fills texts, and collects the uses of variables and what is wrong."""

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
        malformed = malformed_in(text)
        if malformed:
            message = f'"{shown(malformed)}" is not a placeholder'
            remedy = "Write ${env:NAME}, or ${env:NAME:default}; $${env:NAME} is the text itself."
            self.problems.append(Problem(self.locate(path), message, remedy))
            return text
        if self.environment is None or not PLACEHOLDER.search(text):
            return text
        if isinstance(self.environment, Lenient) and self._is_lacking(text):
            self.uses += self._set_in(text, path)
            return text

        problems_before, uses_before = len(self.problems), len(self.uses)
        values = iter([self._value(match, path, text) for match in PLACEHOLDER.finditer(text)])
        self.uses[uses_before:] = dict.fromkeys(self.uses[uses_before:])
        if len(self.problems) > problems_before:
            return text
        if not is_sql:
            return Filled(PLACEHOLDER.sub(lambda _match: next(values), text), text)
        try:
            return Filled(replace_in_sql(text, PLACEHOLDER, lambda _match: next(values)), text)
        except ValueError as error:
            self.problems.append(Problem(self.locate(path), str(error)))
            return text

    def _is_lacking(self, text: str) -> bool:
        """Say whether a variable of a text is not set and has no default."""
        assert self.environment is not None
        return any(
            match["name"] and match["default"] is None and match["name"] not in self.environment
            for match in PLACEHOLDER.finditer(text)
        )

    def _set_in(self, text: str, path: KeyPath) -> Iterator[Use]:
        """Yield the variables of a text that are set: not shown, whatever else it lacks."""
        assert self.environment is not None
        for name in dict.fromkeys(variables_in(text)):
            if name in self.environment:
                yield Use(name, self.environment[name], self.locate(path), False, text)

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
