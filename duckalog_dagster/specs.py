"""Plan to asset specs and check specs: pure functions, nothing is opened or filled."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dagster import AssetCheckSpec, AssetKey, AssetSpec

from duckalog import DatabaseStep, Plan, ViewStep, load_plan
from duckalog_dagster.checks import check_specs, with_deps_among
from duckalog_dagster.selection import chosen_keys
from duckalog_dagster.translator import DuckalogTranslator, DuckalogTranslatorData

ConfigPath = str | os.PathLike[str]

RESOURCE_KEY = "duckalog"
ASSETS_PER_OP = 150
"""What Dagster does for an op grows faster than the number of its assets."""


@dataclass(frozen=True)
class CatalogSpecs:
    """A catalog as Dagster sees it.

    `specs` are those of databases and views, each after what it needs; `keys`
    are the assets' keys by the keys of their steps, sources among them.
    """

    plan: Plan
    name: str
    specs: tuple[AssetSpec, ...]
    sources: tuple[AssetSpec, ...]
    checks: tuple[AssetCheckSpec, ...]
    keys: Mapping[str, AssetKey]

    @cached_property
    def steps(self) -> dict[AssetKey, ViewStep | DatabaseStep]:
        """The steps by the keys of their assets."""
        own = {spec.key for spec in self.specs}
        steps = {self.keys[step.key]: step for step in steps_of(self.plan)}
        return {key: step for key, step in steps.items() if key in own}

    @cached_property
    def foreign(self) -> dict[AssetKey, frozenset[AssetKey]]:
        """For each asset the keys outside of the catalog that it needs, directly or not.

        Sources are of the catalog: a run that looks at them too is no less one build.
        """
        found = {spec.key: frozenset[AssetKey]() for spec in self.sources}
        for spec in self.specs:
            needed = frozenset[AssetKey]()
            for dep in spec.deps:
                needed |= found.get(dep.asset_key, {dep.asset_key})
            found[spec.key] = needed
        return found

    def steps_in(self, filled: Plan) -> dict[AssetKey, ViewStep | DatabaseStep]:
        """Return the steps of the filled plan by the keys of their assets.

        One whose name has a placeholder is found by where the config states it,
        and one that the filled plan does not have is as the definitions know it.
        """
        by_key = {step.key: step for step in steps_of(filled)}
        by_place = {step.origin: step for step in by_key.values()}
        return {
            asset: by_key.get(step.key)
            or (by_place.get(step.origin, step) if "${" in step.key else step)
            for asset, step in self.steps.items()
        }

    def sources_in(self, filled: Plan) -> dict[str, AssetKey]:
        """Return the assets of the sources of the filled plan, by the sources' own keys there."""
        found: dict[str, AssetKey] = {}
        for asset, theirs in self.steps_in(filled).items():
            ours = self.steps[asset]
            if not (isinstance(ours, ViewStep) and isinstance(theirs, ViewStep)):
                continue
            if len(ours.sources) == len(theirs.sources):
                for own, their in zip(ours.sources, theirs.sources, strict=True):
                    found[their.key] = self.keys[own.key]
        return found

    def chosen(self, select: str, exclude: str = "") -> CatalogSpecs:
        """Return the part of the catalog that words choose, with the sources that it reads.

        What it needs of the rest are assets that somebody else makes. Sources are
        left out by their keys only.
        """
        if select == "*" and not exclude:
            return self
        words = exclude.split()
        by_key = " ".join(word for word in words if word.startswith("key:"))
        others = " ".join(word for word in words if not word.startswith("key:"))
        left_out = chosen_keys((*self.sources, *self.specs), by_key)
        left_out |= chosen_keys(self.specs, others)
        keys = chosen_keys(self.specs, select) - left_out
        specs = tuple(spec for spec in self.specs if spec.key in keys)
        read = {dep.asset_key for spec in specs for dep in spec.deps} - left_out
        return replace(
            self,
            specs=specs,
            sources=tuple(spec for spec in self.sources if spec.key in read),
            checks=tuple(
                with_deps_among(check, keys) for check in self.checks if check.asset_key in keys
            ),
        )

    def checks_of(self, keys: Sequence[AssetKey]) -> list[AssetCheckSpec]:
        """Return the checks of the assets of an op, which waits for no op that comes after it."""
        before = {spec.key for spec in self.specs[: self._places[keys[-1]] + 1]}
        found = (check for key in keys for check in self._checks_by_asset.get(key, ()))
        return [with_deps_among(check, before) for check in found]

    def parts(self, specs: Sequence[AssetSpec], size: int) -> Iterator[list[AssetSpec]]:
        """Yield assets in their order, at most `size` at a time, no two outputs of one name."""
        part: list[AssetSpec] = []
        taken: set[str] = set()
        for spec in specs:
            names = self._outputs_of(spec)
            if part and (len(part) >= size or not taken.isdisjoint(names)):
                yield part
                part, taken = [], set()
            part.append(spec)
            taken.update(names)
        if part:
            yield part

    def fit_in_one_op(self) -> None:
        """Raise ValueError where Dagster would call two outputs of one op the same."""
        taken: dict[str, str] = {}
        for spec in self.specs:
            for name, what in self._outputs_of(spec).items():
                if name in taken:
                    raise ValueError(
                        f"{self.steps[spec.key].origin}: {what} and {taken[name]} cannot be made by"
                        f' one op, in which Dagster would call both "{name}": name one otherwise'
                        " (a check by its name, a view by meta.dagster.asset_key), or take"
                        " build_duckalog_assets"
                    )
                taken[name] = what

    def _outputs_of(self, spec: AssetSpec) -> dict[str, str]:
        """Return what an asset and its checks are, by what Dagster calls them in an op."""
        key = spec.key.to_user_string()
        names = {spec.key.to_python_identifier(): f"the asset {key}"}
        for check in self._checks_by_asset.get(spec.key, ()):
            names[check.get_python_identifier()] = f'the check "{check.name}" of {key}'
        return names

    @cached_property
    def _places(self) -> dict[AssetKey, int]:
        return {spec.key: place for place, spec in enumerate(self.specs)}

    @cached_property
    def _checks_by_asset(self) -> dict[AssetKey, list[AssetCheckSpec]]:
        found: dict[AssetKey, list[AssetCheckSpec]] = {}
        for check in self.checks:
            found.setdefault(check.asset_key, []).append(check)
        return found


