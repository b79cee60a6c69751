"""duckalog: a DuckDB catalog as code, in one YAML or JSON file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from duckalog.errors import ConfigError, DuckalogError, EngineError
from duckalog.version import __version__

if TYPE_CHECKING:
    from duckalog.api import (
        build,
        build_catalog,
        check,
        column_lineage,
        connect,
        diff,
        generate_graph,
        generate_sql,
        init_config,
        load_plan,
        observe,
        validate_config,
    )
    from duckalog.changes import Diff
    from duckalog.config import Config
    from duckalog.engine.checking import run_check
    from duckalog.engine.observe import SourceReport
    from duckalog.engine.reports import BuildReport, DatabaseReport, ViewReport
    from duckalog.engine.verdicts import CheckReport, Verdict
    from duckalog.entry import Source
    from duckalog.init.draft import Note, StartingConfig
    from duckalog.lineage import Lineage
    from duckalog.load import load_config
    from duckalog.plan import CheckStep, DatabaseStep, Plan, ViewStep

__all__ = [
    "BuildReport",
    "CheckReport",
    "CheckStep",
    "Config",
    "ConfigError",
    "DatabaseReport",
    "DatabaseStep",
    "Diff",
    "DuckalogError",
    "EngineError",
    "Lineage",
    "Note",
    "Plan",
    "Source",
    "SourceReport",
    "StartingConfig",
    "Verdict",
    "ViewReport",
    "ViewStep",
    "__version__",
    "build",
    "build_catalog",
    "check",
    "column_lineage",
    "connect",
    "diff",
    "generate_graph",
    "generate_sql",
    "init_config",
    "load_config",
    "load_plan",
    "observe",
    "run_check",
    "validate_config",
]

_HOME = {
    **dict.fromkeys(
        (
            "build",
            "build_catalog",
            "check",
            "column_lineage",
            "connect",
            "diff",
            "generate_graph",
            "generate_sql",
            "init_config",
            "load_plan",
            "observe",
            "validate_config",
        ),
        "duckalog.api",
    ),
    "Config": "duckalog.config",
    "load_config": "duckalog.load",
    "Diff": "duckalog.changes",
    "Lineage": "duckalog.lineage",
    "Plan": "duckalog.plan",
    "DatabaseStep": "duckalog.plan",
    "ViewStep": "duckalog.plan",
    "Source": "duckalog.entry",
    "SourceReport": "duckalog.engine.observe",
    "DatabaseReport": "duckalog.engine.reports",
    "CheckStep": "duckalog.plan",
    "BuildReport": "duckalog.engine.reports",
    "Note": "duckalog.init.draft",
    "StartingConfig": "duckalog.init.draft",
    "ViewReport": "duckalog.engine.reports",
    "CheckReport": "duckalog.engine.verdicts",
    "Verdict": "duckalog.engine.verdicts",
    "run_check": "duckalog.engine.checking",
}


if not TYPE_CHECKING:  # a name that is not there is an error to type checkers

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for: `import duckalog` costs nothing."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
