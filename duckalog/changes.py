"""A plan against what a catalog remembers: what a build would add, change, remove and leave."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from duckalog.bookkeeping import Column, File, Memory, ViewName, folded
from duckalog.errors import Problem
from duckalog.plan import Plan, ViewStep

logger = logging.getLogger("duckalog.changes")

NOT_ITS_QUERY = "its comments or its pin changed"

Action = Literal["created", "replaced", "unchanged", "removed", "failed"]


SIGNS: dict[Action, str] = {
    "created": "+",
    "replaced": "~",
    "unchanged": "·",
    "removed": "-",
    "failed": "!",
}
"""What stands before a view that a build is to do something with."""


class FileChanges(NamedTuple):
    """How the files of a pinned view differ from those it was built over, by their paths."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = [f"{len(paths)} {what}" for what, paths in self._asdict().items() if paths]
        return f"files: {', '.join(counts)}" if counts else ""


def file_changes(before: Iterable[File], after: Iterable[File]) -> FileChanges:
    """Return what came, went, and has another size or time."""
    old, new = {file.path: file for file in before}, {file.path: file for file in after}
    return FileChanges(
        tuple(path for path in new if path not in old),
        tuple(path for path in old if path not in new),
        tuple(path for path, file in new.items() if path in old and old[path] != file),
    )


class Change(NamedTuple):
    """What a build is to do with a view, and why.

    A view that is "unchanged" keeps its definition: without a `reason` it is left
    alone, with one it is made again.
    `comments` tell how those of the view and of its columns differ.
    """

    step: ViewStep
    action: Action
    reason: str
    query_before: str = ""
    files: FileChanges = FileChanges()
    comments: tuple[str, ...] = ()

    @property
    def query_diff(self) -> list[str]:
        """Return the lines of a unified diff of the view's query, without its header."""
        if self.query_before in ("", self.step.query):
            return []
        from difflib import unified_diff  # only `plan` and `diff` show it

        old, new = self.query_before.splitlines(), self.step.query.splitlines()
        return list(unified_diff(old, new, lineterm="", n=2))[2:]

    @property
    def is_left_alone(self) -> bool:
        """Say whether the view stays as it is, unread and unwritten."""
        return not self.reason


class Diff(NamedTuple):
    """Each view of the plan in build order, and what only the catalog has.

    `removed` are duckalog's own views that left the plan; `kept` are those of
    them that somebody changed by hand. `conflicts` are views that would take the
    place of what a user made, `failures` what cannot be reached, or written, now:
    with any of them a build would fail.
    """

    changes: tuple[Change, ...]
    removed: tuple[ViewName, ...]
    kept: tuple[ViewName, ...]
    conflicts: tuple[Problem, ...]
    failures: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        """Return what a build would do to each view that it does not leave alone, a line each."""
        lines = [
            f"{SIGNS[change.action]} {change.step.schema}.{change.step.view}  {change.reason}"
            for change in self.changes
            if change.reason
        ]
        lines += (f"- {'.'.join(name)}  it left the config" for name in self.removed)
        lines += map(str, (*self.conflicts, *self.failures))
        return "\n".join(lines) or "a build would leave the catalog as it is"

    @property
    def steps(self) -> list[ViewStep]:
        """The views that a build makes, in the order it makes them."""
        return [
            change.step
            for change in self.changes
            if not change.is_left_alone and change.action != "failed"
        ]

    @property
    def is_empty(self) -> bool:
        """Say whether a build would leave the catalog as it is."""
        return not self.removed and not any(change.reason for change in self.changes)

    def with_failures(self, failed: Mapping[str, Problem], failures: Iterable[Problem]) -> Diff:
        """Return it with the views that fail, by key, and those that read them, marked so."""
        without = set(failed)
        changes = []
        for change in self.changes:
            key = change.step.key
            if key in failed:
                change = change._replace(action="failed", reason=failed[key].message)
            elif without.intersection(change.step.needs):
                without.add(key)
                change = change._replace(action="failed", reason="a view that it reads fails")
            changes.append(change)
        return self._replace(changes=tuple(changes), failures=(*self.failures, *failures))


