"""Duckalog's checks as asset checks: their specs, and what they find in a built catalog."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    MetadataValue,
    TableRecord,
)

from duckalog import CheckStep, DatabaseStep, DuckalogError, Plan, Verdict, ViewStep, check

if TYPE_CHECKING:
    from duckalog_dagster.specs import CatalogSpecs

REACHABLE = "reachable"
"""The check that every attachment and catalog has."""

_ANSWERS = "answers"
_DESCRIPTIONS = {
    _ANSWERS: "The view is there, and a row of it can be read.",
    REACHABLE: "The database can be attached, and answers.",
}
_SEVERITIES = {"error": AssetCheckSeverity.ERROR, "warn": AssetCheckSeverity.WARN}


def check_specs(
    steps: Iterator[ViewStep | DatabaseStep], keys: Mapping[str, AssetKey]
) -> Iterator[AssetCheckSpec]:
    """Yield the specs of the checks of views and databases."""
    for step in steps:
        asset = keys[step.key]
        if isinstance(step, DatabaseStep):
            yield AssetCheckSpec(REACHABLE, asset=asset, description=_DESCRIPTIONS[REACHABLE])
            continue
        for one in step.checks:
            yield AssetCheckSpec(
                one.name,
                asset=asset,
                description=one.description or _DESCRIPTIONS.get(one.kind),
                additional_deps=[keys[need] for need in one.needs if need in keys],
                metadata={"duckalog/check": one.kind},
            )


def with_deps_among(spec: AssetCheckSpec, keys: Collection[AssetKey]) -> AssetCheckSpec:
    """Return a check's spec that needs, besides its own, only assets of these."""
    stated = list(spec.additional_deps)
    deps = [dep for dep in stated if dep.asset_key in keys]
    if deps == stated:
        return spec
    return AssetCheckSpec(
        spec.name,
        asset=spec.asset_key,
        description=spec.description,
        metadata=spec.metadata,
        additional_deps=deps,
    )


def own_check(step: ViewStep | DatabaseStep, key: AssetKey) -> AssetCheckKey:
    """Return the key of the check that every step has: a view answers, a database is reachable."""
    checks = step.checks if isinstance(step, ViewStep) else ()
    names = (one.name for one in checks if one.kind == _ANSWERS)
    return AssetCheckKey(key, next(names, REACHABLE))


def run_checks(
    catalog: CatalogSpecs, plan: Plan, wanted: Collection[AssetCheckKey], lock_timeout_s: float
) -> dict[AssetKey, list[AssetCheckResult]]:
    """Return the results of checks by their assets; `plan` is the filled one.

    Where the catalog cannot be opened, all of them fail.
    """
    views: list[ViewStep] = []
    databases: list[str] = []
    keys: dict[tuple[str, str], AssetCheckKey] = {}
    there = {step.key for step in plan.views}
    filled = catalog.steps_in(plan)
    for asset in dict.fromkeys(one.asset_key for one in wanted):
        ours, step = catalog.steps[asset], filled[asset]
        if isinstance(step, DatabaseStep):
            databases.append(step.key)
            keys[step.key, REACHABLE] = AssetCheckKey(asset, REACHABLE)
        elif isinstance(ours, ViewStep) and step.key in there:
            pairs = [
                (one, AssetCheckKey(asset, name))
                for name, one in _filled(ours, step)
                if AssetCheckKey(asset, name) in wanted
            ]
            checks = tuple(one for one, _ in pairs)
            views.append(msgspec.structs.replace(step, checks=checks))
            keys |= {(step.key, one.name): key for one, key in pairs}
    results: dict[AssetCheckKey, AssetCheckResult] = {}
    try:
        for verdict in _verdicts(plan, views, databases, lock_timeout_s):
            key = keys.get((verdict.subject, verdict.name))
            if key:
                results[key] = _result(key, verdict)
    except DuckalogError as error:
        problem = str(error)
        results = {key: failed(key, problem) for key in keys.values()}
    by_asset: dict[AssetKey, list[AssetCheckResult]] = {}
    for key in wanted:
        result = results.get(key) or failed(key, "the config has no such check any more")
        by_asset.setdefault(key.asset_key, []).append(result)
    return by_asset


def _filled(ours: ViewStep, theirs: ViewStep) -> Iterator[tuple[str, CheckStep]]:
    """Yield the names of a view's checks, as the definitions have them, and the filled checks.

    A name may be made of what a placeholder is filled with.
    """
    if len(ours.checks) == len(theirs.checks):
        yield from ((a.name, b) for a, b in zip(ours.checks, theirs.checks, strict=True))
    else:
        yield from ((one.name, one) for one in theirs.checks)


def _verdicts(
    plan: Plan, views: list[ViewStep], databases: list[str], lock_timeout_s: float
) -> Iterator[Verdict]:
    if views:
        by_key = {view.key: view for view in views}
        whole = tuple(by_key.get(view.key, view) for view in plan.views)
        names = [view.name for view in views]
        checked = msgspec.structs.replace(plan, views=whole)
        yield from check(checked, select=names, lock_timeout_s=lock_timeout_s).verdicts
    if databases:
        chosen = plan.chosen(databases)
        yield from check(chosen, lock_timeout_s=lock_timeout_s).verdicts


def failed(key: AssetCheckKey, problem: str) -> AssetCheckResult:
    """Return the result of a check that could not be run."""
    metadata = {"problem": problem}
    return AssetCheckResult(
        passed=False, asset_key=key.asset_key, check_name=key.name, metadata=metadata
    )


def _result(key: AssetCheckKey, verdict: Verdict) -> AssetCheckResult:
    """Return a verdict as Dagster has it."""
    metadata: dict[str, Any] = {}
    if verdict.message:
        metadata["message"] = verdict.message
    if verdict.problem:
        metadata["problem"] = str(verdict.problem)
    if verdict.failing_rows is not None:
        metadata["failing_rows"] = verdict.failing_rows
    if verdict.sample and verdict.sample.rows:
        columns = verdict.sample.columns
        rows = [TableRecord(dict(zip(columns, row, strict=True))) for row in verdict.sample.rows]
        metadata["sample"] = MetadataValue.table(rows)
    if verdict.withheld:
        metadata["sample withheld"] = verdict.withheld
    if not verdict.passed and verdict.sql:
        metadata["sql"] = MetadataValue.md(f"```sql\n{verdict.sql}\n```")
    metadata["seconds"] = round(verdict.seconds, 6)
    return AssetCheckResult(
        passed=verdict.passed,
        asset_key=key.asset_key,
        check_name=key.name,
        severity=_SEVERITIES[verdict.severity],
        description=verdict.message or None,
        metadata=metadata,
    )
