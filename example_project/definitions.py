"""TalknShop's catalog as Dagster assets, rebuilt every morning, with a report made from a view."""

from pathlib import Path

from dagster import Definitions, MaterializeResult, MetadataValue, asset

from duckalog_dagster import (
    DuckalogResource,
    build_duckalog_assets,
    build_duckalog_config_sensor,
    build_duckalog_definitions,
    build_schedule_from_duckalog_selection,
    get_asset_key_for_view,
)

CATALOG = Path(__file__).with_name("catalog.yaml")


@asset(deps=[get_asset_key_for_view(CATALOG, "analytics.crosspost_success")], group_name="reports")
def marketplaces_to_watch(duckalog: DuckalogResource) -> MaterializeResult:
    """Marketplaces on which fewer than nine listings in ten go live."""
    with duckalog.get_connection() as connection:
        rows = connection.execute(
            "SELECT marketplace, success_rate, top_error FROM analytics.crosspost_success"
            " WHERE success_rate < 0.9 ORDER BY success_rate"
        ).fetchall()
    lines = [f"| {name} | {rate:.1%} | {error} |" for name, rate, error in rows]
    table = "\n".join(["| marketplace | go live | top error |", "|---|---|---|", *lines])
    return MaterializeResult(metadata={"watch": MetadataValue.md(table), "rows": len(rows)})


defs = Definitions.merge(
    build_duckalog_definitions(CATALOG),
    Definitions(
        assets=[marketplaces_to_watch],
        schedules=[
            build_schedule_from_duckalog_selection(
                build_duckalog_assets(CATALOG), "rebuild_talknshop", "0 6 * * *"
            )
        ],
        sensors=[build_duckalog_config_sensor(CATALOG)],
    ),
)
