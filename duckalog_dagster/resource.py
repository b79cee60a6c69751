"""The catalog as a Dagster resource: connections with the session half, and builds as events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import duckdb
from dagster import AssetExecutionContext
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from duckalog import Plan, connect, load_plan
from duckalog_dagster.events import DuckalogEventIterator
from duckalog_dagster.run import CatalogRun
from duckalog_dagster.specs import CatalogSpecs, catalog_specs
from duckalog_dagster.translator import DuckalogTranslator

LOCK_TIMEOUT_S = 300.0


class DuckalogResource(DuckDBResource):
    """A DuckDB catalog that a duckalog config declares.

    `get_connection` yields a connection to the built catalog, its attachments,
    secrets and settings in place; `build` makes the catalog in a run.

        DuckalogResource(config="catalog.yaml", variables={"PG_PASSWORD": EnvVar("PROD_PG")})
    """

    config: str = Field(description="Path to the config, YAML or JSON.")
    database: str = Field(
        default="", description="Path to the catalog file, in place of that of the config."
    )
    variables: dict[str, str] = Field(
        default={},
        repr=False,  # filled when a run has it
        description="Values for the config's ${env:NAME} placeholders, before the environment's.",
    )
    env_file: str = Field(default="", description="A file with more environment variables.")
    read_only: bool = Field(default=True, description="Whether connections may only read.")
    lock_timeout_s: float = Field(
        default=LOCK_TIMEOUT_S, description="How long to wait for the catalog's lock."
    )
    prune: bool = Field(default=True, description="Whether to drop views that left the config.")
    adopt: bool = Field(default=False, description="Whether to take over views made by hand.")
    refresh: bool = Field(default=False, description="Whether to make unchanged views again too.")
    keep_going: bool = Field(
        default=False,
        description="Whether to build what can be built, in place of all or nothing.",
    )
    publish: Literal["auto", "in-place", "swap"] = Field(
        default="auto",
        description="How a catalog that exists is built: auto swaps where readers have it open.",
    )
    jobs: int = Field(default=32, description="How many remote sources are asked at a time.")

    _catalog: CatalogSpecs | None = PrivateAttr(default=None)

    @classmethod
    def _is_dagster_maintained(cls) -> bool:
        return False

    def plan(self) -> Plan:
        """Return the plan of the config, its placeholders filled."""
        return load_plan(
            self.config,
            self.database or None,
            env_file=self.env_file or None,
            variables=self.variables,
        )

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to the built catalog, its session half applied; closed afterwards."""
        connection = connect(
            self.plan(), read_only=self.read_only, lock_timeout_s=self.lock_timeout_s
        )
        try:
            yield connection
        finally:
            connection.close()

    def build(
        self, context: AssetExecutionContext, translator: DuckalogTranslator | None = None
    ) -> DuckalogEventIterator:
        """Return the events of building what is selected in a run, of the op's own assets.

        An op that is neither of `duckalog_assets` nor of `build_duckalog_assets`
        states the `translator` of its specs. Raises ValueError where none of
        what is selected is an asset of the catalog.
        """
        catalog = self._catalog or catalog_specs(self.config, translator)
        if context.selected_asset_keys and catalog.steps.keys().isdisjoint(
            context.selected_asset_keys
        ):
            selected = ", ".join(sorted(k.to_user_string() for k in context.selected_asset_keys))
            raise ValueError(
                f"{catalog.plan.file} has no assets called {selected}: pass build() the translator"
                " of their specs, or make them by @duckalog_assets"
            )
        return DuckalogEventIterator(CatalogRun(self, catalog, context))

    def bound_to(self, catalog: CatalogSpecs) -> DuckalogResource:
        """Return the resource for the assets of a catalog, as a translator made them."""
        bound = self.model_copy()
        bound._catalog = catalog
        return bound