def steps_of(plan: Plan) -> Iterator[ViewStep | DatabaseStep]:
    """Yield the steps that are assets, each after those that it needs."""
    yield from plan.databases
    yield from plan.views


def catalog_specs(config: ConfigPath, translator: DuckalogTranslator | None = None) -> CatalogSpecs:
    """Return a config's catalog as Dagster sees it; its placeholders are not filled."""
    return specs_of(load_plan(config, fill=False), translator or DuckalogTranslator())


def specs_of(plan: Plan, translator: DuckalogTranslator) -> CatalogSpecs:
    """Return a plan's catalog as Dagster sees it.

    Raises ValueError where two assets have the same key.
    """
    name = catalog_name(plan)
    sources: dict[AssetKey, AssetSpec] = {}
    keys: dict[str, AssetKey] = {}
    for source in dict.fromkeys(one for view in plan.views for one in view.sources):
        spec = translator.get_asset_spec(DuckalogTranslatorData(source, name, plan))
        keys[source.key] = spec.key
        sources.setdefault(spec.key, spec)  # two patterns over one folder are one source
    specs: dict[AssetKey, AssetSpec] = {}
    for step in steps_of(plan):
        needs = [keys[need] for need in step.needs if need in keys]
        needs += [keys[one.key] for one in getattr(step, "sources", ())]
        deps = tuple(dict.fromkeys(needs))
        spec = translator.get_asset_spec(DuckalogTranslatorData(step, name, plan, deps))
        if spec.key in specs or spec.key in sources:
            other = next(one for one, key in keys.items() if key == spec.key)
            raise ValueError(
                f"{step.origin}: {step.key} and {other} have the same asset key"
                f" {spec.key.to_user_string()}: give one of them another, under meta.dagster"
            )
        keys[step.key] = spec.key
        # What a translator made itself may not say that a run of others leaves it out.
        specs[spec.key] = spec if spec.skippable else spec.replace_attributes(skippable=True)
    settings = translator.settings
    return CatalogSpecs(
        plan,
        name,
        tuple(specs.values()),
        tuple(sources.values()) if settings.enable_source_assets else (),
        tuple(check_specs(steps_of(plan), keys)) if settings.enable_asset_checks else (),
        keys,
    )


def catalog_name(plan: Plan) -> str:
    """Return what a catalog is called in Dagster: as DuckDB does, or as its config file is."""
    if plan.is_in_memory or "${" in plan.database:
        return os.path.splitext(os.path.basename(plan.file))[0]
    return plan.catalog_name


def op_name(text: str) -> str:
    """Return a text as the name of an op."""
    return re.sub(r"\W+", "_", text, flags=re.ASCII)


def build_duckalog_asset_specs(
    config: ConfigPath, translator: DuckalogTranslator | None = None
) -> list[AssetSpec]:
    """Return the specs of a config's databases and views, and of the sources that they read."""
    catalog = catalog_specs(config, translator)
    return [*catalog.sources, *catalog.specs]


def build_duckalog_check_specs(
    config: ConfigPath, translator: DuckalogTranslator | None = None
) -> list[AssetCheckSpec]:
    """Return the specs of the checks that a config's databases and views have."""
    return list(catalog_specs(config, translator).checks)
