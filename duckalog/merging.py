"""The parts of a config, one for each of its files, to one config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from duckalog.config import VERSION, Attachments, Config, DuckdbSection, Pragma, Setting
from duckalog.document import Document
from duckalog.entry import variable_name
from duckalog.environment import Filled, Secret, is_filled
from duckalog.errors import Origin, Problem
from duckalog.redaction import looks_secret
from duckalog.user_sql import replace_literals


class Merged(NamedTuple):
    """A config, the credentials that settings and pragmas state in clear, and what is wrong."""

    config: Config
    secrets: tuple[Secret, ...]
    problems: tuple[Problem, ...]


def merged(parts: Sequence[Config], documents: Mapping[str, Document]) -> Merged:
    """Return parts as one config, each after those that it imports; `documents` by their files.

    Lists are joined. What may stand only once is a problem where a second part states it.
    """
    merging = _Merging(parts, documents)
    config = Config(
        version=VERSION,
        duckdb=merging.duckdb(),
        attachments=Attachments(
            duckdb=merging.joined("attachments", "duckdb"),
            sqlite=merging.joined("attachments", "sqlite"),
            postgres=merging.joined("attachments", "postgres"),
            ducklake=merging.joined("attachments", "ducklake"),
        ),
        iceberg_catalogs=merging.joined("iceberg_catalogs"),
        views=merging.joined("views"),
        origin=parts[-1].origin,
    )
    return Merged(config, tuple(merging.secrets), tuple(merging.problems))


class _Merging:
    """The parts on their way into one config, with what is found on it."""

    def __init__(self, parts: Sequence[Config], documents: Mapping[str, Document]) -> None:
        self.parts = parts
        self.documents = documents
        self.secrets: list[Secret] = []
        self.problems: list[Problem] = []

    def joined(self, *keys: str) -> tuple[Any, ...]:
        """Return the lists of all parts at a key path, as one."""
        found: list[Any] = []
        for part in self.parts:
            value: Any = part
            for key in keys:
                value = getattr(value, key)
            found += value
        return tuple(found)

    def duckdb(self) -> DuckdbSection:
        """Return the sections `duckdb` of all parts, as one."""
        settings: dict[str, Setting] = {}
        stated: dict[str, Setting] = {}
        for part in self.parts:
            for name, setting in part.duckdb.settings.items():
                first = stated.setdefault(name.lower(), setting)
                if first is setting:
                    settings[name] = self._setting(name, setting)
                else:
                    self._only_once(f'the setting "{name}"', first.origin, setting.origin)
        return DuckdbSection(
            database=self._stated_once("database"),
            extension_directory=self._stated_once("extension_directory"),
            install_extensions=self.joined("duckdb", "install_extensions"),
            load_extensions=self.joined("duckdb", "load_extensions"),
            pragmas=tuple(map(self._pragma, self.joined("duckdb", "pragmas"))),
            secrets=self.joined("duckdb", "secrets"),
            settings=settings,
        )

    def _setting(self, name: str, setting: Setting) -> Setting:
        """Return a setting; one that is named like a credential is shown as a variable."""
        value = setting.value
        if not looks_secret(name) or not isinstance(value, str | int) or isinstance(value, Filled):
            return setting
        text = str(value)
        if is_filled(text):
            return setting
        return msgspec.structs.replace(setting, value=Filled(text, self._hide(name, text)))

    def _pragma(self, pragma: Pragma) -> Pragma:
        """Return a pragma; its literals that follow the name of a credential are shown so too."""
        template = pragma.sql.template if isinstance(pragma.sql, Filled) else pragma.sql

        def shown(name: str, content: str) -> str | None:
            is_secret = looks_secret(name) and not is_filled(content)
            return self._hide(name, content) if is_secret else None

        without = replace_literals(template, shown)
        if without == template:
            return pragma
        return msgspec.structs.replace(pragma, sql=Filled(pragma.sql, without))

    def _hide(self, name: str, value: str) -> str:
        """Return the placeholder that stands in scripts for what the file states in clear."""
        self.secrets.append(Secret(value))
        return f"${{env:{variable_name(name)}}}"

    def _stated_once(self, key: str) -> Any:
        stated = [part for part in self.parts if getattr(part.duckdb, key) is not None]
        places = [self.documents[part.origin.file].origin(("duckdb", key)) for part in stated]
        for earlier, later in pairwise(places):
            self._only_once(f"duckdb.{key}", earlier, later)
        return getattr(stated[-1].duckdb, key) if stated else None

    def _only_once(self, what: str, earlier: Origin, later: Origin) -> None:
        message = f"{what} is stated in {earlier.location} too"
        self.problems.append(Problem(later, message, "Keep one of them."))
