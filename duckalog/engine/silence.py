"""Iceberg catalogs that give no answer: told for each of their views, and waited for once.

DuckDB looks up the tables of a namespace one after the other (1.4 and 1.5), so
that a hundred views over a catalog that hangs would take a hundred time-outs.
"""

from __future__ import annotations

from duckalog.engine import session
from duckalog.errors import Problem
from duckalog.plan import Plan, ViewStep

_OF_THE_NETWORK = "error for HTTP"
"""What DuckDB says where no response came, 1.4 to 2.0; not of a response that refuses."""


class Silence:
    """What is known of the catalogs of a plan that gave no answer in time."""

    def __init__(self, plan: Plan) -> None:
        self._names = {step.key: step.name for step in plan.session if step.kind == "catalog"}
        self._found_by: dict[str, str] = {}

    def catalogs_of(self, step: ViewStep) -> frozenset[str]:
        """Return the keys of the catalogs that a view names."""
        return frozenset(key for key in step.needs if key in self._names)

    def problem_of(self, step: ViewStep) -> Problem | None:
        """Return why a view need not be asked: a catalog that it reads gave no answer before."""
        for key in step.needs:
            if key in self._found_by:
                message = f'the catalog "{self._names[key]}" gives no answer'
                remedy = f'"{self._found_by[key]}" waited for it in vain.'
                return Problem(step.origin, message, remedy, step.view)
        return None

    def hear(self, step: ViewStep, problem: Problem | None, seconds: float) -> None:
        """Learn from what a view was told, after so many seconds."""
        is_silence = problem and _OF_THE_NETWORK in problem.cause
        if is_silence and seconds >= session.HTTP_LIMITS["http_timeout"]:
            for key in self.catalogs_of(step):
                self._found_by.setdefault(key, step.view)
