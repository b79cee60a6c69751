"""What DuckDB opens to bind a view, and how it does that soonest."""

from __future__ import annotations

from duckalog.locations import is_remote
from duckalog.plan import Plan, ViewStep


def reads_remote_files(step: ViewStep) -> bool:
    """Say whether a view reads files that are not on this machine."""
    return step.scan.is_remote if step.scan else any(map(is_remote, step.stated_files))


def waits_for_network(step: ViewStep) -> bool:
    """Say whether a view is bound over the network: remote files, or an Iceberg catalog's table."""
    return reads_remote_files(step) or any(need.startswith("catalog:") for need in step.needs)


def opens_every_file(step: ViewStep) -> bool:
    """Say whether DuckDB opens each of a view's files to bind it."""
    return step.scan is not None and "union_by_name" in step.scan.options


def options_for(plan: Plan) -> dict[str, object]:
    """Return the options with which DuckDB makes the views of a plan soonest.

    It would keep what it reads of local files, for queries that never come.
    Threads that have nothing to do wait busily for each statement (1.4 to
    2.0): one is enough, unless a view opens many files.
    """
    options: dict[str, object] = {}
    if not any(map(waits_for_network, plan.views)):
        options["enable_external_file_cache"] = False
    if not any(_opens_many_files(step) for step in plan.views):
        options["threads"] = 1
    return options


def _opens_many_files(step: ViewStep) -> bool:
    """Say whether DuckDB opens many files to bind a view, which it does on all its threads."""
    if step.scan is None:
        return step.reads_unknown_files or bool(step.stated_files)
    is_plain = step.scan.function in ("read_parquet", "read_csv", "read_json")
    return not is_plain or step.scan.is_remote or "union_by_name" in step.scan.options
