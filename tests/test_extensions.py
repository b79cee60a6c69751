"""Extensions that cannot be had: what helps, and no package that is not DuckDB's own."""

from __future__ import annotations

import duckdb
import pytest

from duckalog.extensions import remedy_for


@pytest.mark.parametrize(
    ("version", "name", "told"),
    [
        ("1.5.5", "sqlite_scanner", "Or run: pip install duckdb-extension-sqlite-scanner==1.5.5"),
        ("1.4.4", "httpfs", "Or run: pip install duckdb-extension-httpfs==1.4.4"),
        ("1.5.3", "quack", "Or run: pip install duckdb-extension-quack==1.5.3"),
    ],
)
def test_the_package_of_this_duckdb_is_named_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, version: str, name: str, told: str
) -> None:
    monkeypatch.setattr(duckdb, "__version__", version)
    assert remedy_for(name).endswith(told)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("2.0.0", "sqlite_scanner"),
        ("1.5.6", "sqlite_scanner"),
        ("1.4.5", "httpfs"),
        ("1.5.6.dev12", "httpfs"),
        ("1.5.2", "quack"),
    ],
)
def test_where_there_is_none_a_duckdb_that_has_one_is_named(
    monkeypatch: pytest.MonkeyPatch, version: str, name: str
) -> None:
    monkeypatch.setattr(duckdb, "__version__", version)
    told = remedy_for(name)
    assert f"INSTALL {name}" in told
    assert f"no package of it for DuckDB {version}" in told
    package = name.replace("_", "-")
    assert told.endswith(f"pip install duckdb==1.5.5 duckdb-extension-{package}==1.5.5")


@pytest.mark.parametrize(
    ("name", "repository"), [("nosuchext", ""), ("h3", "community"), ("httpfs", "core_nightly")]
)
def test_no_package_is_named_that_could_be_anybodys(name: str, repository: str) -> None:
    told = remedy_for(name, repository)
    assert "pip" not in told
    assert f"INSTALL {name}" in told
