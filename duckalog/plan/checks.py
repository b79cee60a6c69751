"""The check steps: the SQL of checks read, its paths made absolute, and what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from duckalog.checks import names_of
from duckalog.checks.queries import AnswersCheck
from duckalog.checks.rows import RelationshipsCheck
from duckalog.config import Config
from duckalog.decode import Unfit
from duckalog.entry import Check, View
from duckalog.environment import is_unfilled
from duckalog.errors import Origin, Problem
from duckalog.plan.needs import Needs
from duckalog.plan.paths import folder_of, has_search_path, located, names_of_views, paths_of_files
from duckalog.plan.steps import CheckStep, view_key
from duckalog.references import Reading

SENSITIVE = "sensitive"
"""The tag of views and columns whose values are never shown."""

_ANSWERS = AnswersCheck(type="answers")


class CheckQueries:
    """What users wrote in SQL in the checks of a config, and the steps made of it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.asked = [
            (view, check, query)
            for view in config.views
            for check in view.checks
            if (query := check.query)
        ]
        self.read_checks: dict[int, tuple[Check, Reading]] = {}

    @property
    def texts(self) -> list[tuple[str, str | None]]:
        """The queries, and the texts that state them, to be read with those of the views."""
        return [(query, getattr(check, _stated_in(check))) for _, check, query in self.asked]

    @property
    def places(self) -> list[Origin]:
        """Where the queries are stated."""
        return [self.config.at(check, _key_of(check)) for _, check, _ in self.asked]

    def read(self, readings: Sequence[Reading]) -> Iterator[Problem]:
        """Take in what the queries read; yield what is wrong with them."""
        keeps_paths = has_search_path(self.config)
        views = names_of_views(self.config) if self.asked else set()
        asked = zip(self.asked, self.places, readings, strict=True)
        for (view, check, query), origin, reading in asked:
            name = check.name or ""
            if reading.refusal and is_unfilled(getattr(check, _stated_in(check))):
                continue
            if reading.refusal:
                # A check is refused for what a view is; only the subject is another.
                refusal = reading.refusal.replace("a view ", "a check ", 1)
                remedy = reading.remedy.replace("a view ", "a check ", 1)
                yield Problem(origin, refusal, remedy, name)
                continue
            try:
                paths = () if keeps_paths else paths_of_files(reading, view.schema, views)
                found = located(query, paths, folder_of(check))
            except Unfit as error:
                yield Problem(origin, str(error), error.remedy, name)
                continue
            if found != query:
                self.read_checks[id(check)] = check.with_query(found), reading
            else:
                self.read_checks[id(check)] = check, reading

    def steps_of(self, view: View, needs: Needs) -> tuple[CheckStep, ...]:
        """Return the steps of a view's checks; that it answers is the first, if not declared."""
        sensitive = frozenset(
            [name.lower() for name, column in view.columns.items() if _is_sensitive(column.tags)]
        )
        if not view.checks:
            return (self._answers(view, sensitive),)
        names = names_of(view.checks)
        steps = [
            self._step(view, check, name, needs, sensitive)
            for check, name in zip(view.checks, names, strict=True)
        ]
        if not any(check.kind == _ANSWERS.kind for check in view.checks):
            steps.insert(0, self._answers(view, sensitive))
        return tuple(steps)

    def _answers(self, view: View, sensitive: frozenset[str]) -> CheckStep:
        return CheckStep(
            schema=view.schema,
            view=view.name,
            name=_ANSWERS.kind,
            check=_ANSWERS,
            is_sensitive=bool(view.tags) and _is_sensitive(view.tags),
            sensitive_columns=sensitive,
            origin=view.origin,
            redact=self.config.redact,
        )

    def _step(
        self, view: View, check: Check, name: str, needs: Needs, sensitive: frozenset[str]
    ) -> CheckStep:
        """Return the step of a declared check."""
        stated, reading = self.read_checks.get(id(check), (check, Reading()))
        relations = reading.relations
        if isinstance(stated, RelationshipsCheck):
            other = stated.names_relation
            relations = frozenset((other,))
            stated = msgspec.structs.replace(stated, target=needs.relation(view.schema, other))
        own = view_key(view.schema, view.name)
        return CheckStep(
            schema=view.schema,
            view=view.name,
            name=name,
            check=stated,
            needs=tuple(key for key in needs.of_relations(view.schema, relations) if key != own),
            is_sensitive=_is_sensitive(view.tags),
            sensitive_columns=sensitive,
            origin=check.origin,
            redact=self.config.redact,
        )


def _is_sensitive(tags: Sequence[str]) -> bool:
    return any(tag.lower() == SENSITIVE for tag in tags)


def _stated_in(check: Check) -> str:
    return "expression" if check.kind == "expression" else "sql"


def _key_of(check: Check) -> str:
    return "sql_file" if getattr(check, "sql_file", None) else _stated_in(check)
