"""How the parts stand to each other: layers, lazy imports, the public face, docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import duckalog

ROOT = Path(duckalog.__file__).parent.parent

LAYERS = (
    {"errors", "sql", "version", "logs", "field_docs"},
    {"check_sql", "file_sql", "user_sql", "libpq", "locations", "statements", "values"},
    {"extensions"},
    {"document", "parser"},
    {"references"},
    {"redaction"},
    {"environment"},
    {"decode", "remote", "postgres"},
    {"entry"},
    {"views", "attachments", "catalogs", "checks"},
    {"secrets"},
    {"config"},
    {"consistency", "merging"},
    {"load", "plan", "json_schema"},
    {"bookkeeping", "lineage"},
    {"changes", "diagram", "script"},
    {"clients", "engine"},
    {"init"},
    {"api"},
    {"cli"},
    {"", "__main__"},
)
"""The modules and packages of duckalog, each row above those that may import from it.

Modules of the same package may import each other; those of the same row may not.
"""

PUBLIC = [
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


def modules_of(package: str) -> dict[str, ast.Module]:
    """Return the syntax trees of a package's modules by their dotted names."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


DUCKALOG = modules_of("duckalog")
DAGSTER = modules_of("duckalog_dagster")


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield what a module imports anywhere in it, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in DUCKALOG or full in DAGSTER else node.module


