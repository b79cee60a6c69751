"""Assets over a catalog: one op for every hundred or so of them, as Dagster can bear."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, get_type_hints

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    BackfillPolicy,
    RetryPolicy,
    multi_asset,
)

from duckalog_dagster.resource import DuckalogResource
from duckalog_dagster.specs import (
    ASSETS_PER_OP,
    RESOURCE_KEY,
    CatalogSpecs,
    ConfigPath,
    catalog_specs,
    op_name,
)
from duckalog_dagster.translator import DuckalogTranslator

if TYPE_CHECKING:
    from typing_extensions import Unpack

Compute = Callable[..., Iterator[Any]]
Execute = Callable[[AssetExecutionContext, DuckalogResource], Iterator[Any]]


class OpOptions(TypedDict, total=False):
    """What each op of a catalog may have, in the words of `dagster.multi_asset`."""

    op_tags: Mapping[str, Any] | None
    pool: str | None
    retry_policy: RetryPolicy | None
    backfill_policy: BackfillPolicy | None


def duckalog_assets(
    *,
    config: ConfigPath,
    translator: DuckalogTranslator | None = None,
    select: str = "*",
    exclude: str = "",
    name: str | None = None,
    **op_options: Unpack[OpOptions],
) -> Callable[[Compute], AssetsDefinition]:
    """Return a decorator that makes one op of a catalog's databases and views.

    The decorated function takes the context and a DuckalogResource, and yields
    what `DuckalogResource.build` returns:

        @duckalog_assets(config="catalog.yaml")
        def shop(context: AssetExecutionContext, duckalog: DuckalogResource):
            yield from duckalog.build(context)

    `select` and `exclude` are words as `build_duckalog_asset_selection` has them;
    `op_tags`, `pool`, `retry_policy` and `backfill_policy` are as for `multi_asset`.
    Catalogs of several hundred views are better made by `build_duckalog_assets`.
    """
    catalog = catalog_specs(config, translator).chosen(select, exclude)
    catalog.fit_in_one_op()

    def decorate(compute: Compute) -> AssetsDefinition:
        @functools.wraps(compute)
        def bound(context: AssetExecutionContext, **arguments: Any) -> Iterator[Any]:
            for key, value in arguments.items():
                if isinstance(value, DuckalogResource):
                    arguments[key] = value.bound_to(catalog)
            yield from compute(context, **arguments)

        # Dagster reads the annotations, and not those that are still text.
        bound.__signature__ = inspect.signature(compute, eval_str=True)  # type: ignore[attr-defined]
        bound.__annotations__ = get_type_hints(compute)
        return multi_asset(
            name=name or compute.__name__,
            specs=catalog.specs,
            check_specs=catalog.checks,
            can_subset=True,
            **op_options,
        )(bound)

    return decorate


def build_duckalog_assets(
    config: ConfigPath,
    *,
    translator: DuckalogTranslator | None = None,
    select: str = "*",
    exclude: str = "",
    name: str | None = None,
    resource_key: str = RESOURCE_KEY,
    assets_per_op: int = ASSETS_PER_OP,
    row_counts: bool = False,
    **op_options: Unpack[OpOptions],
) -> list[AssetsDefinition]:
    """Return the assets of a catalog's databases and views, in ops of at most `assets_per_op`.

    The first op of a run builds all that the run is about, in one transaction;
    the others tell what was done with their own. They need a DuckalogResource
    under `resource_key`. With `row_counts` every view that is made is counted,
    which reads it. All else is as for `duckalog_assets`.
    """
    catalog = catalog_specs(config, translator).chosen(select, exclude)
    ops = CatalogOps(catalog, name, assets_per_op, resource_key)
    return ops.assets(execution(row_counts), **op_options)


def execution(row_counts: bool) -> Execute:
    """Return what an op runs: a build, and with `row_counts` a count of each view."""

    def execute(context: AssetExecutionContext, resource: DuckalogResource) -> Iterator[Any]:
        events = resource.build(context)
        return events.fetch_row_count() if row_counts else events

    return execute


@dataclass(frozen=True)
class CatalogOps:
    """How a catalog's assets are put into ops: what these are called, hold and need."""

    catalog: CatalogSpecs
    name: str | None = None
    assets_per_op: int = ASSETS_PER_OP
    resource_key: str = RESOURCE_KEY

    @property
    def build_name(self) -> str:
        """The name of the first op that builds."""
        return op_name(self.name or f"build_{self.catalog.name}")

    @property
    def observe_name(self) -> str:
        """The name of the first op that observes."""
        return op_name(f"observe_{self.name or self.catalog.name}")

    def assets(self, execute: Execute, **op_options: Unpack[OpOptions]) -> list[AssetsDefinition]:
        """Return the assets of databases and views, in ops each of which runs `execute`."""
        catalog, key = self.catalog, self.resource_key

        def compute(context: AssetExecutionContext) -> Iterator[Any]:
            resource: DuckalogResource = getattr(context.resources, key)
            yield from execute(context, resource.bound_to(catalog))

        compute.__annotations__["context"] = AssetExecutionContext
        ops = []
        for number, part in enumerate(catalog.parts(catalog.specs, self.assets_per_op), 1):
            decorate = multi_asset(
                name=f"{self.build_name}_{number}" if number > 1 else self.build_name,
                specs=part,
                check_specs=catalog.checks_of([spec.key for spec in part]),
                can_subset=True,
                required_resource_keys={key},
                **op_options,
            )
            ops.append(decorate(compute))
        return ops
