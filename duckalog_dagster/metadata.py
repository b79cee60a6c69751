"""What an event tells of a view or a database: columns, what happened, how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckResult,
    AssetKey,
    DataVersion,
    MaterializeResult,
    TableColumn,
    TableColumnLineage,
    TableSchema,
)

from duckalog import DatabaseReport, ViewReport, ViewStep

if TYPE_CHECKING:
    import duckdb

ACTION = "duckalog/action"
SECONDS = "duckalog/seconds"


def view_result(
    key: AssetKey,
    step: ViewStep,
    view: ViewReport,
    invalidated: Sequence[str],
    checks: Sequence[AssetCheckResult],
    rows: int | None,
    lineage: TableColumnLineage | None,
) -> MaterializeResult[None]:
    """Return the materialization of a view; `invalidated` are views that it made out of date."""
    metadata: dict[str, Any] = {
        "dagster/column_schema": column_schema(step, view),
        ACTION: "drifted" if view.drift else view.action,
        SECONDS: round(view.seconds, 6),
    }
    if lineage is not None:
        metadata["dagster/column_lineage"] = lineage
    if view.drift:
        metadata["duckalog/drift"] = "\n".join(view.drift)
    if rows is not None:
        metadata["dagster/row_count"] = rows
    if invalidated and view.action in ("created", "replaced"):
        metadata["duckalog/invalidated"] = list(invalidated)
    return MaterializeResult(
        asset_key=key,
        metadata=metadata,
        data_version=DataVersion(view.data_version),
        check_results=checks,
    )


def column_schema(step: ViewStep, view: ViewReport) -> TableSchema:
    """Return a view's columns, with what the config says of them."""
    stated = {name.lower(): column for name, column in step.columns.items()}
    columns = []
    for name, kind in view.columns:
        said = stated.get(name.lower())
        columns.append(TableColumn(name, kind, said.description if said else None))
    return TableSchema(columns=columns)


def database_result(
    key: AssetKey, database: DatabaseReport, version: str, checks: Sequence[AssetCheckResult]
) -> MaterializeResult[None]:
    """Return the materialization of a database: it was attached, and answered."""
    metadata: dict[str, Any] = {SECONDS: round(database.seconds, 6)}
    if database.server_version:
        metadata["duckalog/server_version"] = database.server_version
    if database.tables is not None:
        metadata["duckalog/tables"] = database.tables
    return MaterializeResult(
        asset_key=key,
        metadata=metadata,
        data_version=DataVersion(version) if version else None,
        check_results=checks,
    )


def row_count(connection: duckdb.DuckDBPyConnection, step: ViewStep) -> int:
    """Return how many rows a view has."""
    ((rows,),) = connection.execute(f"SELECT count(*) FROM {step.relation}").fetchall()
    return int(rows)