def imports_at_load(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports as soon as it is loaded."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports_of(node)


def part_of(module: str) -> str:
    """Return the part of duckalog that a module belongs to, empty for the package itself."""
    return module.removeprefix("duckalog").removeprefix(".").partition(".")[0]


def layer_of(module: str) -> int:
    (found,) = (number for number, row in enumerate(LAYERS) if part_of(module) in row)
    return found


class TestLayers:
    def test_every_module_has_its_place(self) -> None:
        assert {part_of(module) for module in DUCKALOG} == set().union(*LAYERS)
        assert sum(map(len, LAYERS)) == len(set().union(*LAYERS))

    def test_the_design_has_the_same_rows(self) -> None:
        text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| (`.*?`) \|", text.partition("## How a build runs")[0], re.MULTILINE)
        told = [set(re.findall(r"`(\w+)`", row)) for row in rows]
        assert [*told, {"", "__main__"}] == [*LAYERS]

    @pytest.mark.parametrize("module", DUCKALOG)
    def test_a_module_imports_only_from_the_rows_above(self, module: str) -> None:
        for imported in imports_of(DUCKALOG[module]):
            if imported.partition(".")[0] == "duckalog" and part_of(imported) != part_of(module):
                assert layer_of(imported) < layer_of(module), f"{module} imports {imported}"

    def test_no_modules_import_each_other_in_a_circle(self) -> None:
        graph = {
            module: {one for one in imports_of(tree) if one in DUCKALOG}
            for module, tree in DUCKALOG.items()
        }
        assert len(list(TopologicalSorter(graph).static_order())) == len(DUCKALOG)

    @pytest.mark.parametrize("module", DUCKALOG)
    def test_duckalog_knows_nothing_of_dagster(self, module: str) -> None:
        roots = {imported.partition(".")[0] for imported in imports_of(DUCKALOG[module])}
        assert not roots & {"dagster", "duckalog_dagster"}

    @pytest.mark.parametrize("module", DAGSTER)
    def test_duckalog_dagster_imports_only_the_public_face(self, module: str) -> None:
        for node in ast.walk(DAGSTER[module]):
            if isinstance(node, ast.ImportFrom) and node.module and part_of_duckalog(node.module):
                assert node.module == "duckalog"
                assert {alias.name for alias in node.names} <= set(PUBLIC)
            elif isinstance(node, ast.Import):
                assert not [one.name for one in node.names if one.name.startswith("duckalog.")]

    @pytest.mark.parametrize("module", [one for one in DUCKALOG if part_of(one) != "engine"])
    def test_only_the_engine_loads_duckdb_with_itself(self, module: str) -> None:
        assert "duckdb" not in set(imports_at_load(DUCKALOG[module]))

    def test_nothing_needs_what_the_package_does_not_depend_on(self) -> None:
        core = {"click", "dotenv", "duckdb", "msgspec", "rich", "yaml", "duckalog"}
        # Extras, each told where it is missing.
        core |= {"pyarrow", "prompt_toolkit", "pygments", "harlequin", "harlequin_duckdb"}
        of_the_client = {"psycopg", "psycopg_pool", "sqlglot", "typing_extensions"}
        for module, tree in DUCKALOG.items():
            roots = {imported.partition(".")[0] for imported in imports_of(tree)}
            allowed = core
            if part_of(module) == "postgres":
                allowed = {"duckalog"} | of_the_client | OPTIONAL | OF_AN_EXTRA.get(module, set())
            assert roots - sys.stdlib_module_names <= allowed, module

    def test_nothing_else_knows_of_the_postgresql_client_nor_it_of_catalogs(self) -> None:
        for module, tree in DUCKALOG.items():
            parts = {part_of(one) for one in imports_of(tree) if part_of_duckalog(one)}
            if part_of(module) == "postgres":
                assert parts <= {
                    *("postgres", "environment", "errors", "libpq", "redaction", "sql"),
                }, module
                assert not {one.partition(".")[0] for one in imports_at_load(tree)} & OPTIONAL
            else:
                assert "postgres" not in parts, module
            if module != "duckalog.postgres":
                assert not set(imports_of(tree)) & set(OF_AN_EXTRA), module


OPTIONAL = {"boto3", "pyarrow"}
"""What the PostgreSQL client imports only where its user asks for it."""

OF_AN_EXTRA = {
    "duckalog.postgres.metrics": {"prometheus_client"},
    "duckalog.postgres.tracing": {"opentelemetry"},
}
"""Modules for whose names the client's user needs another extra: no other module loads them."""


def part_of_duckalog(module: str) -> bool:
    return module.partition(".")[0] == "duckalog"


# The command line ends by os._exit.
_LOADED = """
import os, runpy, sys
sys.argv = ["duckalog", *{arguments!r}]
leave = os._exit
def tell(status):
    print(*sys.modules, file=sys.stderr, flush=True)
    leave(status)
os._exit = tell
{statement}
tell(0)
"""


def modules_loaded_by(statement: str, *arguments: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", _LOADED.format(statement=statement, arguments=arguments)],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in result.stderr.split()}
    assert loaded & {"duckalog", "duckalog_dagster"}
    return loaded


RUN = 'runpy.run_module("duckalog", run_name="__main__")'


class TestLazyImports:
    HEAVY = {"duckdb", "rich", "msgspec", "pydantic", "yaml", "dotenv", "dagster", "psycopg"}

    @pytest.mark.parametrize(
        ("statement", "arguments"),
        [
            ("import duckalog", ()),
            ("import duckalog.postgres", ()),
            (RUN, ("--help",)),
            (RUN, ("version",)),
            (RUN, ("version", "--json")),
            (RUN, ("--version",)),
            (RUN, ("build", "--help")),
            (RUN, ("validate", "--help")),
            (RUN, ("generate-sql", "--help")),
            (RUN, ("graph", "--help")),
            (RUN, ("init", "--help")),
        ],
    )
    def test_help_and_version_load_nothing_heavy(
        self, statement: str, arguments: tuple[str, ...]
    ) -> None:
        assert not modules_loaded_by(statement, *arguments) & self.HEAVY

    def test_importing_duckalog_loads_no_click(self) -> None:
        assert "click" not in modules_loaded_by("import duckalog")

    def test_pydantic_is_never_loaded(self, tmp_path: Path) -> None:
        config = tmp_path / "catalog.yaml"
        config.write_text("version: 1\nviews: [{name: v, sql: SELECT 1}]")
        loaded = modules_loaded_by(RUN, "validate", str(config))
        assert "msgspec" in loaded
        assert "pydantic" not in loaded


class TestPublicFace:
    def test_its_names_are_pinned(self) -> None:
        assert duckalog.__all__ == PUBLIC
        assert dir(duckalog) == sorted(PUBLIC)

    @pytest.mark.parametrize("name", PUBLIC)
    def test_every_name_is_there_and_says_what_it_is(self, name: str) -> None:
        value = getattr(duckalog, name)
        assert name == "__version__" or value.__doc__

    def test_another_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="has no attribute 'nope'"):
            duckalog.nope  # noqa: B018

    def test_a_star_import_has_them_all(self) -> None:
        names: dict[str, object] = {}
        exec("from duckalog import *", names)
        assert set(PUBLIC) <= set(names)

    def test_both_packages_are_typed(self) -> None:
        for package in ("duckalog", "duckalog_dagster"):
            assert (ROOT / package / "py.typed").is_file()


def public_in(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield the public classes, functions and methods of a module."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            yield f"{prefix}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public_in(child, f"{prefix}{child.name}.")


class TestDocstrings:
    @pytest.mark.parametrize("module", [*DUCKALOG, *DAGSTER])
    def test_every_module_says_what_it_owns(self, module: str) -> None:
        text = ast.get_docstring({**DUCKALOG, **DAGSTER}[module])
        assert text
        assert text.splitlines()[0].endswith((".", ":"))

    @pytest.mark.parametrize("module", [*DUCKALOG, *DAGSTER])
    def test_every_public_name_says_what_comes_back(self, module: str) -> None:
        names = dict(public_in({**DUCKALOG, **DAGSTER}[module]))
        silent = [
            name
            for name, node in names.items()
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not ast.get_docstring(node)
        ]
        assert not silent

    def test_every_command_has_a_help_text(self) -> None:
        group = import_module("duckalog.cli.group")
        import click

        with click.Context(group.cli) as context:
            for name in group.cli.list_commands(context):
                command = group.cli.get_command(context, name)
                assert command.help
                assert all(
                    option.help for option in command.params if isinstance(option, click.Option)
                )
