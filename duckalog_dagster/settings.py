"""What the assets of a catalog have: settings of Python's translators and of the component."""

# No annotations from __future__: Dagster reads them, and not those that are still text.

from dataclasses import dataclass

from dagster import Resolvable


@dataclass(frozen=True)
class DuckalogTranslatorSettings(Resolvable):
    """What the assets of a catalog have, besides what each of them is.

    `enable_asset_checks` gives every view and database the checks that duckalog
    has for it, `enable_code_references` links to the line of the config,
    `enable_source_assets` has an external asset for each source, and
    `enable_sql_metadata` shows each view's SQL. `automation` is what `meta.dagster`
    may say of a view, for all views that do not.
    """

    enable_asset_checks: bool = True
    enable_code_references: bool = True
    enable_source_assets: bool = True
    enable_sql_metadata: bool = True
    automation: str | dict[str, str] | None = None
