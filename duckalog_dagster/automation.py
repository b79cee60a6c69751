"""When assets are made by themselves: the conditions that a config may name."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import Any

from dagster import AutomationCondition

Condition = AutomationCondition[Any]


def duckalog_view_condition() -> Condition:
    """Return the condition that makes a view when it is missing, its code or its source changed.

    Unlike `AutomationCondition.eager`, which also makes views again whose
    sources were only written anew with the same data.
    """
    changed: Condition = (
        AutomationCondition.missing().newly_true()
        | AutomationCondition.code_version_changed()
        | AutomationCondition.any_deps_match(AutomationCondition.data_version_changed())
    )
    return (
        changed.since_last_handled()
        & ~AutomationCondition.any_deps_missing()
        & ~AutomationCondition.any_deps_in_progress()
        & ~AutomationCondition.in_progress()
    ).with_label("duckalog_view")


_NAMED: dict[str, Callable[[], Condition]] = {
    "eager": AutomationCondition.eager,
    "on_missing": AutomationCondition.on_missing,
    "view": duckalog_view_condition,
}


def automation_condition(stated: Any) -> Condition:
    """Return the condition that a config states.

    It is `eager`, `on_missing`, `view`, or `{on_cron: "0 6 * * *"}`, with
    `timezone` where that is not UTC. Raises ValueError for all else.
    """
    if isinstance(stated, str) and stated in _NAMED:
        return _NAMED[stated]()
    if isinstance(stated, dict) and isinstance(stated.get("on_cron"), str):
        zone = stated.get("timezone", "UTC")
        if set(stated) <= {"on_cron", "timezone"}:
            if zone not in zoneinfo.available_timezones():  # Dagster stumbles over it later
                raise ValueError(f'there is no time zone "{zone}"')
            return AutomationCondition.on_cron(stated["on_cron"], zone)
    known = ", ".join(_NAMED)
    raise ValueError(f'automation is one of {known}, or {{on_cron: "0 6 * * *"}}; got {stated!r}')
