"""Config to Plan: what to do, in which order, and where each step is stated.

A plan has two halves, because DuckDB keeps only one of them in the file. The
session half (extensions, settings, secrets, attachments) is gone when a
connection closes, and every connection replays it. The catalog half (schemas,
views, comments) is stored.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cached_property

import msgspec

from duckalog.config import MEMORY, Config, catalog_name
from duckalog.entry import MAIN_SCHEMA
from duckalog.errors import ConfigError, KeyPath, Origin, Problem, nearest, sentences, shown
from duckalog.plan.draft import draft_of
from duckalog.plan.session import session_steps
from duckalog.plan.steps import (
    CheckStep,
    DatabaseStep,
    ExtensionStep,
    Step,
    ViewStep,
    view_key,
)
from duckalog.redaction import Redactor
from duckalog.sql import Statement
from duckalog.statements import create_schema

__all__ = [
    "CheckStep",
    "DatabaseStep",
    "ExtensionStep",
    "Plan",
    "Step",
    "ViewStep",
    "plan",
    "problems_of",
    "view_key",
]


class Plan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The steps of a catalog in the order they run; consumers never look back to the config.

    `file` is the config's, `files` are all that it was read from, and `database` is the path
    of the catalog's own file, or `:memory:`.
    """

    file: str
    files: tuple[str, ...]
    database: str
    session: tuple[Step, ...]
    views: tuple[ViewStep, ...]
    redact: Redactor
    extension_directory: str | None = None
    warnings: tuple[Problem, ...] = ()
    """What is right as it stands, and breaks when something else changes."""

    @property
    def is_in_memory(self) -> bool:
        """Say whether the catalog lives only as long as its connection."""
        return self.database == MEMORY

    @property
    def catalog_name(self) -> str:
        """What DuckDB calls the catalog."""
        return catalog_name(self.database)

    @cached_property
    def schemas(self) -> tuple[str, ...]:
        """The schemas of the views, without `main`, in the order they are first needed."""
        found = dict.fromkeys(view.schema for view in self.views)
        return tuple(name for name in found if name != MAIN_SCHEMA)

    def chosen(self, names: Iterable[str], *, with_needs: bool = False) -> Plan:
        """Return the plan of some views and databases, and of the databases that they need.

        `with_needs` adds the views that they read, through all others. A name is a
        view's (`orders`, `analytics.orders`), or the key of a step (`attachment:crm`).
        Raises ConfigError for one that the plan does not have.
        """
        known = self._views_by_name
        known |= {step.key.lower(): step.key for step in (*self.views, *self.databases)}
        wanted = self._keys_of(names, known, "write name, schema.name or attachment:alias.")
        needed = self.needed_by(wanted)
        kept = needed if with_needs else wanted
        views = tuple(step for step in self.views if step.key in kept)
        return msgspec.structs.replace(self.attaching(needed), views=views)

    def views_called(self, names: Iterable[str]) -> tuple[ViewStep, ...]:
        """Return the views of some names (`orders`, `analytics.orders`), in build order.

        Raises ConfigError for a name that no view has.
        """
        wanted = self._keys_of(names, self._views_by_name, "write name, or schema.name.")
        return tuple(step for step in self.views if step.key in wanted)

    @property
    def databases(self) -> tuple[DatabaseStep, ...]:
        """The attachments and catalogs of the session."""
        return tuple(step for step in self.session if isinstance(step, DatabaseStep))

    def attaching(self, keys: Container[str]) -> Plan:
        """Return the plan whose session attaches only the databases whose keys are given."""
        session = tuple(
            step for step in self.session if not isinstance(step, DatabaseStep) or step.key in keys
        )
        return msgspec.structs.replace(self, session=session)

    def readers_of(self, keys: Iterable[str]) -> tuple[ViewStep, ...]:
        """Return the views that read any of the steps `keys`, directly or not, without these."""
        keys = set(keys)
        reached = set(keys)
        found = []
        for step in self.views:
            if reached.intersection(step.needs):
                reached.add(step.key)
                if step.key not in keys:
                    found.append(step)
        return tuple(found)

    def needed_by(self, keys: Iterable[str]) -> set[str]:
        """Return the keys of some steps, and of all that these need, directly or through views."""
        needed = set(keys)
        for step in reversed(self.views):
            if step.key in needed:
                needed.update(step.needs)
        return needed

    @property
    def _views_by_name(self) -> dict[str, str]:
        """The keys of views by each of their names, in lower case."""
        known = {step.name.lower(): step.key for step in self.views}
        in_main = (step for step in self.views if step.schema == MAIN_SCHEMA)
        return known | {step.view.lower(): step.key for step in in_main}

    def _keys_of(self, names: Iterable[str], known: Mapping[str, str], how: str) -> set[str]:
        """Return the keys of names; raises ConfigError for each that is not `known`."""
        names = list(names)
        unknown = [name for name in names if name.lower() not in known]
        if unknown:
            raise ConfigError(
                Problem(
                    Origin(self.file),
                    f'no view is called "{shown(name)}"',
                    sentences(nearest(name, known), how),
                )
                for name in unknown
            )
        return {known[name.lower()] for name in names}

    def place_of(self, problem: Problem) -> tuple[int, int]:
        """Return where a problem stands among others: the number of its file, and the line."""
        file = problem.origin.file
        number = self.files.index(file) if file in self.files else len(self.files)
        return number, problem.origin.line

    def schema_statements(self) -> tuple[Statement, ...]:
        """Return the CREATE SCHEMA statements."""
        return tuple(create_schema(name) for name in self.schemas)


def plan(config: Config, database: str | None = None) -> Plan:
    """Return the plan of a config; `database` is built instead of the config's own.

    Raises ConfigError for SQL that cannot be a view, and for views that read
    each other in a circle; all of them at once.
    """
    draft = draft_of(config, database)
    if draft.problems:
        raise ConfigError(draft.problems)
    config = draft.config
    return Plan(
        file=config.origin.file,
        files=config.files,
        database=config.database,
        session=tuple(session_steps(config, draft.readings)),
        views=draft.views,
        redact=config.redact,
        extension_directory=config.duckdb.extension_directory,
        warnings=draft.warnings,
    )


def problems_of(config: Config, problems: Sequence[Problem]) -> list[Problem]:
    """Return what is wrong with the SQL of a config of which `problems` are known.

    An entry that has one of these is not asked a second time.
    """
    known = {_entry_of(problem.origin) for problem in problems}
    return [one for one in draft_of(config).problems if _entry_of(one.origin) not in known]


def _entry_of(origin: Origin) -> tuple[str, KeyPath]:
    return origin.file, origin.path[:2]
