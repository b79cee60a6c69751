"""What can go wrong, told so that a person can mend it.

DuckalogError
├── ConfigError    the config file, its imports, or the environment it names
└── EngineError    DuckDB, a source, or the catalog file
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

KeyPath = tuple[str | int, ...]

MAX_PROBLEMS = 1_000
"""More problems than these are not told: nobody reads on, and a hostile file has millions."""

MAX_SHOWN = 80
"""Characters of a name that messages show."""


class Origin(NamedTuple):
    """Where something is stated: a file, a line (from 1) and the keys that lead to it.

    A line of 0 means that only the file is known; an empty file name, that
    the thing was made in Python.
    """

    file: str = ""
    line: int = 0
    path: KeyPath = ()

    def __str__(self) -> str:
        place = self.location
        keys = key_path(self.path)
        return f"{place}: {keys}" if place and keys else place or keys

    @property
    def location(self) -> str:
        """Return `file:line`, the file as seen from the working directory."""
        if not self.file:
            return ""
        name = shown_path(self.file)
        return f"{name}:{self.line}" if self.line else name


NOWHERE = Origin()


class Problem(NamedTuple):
    """One thing that is wrong: where, what, and how to mend it; `name` is whose problem it is.

    `cause` is what DuckDB, or another program, says itself.
    """

    origin: Origin
    message: str
    remedy: str = ""
    name: str = ""
    cause: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}\n{indented(self.explanation)}" if self.explanation else text

    @property
    def explanation(self) -> str:
        """Return what stands below the message: the cause, then how to mend it."""
        return "\n".join(filter(None, (self.cause, self.remedy)))

    @property
    def place(self) -> str:
        """Return where it is, and whose it is: `file:line: keys "name"`."""
        place = str(self.origin)
        return f'{place} "{shown(self.name)}"'.lstrip() if self.name else place


class DuckalogError(Exception):
    """The base of every error that duckalog raises for its user.

    `problems` holds each thing that is wrong, in the order of the file; `note` is
    what is to be known besides: that the catalog was left as it was.
    """

    def __init__(
        self, problems: str | Problem | Iterable[Problem], remedy: str = "", *, note: str = ""
    ) -> None:
        if isinstance(problems, str):
            problems = (Problem(NOWHERE, problems, remedy),)
        elif isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.note = note
        texts = [str(problem) for problem in self.problems]
        super().__init__("\n".join([*texts, indented(note)] if note else texts))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), note=self.note) if self.note else type(self), (self.problems,)


class ConfigError(DuckalogError):
    """The config cannot be read, or what it says cannot be right."""


class EngineError(DuckalogError):
    """DuckDB, a source or the catalog file refused."""


class Problems(list[Problem]):
    """Problems as they are found; raises ConfigError where they become too many to tell."""

    def append(self, problem: Problem) -> None:
        """Add a problem."""
        super().append(problem)
        if len(self) >= MAX_PROBLEMS:
            last = Problem(
                problem.origin, f"more than {MAX_PROBLEMS:,} problems: the rest is not told"
            )
            raise ConfigError([*self[:-1], last])


def key_path(path: Sequence[str | int]) -> str:
    """Return keys as people write them, `views[2].options.version` say."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            key = shown(key) or '""'
            text += f".{key}" if text else key
    return text


def shown(name: str) -> str:
    """Return a name fit for a message: on one line, without control characters, not too long."""
    if len(name) > MAX_SHOWN:
        name = f"{name[:MAX_SHOWN]}…"
    if name.isprintable():
        return name
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in name)


def shown_view(schema: str, name: str) -> str:
    """Return a view's name as queries have it: without the schema that they look in first."""
    return name if schema == "main" else f"{schema}.{name}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `did you mean "…"?` for the closest of `known`, or an empty string."""
    from difflib import get_close_matches  # only an error asks

    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f'did you mean "{by_lower[close[0]]}"?' if close else ""


def sentences(*parts: str) -> str:
    """Return the parts that are not empty, each started with a capital, as one text."""
    return " ".join(f"{part[0].upper()}{part[1:]}" for part in parts if part)


_OF_A_SHELL = re.compile(r"\$\{(?!\s*env\b)([A-Za-z_]\w*)\}")


def variable_hint(text: str) -> str:
    """Return how a variable is written, where a text has one as a shell would write it."""
    found = _OF_A_SHELL.search(text)
    return f"A variable is written ${{env:{found[1]}}}." if found else ""


NOT_UTF8 = "the path is not UTF-8 text, and DuckDB takes no other"


def is_utf8(path: str) -> bool:
    """Say whether a path is text; others have a surrogate for each byte that is not."""
    return path.encode(errors="ignore").decode() == path


def shown_path(file: str) -> str:
    """Return a file's path as its reader would type it: relative where that is shorter."""
    if "://" in file:
        return without_credentials(file)
    try:
        relative = os.path.relpath(file)
    except (OSError, ValueError):  # the working directory is gone, or on another drive
        return file
    return relative if len(relative) < len(file) else file


def without_credentials(url: str) -> str:
    """Return a URL without login and parameters, which may be a signature."""
    scheme, separator, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def indented(text: str) -> str:
    """Return `text` with each line moved four columns in."""
    return "\n".join(f"    {line}" if line else line for line in text.splitlines())
