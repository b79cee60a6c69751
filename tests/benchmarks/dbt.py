"""dagster-dbt over dbt-duckdb, in an environment of its own: the same views as dbt's models."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import duckdb

from tests.benchmarks.peer import make_environment

# dbt-core 1.12 needs a parser that PyPI has as a downloader only.
_PACKAGES = ("dagster-dbt", "dbt-duckdb", "dbt-core<1.12")

LOAD = """
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets
project = DbtProject(sys.argv[1])

@dbt_assets(manifest=project.manifest_path)
def models(context, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()

dagster.Definitions([models], resources={"dbt": DbtCliResource(project)}).get_repository_def()
"""

RUN = """
logging.getLogger("dagster").setLevel("ERROR")
with dagster.DagsterInstance.ephemeral() as instance:
    start = spent()
    dagster.materialize([models], resources={"dbt": DbtCliResource(project)}, instance=instance)
"""


def installed(cache: Path) -> Path:
    """Return the Python of the environment, made on first use: this Python, DuckDB and Dagster."""
    dagster = version("dagster")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / f"dbt-python{python}-duckdb{duckdb.__version__}-dagster{dagster}"
    if not (folder / "bin" / "dbt").exists():
        shutil.rmtree(folder, ignore_errors=True)
        packages = [*_PACKAGES, f"dagster=={dagster}", f"duckdb=={duckdb.__version__}"]
        make_environment(folder, packages)
    return folder / "bin" / "python"


def project(folder: Path, python: Path, queries: list[str]) -> Path:
    """Return the folder of a dbt project that has a view for each query, parsed."""
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(
        "name: shop\nprofile: shop\nflags: {send_anonymous_usage_stats: false}\n"
        "models: {shop: {+materialized: view}}\n"
    )
    (folder / "profiles.yml").write_text(
        "shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb, threads: 4}}}\n"
    )
    for number, query in enumerate(queries):
        (folder / "models" / f"v{number}.sql").write_text(f"{query}\n")
    subprocess.run(
        [python.with_name("dbt"), "parse", "--quiet"],
        cwd=folder,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return folder
