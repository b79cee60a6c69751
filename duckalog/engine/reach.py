"""What of a plan can be built where some of its databases cannot be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from duckdb import DuckDBPyConnection

from duckalog.changes import Diff
from duckalog.engine.execution import is_abandoned
from duckalog.engine.reports import ViewReport
from duckalog.engine.session import try_session
from duckalog.errors import EngineError, Problem
from duckalog.plan import Plan


class Reach(NamedTuple):
    """The part of a plan that can be built, and how its session went.

    `lost` are the problems of the databases that cannot be reached, and `problems` also
    those of the views that need them; `seconds` are those of each step of the session. All
    are by the steps' keys.
    """

    plan: Plan
    seconds: Mapping[str, float]
    lost: Mapping[str, Problem]
    problems: Mapping[str, Problem]


def reach(connection: DuckDBPyConnection, plan: Plan) -> Reach:
    """Apply the session half of a plan as far as its databases are there.

    Raises EngineError with what failed of all else.
    """
    outcomes = try_session(connection, plan)
    seconds = {key: outcome.seconds for key, outcome in outcomes.items()}
    databases = {step.key for step in plan.databases}
    found = {key: outcome.problems for key, outcome in outcomes.items() if outcome.problems}
    # Nothing can be done any more with a connection in which a call hangs.
    spared = () if is_abandoned(connection) else databases
    if any(key not in spared for key in found):
        problems_of_all = (problem for of_it in found.values() for problem in of_it)
        raise EngineError(sorted(problems_of_all, key=plan.place_of))
    if not found:
        return Reach(plan, seconds, {}, {})
    lost = {key: of_it[0] for key, of_it in found.items()}
    reached, problems = leaving_out(plan, lost)
    return Reach(reached, seconds, lost, problems)


def leaving_out(plan: Plan, failed: Mapping[str, Problem]) -> tuple[Plan, dict[str, Problem]]:
    """Return a plan without the steps that failed and all that needs them; why comes by key."""
    problems = dict(failed)
    databases = {step.key for step in plan.databases}
    for view in plan.views:  # each after those that it reads
        lacking = next((need for need in view.needs if need in problems), None)
        if lacking is not None:
            kind, _, name = lacking.partition(":")
            message = f'the {kind} "{name}" cannot be reached'
            if lacking not in databases:
                message = "a view that it reads failed"
            problems[view.key] = Problem(view.origin, message, "", view.view)
    keys = [*databases, *(view.key for view in plan.views)]
    return plan.chosen(key for key in keys if key not in problems), problems


def conflicting(plan: Plan, wanted: Diff) -> dict[str, Problem]:
    """Return why views would take the place of what a user made, by their keys."""
    by_origin = {problem.origin: problem for problem in wanted.conflicts}
    return {view.key: by_origin[view.origin] for view in plan.views if view.origin in by_origin}


def with_failures(
    views: Sequence[ViewReport], plan: Plan, problems: Mapping[str, Problem]
) -> list[ViewReport]:
    """Return the reports with those of views that were not tried, in the order of the plan."""
    reports = list(views)
    for place, step in enumerate(plan.views if problems else ()):
        problem = problems.get(step.key)
        if problem:
            failed = ViewReport(step.schema, step.view, "failed", origin=step.origin)
            reports.insert(place, failed._replace(problem=problem))
    return reports