def diff(
    plan: Plan,
    memory: Memory,
    states: Mapping[str, str | None],
    *,
    prune: bool = True,
    adopt: bool = False,
    refresh: bool = False,
) -> Diff:
    """Return what a build would do; `states` are those of the views' sources, by key.

    A view is left alone if its definition is as it was built, nobody changed
    it, its source's state is the same, and so it is with every view it reads, of which
    none is removed.
    `refresh` leaves none alone.
    """
    stale = list(_stale(plan, memory)) if prune else []
    removed = {folded(name) for name in stale if memory.is_own(name)}
    rebuilt: set[str] = set()
    changes: list[Change] = []
    for step in plan.views:
        change = _change(step, memory, states, rebuilt, removed, refresh=refresh)
        if change.reason:
            rebuilt.add(step.key)
        changes.append(change)
    return Diff(
        tuple(changes),
        tuple(name for name in stale if folded(name) in removed),
        tuple(name for name in stale if folded(name) not in removed),
        tuple(_conflicts(plan, memory, adopt=adopt)),
    )


def _change(
    step: ViewStep,
    memory: Memory,
    states: Mapping[str, str | None],
    rebuilt: set[str],
    removed: set[ViewName],
    *,
    refresh: bool,
) -> Change:
    key = folded((step.schema, step.view))
    remembered = memory.remembered.get(key)
    if key not in memory.views:
        return Change(step, "created", "it is new")
    if remembered is None:
        return Change(step, "replaced", "it was made by hand")
    if remembered.fingerprint != step.fingerprint:
        reason = NOT_ITS_QUERY if remembered.query == step.query else "its query changed"
        return Change(step, "replaced", reason, remembered.query)
    if not memory.is_own(key):
        return Change(step, "replaced", "it was changed by hand")
    if remembered.definition_hash is None:
        return Change(step, "unchanged", "the build that made it was cut off")
    if refresh:
        return Change(step, "unchanged", "everything is made again")
    if rebuilt.intersection(step.needs):
        return Change(step, "unchanged", "a view that it reads is made again")
    if not step.looked_for.isdisjoint(removed):
        return Change(step, "unchanged", "a view that it reads left the config")
    state = states.get(step.key)
    if state is None:
        return Change(step, "unchanged", "its files are known to DuckDB only")
    if remembered.source_state is None:
        return Change(step, "unchanged", "the last build left it behind")
    if state != remembered.source_state:
        return Change(step, "unchanged", "its source changed")
    return Change(step, "unchanged", "")


def drift(before: tuple[Column, ...], after: tuple[Column, ...]) -> tuple[str, ...]:
    """Return how columns differ: `+ name TYPE`, `- name`, or `name: OLD → NEW`."""
    old, new = dict(before), dict(after)
    return (
        *(f"+ {name} {kind}" for name, kind in new.items() if name not in old),
        *(f"- {name}" for name in old if name not in new),
        *(
            f"{name}: {old[name]} → {kind}"
            for name, kind in new.items()
            if name in old and old[name] != kind
        ),
    )


def comment_changes(
    step: ViewStep, stored: Mapping[str, str], columns: Iterable[str]
) -> tuple[str, ...]:
    """Return how comments differ: `comment: old → new`, `comment on COLUMN: old → new`.

    `stored` has what the catalog has now, by the names of its `columns` in lower case,
    and the view's own under "".
    """
    stated = {name.lower(): one.description or "" for name, one in step.columns.items()}
    wanted = {"": step.description or "", **stated}
    return tuple(
        f"comment{f' on {name}' if name else ''}: {before or '(none)'} → {after or '(none)'}"
        for name in ("", *columns)
        if (before := stored.get(name.lower(), "")) != (after := wanted.get(name.lower(), ""))
    )


def _stale(plan: Plan, memory: Memory) -> Iterator[ViewName]:
    planned = {folded((step.schema, step.view)) for step in plan.views}
    for key, remembered in memory.remembered.items():
        if key not in planned and key in memory.views:
            yield remembered.name


def _conflicts(plan: Plan, memory: Memory, *, adopt: bool) -> Iterator[Problem]:
    """Yield where a view of the plan would take the place of what a user made."""
    for step in plan.views:
        key = folded((step.schema, step.view))
        if key in memory.tables:
            message = "the catalog has a table of this name, which duckalog did not make"
            yield Problem(step.origin, message, "Rename the view, or the table.", step.view)
        elif key in memory.views and key not in memory.remembered and not adopt:
            message = "the catalog has a view of this name, which duckalog did not make"
            remedy = "Rename one of them, or let the config take it over: --adopt"
            yield Problem(step.origin, message, remedy, step.view)
