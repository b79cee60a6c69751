"""Views as the inputs of Python assets: pandas, polars or pyarrow tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from dagster import (
    InitResourceContext,
    InputContext,
    IOManager,
    IOManagerDefinition,
    OutputContext,
    io_manager,
)

from duckalog import ViewStep
from duckalog_dagster.resource import DuckalogResource
from duckalog_dagster.specs import RESOURCE_KEY, catalog_specs
from duckalog_dagster.translator import STEP_METADATA_KEY

# The type of a table by where it comes from and what it is called: none is imported.
_READ_AS: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    ("pandas", "DataFrame"): lambda relation: relation.df(),
    ("polars", "DataFrame"): lambda relation: relation.pl(),
    ("polars", "LazyFrame"): lambda relation: relation.pl().lazy(),
    ("pyarrow", "Table"): lambda relation: relation.to_arrow_table(),
}
_DEFAULT_NAMES = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "Table"}


Library = Literal["pandas", "polars", "pyarrow"]


def build_duckalog_io_manager(
    resource_key: str = RESOURCE_KEY, default: Library = "pandas"
) -> IOManagerDefinition:
    """Return what gives an asset a view as a table, of the type that its parameter states.

    That is pandas.DataFrame, polars.DataFrame, polars.LazyFrame or
    pyarrow.Table; without a type, the one of `default`. It only reads, through
    the DuckalogResource under `resource_key`. `build_duckalog_definitions` has
    one under `duckalog_views`:

        @asset(ins={"orders": AssetIn(["shop", "orders"], input_manager_key="duckalog_views")})
        def report(orders: pandas.DataFrame) -> None: ...

    `AssetIn(metadata={"columns": [...]})` reads some of the columns only.
    """

    @io_manager(required_resource_keys={resource_key}, description="Views as tables.")
    def views(_: InitResourceContext) -> IOManager:
        return _Views(resource_key, default)

    return views


class _Views(IOManager):
    """Reads the view of an asset as the type that the parameter states; writes nothing."""

    def __init__(self, resource_key: str, default: Library) -> None:
        self.resource_key = resource_key
        self.default = default

    def load_input(self, context: InputContext) -> Any:
        """Return the view as a table."""
        import duckdb

        kind = context.dagster_type.typing_type
        names = (kind.__module__.partition(".")[0], kind.__qualname__) if _is_type(kind) else None
        read = _READ_AS.get(names or (self.default, _DEFAULT_NAMES[self.default]))
        if read is None:
            known = ", ".join(".".join(one) for one in _READ_AS)
            raise TypeError(f"a view cannot be read as {kind}: one of {known} can")
        resource: DuckalogResource = getattr(context.resources, self.resource_key)
        step = _step(context, resource)
        columns = (context.definition_metadata or {}).get("columns")
        with resource.get_connection() as connection:
            relation = connection.sql(f"FROM {step.relation}")
            if columns:
                relation = relation.select(*map(duckdb.ColumnExpression, columns))
            return read(relation)

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Refuse: views are made by a build."""
        del obj
        raise TypeError(
            f"{context.asset_key.to_user_string()} cannot be written as a view:"
            " use this IO manager as an input_manager_key"
        )


def _step(context: InputContext, resource: DuckalogResource) -> ViewStep:
    upstream = context.upstream_output
    stated = (upstream.definition_metadata or {}).get(STEP_METADATA_KEY) if upstream else None
    plan = resource.plan()
    found = next((view for view in plan.views if view.key == stated), None)
    if found:
        return found
    # An asset of another code location, or one whose name has a placeholder.
    catalog = catalog_specs(resource.config)
    for key, step in catalog.steps_in(plan).items():
        is_it = key == context.asset_key or catalog.steps[key].key == stated
        if is_it and isinstance(step, ViewStep):
            return step
    raise ValueError(f"{context.asset_key.to_user_string()} is no view of {plan.file}")


def _is_type(kind: Any) -> bool:
    return isinstance(kind, type) and kind is not Any  # a class since Python 3.11
