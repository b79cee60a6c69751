"""The docs are what the code does: pages made from it, recipes that run, real options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import pytest
import yaml
from jsonschema import Draft7Validator

import duckalog
from docs import generate
from duckalog.cli.group import cli
from duckalog.document import read_document
from duckalog.json_schema import json_schema
from tests import tables
from tests.catalogs import change
from tests.conftest import ROOT
from tests.servers.iceberg_rest import IcebergRest
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3

TEXTS = {
    one.name: one.read_text(encoding="utf-8")
    for one in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
}
COOK_BOOK = TEXTS["cook-book.md"]
WORKFLOW = ".github/workflows/catalog.yaml"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def recipes() -> dict[str, str]:
    """Return the cook-book's files by their names."""
    found = {}
    for text in blocks(COOK_BOOK, "yaml"):
        name = re.match(r"# (\S+)", text)
        assert name, "a recipe starts with the name of its file"
        found[name[1]] = text
    return found


class TestPages:
    @pytest.mark.parametrize("name", generate.PAGES)
    def test_a_page_is_what_the_code_says(self, name: str, request: pytest.FixtureRequest) -> None:
        page = generate.FOLDER / name
        if request.config.getoption("--update-golden", default=False):
            generate.main()
        assert page.read_text("utf-8") == generate.PAGES[name]() + "\n", (
            "the page is old: python -m docs.generate writes it anew"
        )

    @pytest.mark.parametrize("name", TEXTS)
    def test_every_link_leads_somewhere(self, name: str) -> None:
        text = TEXTS[name]
        folder = ROOT if name == "README.md" else ROOT / "docs"
        headings = {
            re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("#"):
                assert target[1:] in headings, target
            elif not target.startswith("http"):
                assert (folder / target).exists(), target


def command_lines() -> Iterator[tuple[str, str]]:
    """Yield the name of each text, and every command line of duckalog's in it."""
    for name, text in TEXTS.items():
        if name == "commands.md":
            continue
        shown = [*blocks(text, "sh"), *blocks(text, "console")]
        lines = [line for one in shown for line in one.splitlines()]
        lines += re.findall(r"- run: (.*)$", text, re.MULTILINE)
        lines += [" ".join(one.split()) for one in re.findall(r"`(duckalog [^`]*)`", text)]
        for line in lines:
            found = re.search(r"(?:^|[ /])duckalog (.*?)(?:$| [&|]| >>)", line)
            if found:
                yield name, found[1]


@pytest.mark.parametrize(("name", "line"), sorted(set(command_lines())))
def test_every_command_line_has_real_options(name: str, line: str) -> None:
    first, *words = shlex.split(line)
    with click.Context(cli, **cli.context_settings) as context:
        command = cli.get_command(context, first)
        assert command, f"{name}: there is no command {first}"
        if words:
            command.make_context(first, words, parent=context)


@pytest.fixture
def cook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that writes the recipes, with replacements, and returns one's path."""

    def write(name: str, *replaced: tuple[str, str], **environment: str) -> Path:
        for variable in set(re.findall(r"\$\{env:(\w+)\}", COOK_BOOK)):
            monkeypatch.setenv(variable, f"value of {variable}")
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        for one, text in recipes().items():
            for old, new in replaced:
                text = text.replace(old, new)
            if one != WORKFLOW:
                (tmp_path / one).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


Cook = Callable[..., Path]


@pytest.mark.parametrize(
    "name", [one for one in recipes() if one not in (WORKFLOW, "writer-secrets.yaml")]
)
def test_every_recipe_is_valid(name: str, cook: Cook) -> None:
    config = cook(name)
    duckalog.validate_config(config)
    assert not list(Draft7Validator(json_schema()).iter_errors(read_document(config).data))


def test_the_workflow_is_a_workflow() -> None:
    workflow = yaml.safe_load(recipes()[WORKFLOW])
    (job,) = workflow["jobs"].values()
    assert all(step.keys() & {"run", "uses"} for step in job["steps"])


def rows(config: Path, query: str) -> Any:
    duckalog.build(config)
    with duckalog.connect(config) as connection:
        return connection.execute(query).fetchall()


def at(s3: S3) -> tuple[tuple[str, str], ...]:
    """Return what makes a recipe's S3 secret one of the test server's."""
    place = f"endpoint: '{s3.endpoint}', url_style: path, use_ssl: false"
    return (
        ("region: eu-central-1}", f"region: {s3.region}, {place}}}"),
        ("scope: s3://lake", f"scope: s3://lake\n      {place}".replace(", ", "\n      ")),
        ("${env:AWS_REGION:eu-central-1}", s3.region),
    )


def keys(s3: S3) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": s3.key_id, "AWS_SECRET_ACCESS_KEY": s3.secret}


@pytest.fixture
def bucket(s3: S3) -> str:
    """Return the name of a new bucket."""
    name = f"lake-{uuid4()}"
    s3.make_bucket(name)
    return name


@pytest.mark.servers
class TestRecipesRun:
    def test_s3(self, s3: S3, bucket: str, cook: Cook, tmp_path: Path) -> None:
        tables.write_parquet(tmp_path / "e.parquet", "SELECT 1 AS id, 'x' AS kind")
        s3.put(bucket, "events/day=2026-01-31/e.parquet", tmp_path / "e.parquet")
        config = cook("s3.yaml", *at(s3), ("s3://lake", f"s3://{bucket}"), **keys(s3))
        assert rows(config, "SELECT day::VARCHAR, events FROM events_by_day") == [("2026-01-31", 1)]

    def test_delta(self, s3: S3, bucket: str, cook: Cook) -> None:
        tables.write_delta(f"s3://{bucket}/orders", s3.delta_options)
        config = cook("delta.yaml", *at(s3), ("s3://lake", f"s3://{bucket}"), **keys(s3))
        assert rows(config, "SELECT id FROM orders_since") == [(3,)]

    def test_iceberg_rest(self, iceberg_rest: Callable[..., IcebergRest], cook: Cook) -> None:
        rest = iceberg_rest("oauth2")
        tables.write_iceberg_table(rest.catalog, "sales.orders")
        config = cook(
            "rest.yaml",
            ICEBERG_URI=rest.endpoint,
            ICEBERG_WAREHOUSE=rest.warehouse,
            ICEBERG_CLIENT_ID=rest.client_id,
            ICEBERG_CLIENT_SECRET=rest.client_secret,
        )
        assert rows(config, "FROM orders_per_name ORDER BY name") == [
            ("ann", 1),
            ("bob", 1),
            ("cid", 1),
        ]

    def test_postgres(self, postgres: Postgres, cook: Cook) -> None:
        postgres.create_database("cook_book")
        postgres.run("CREATE TABLE orders AS SELECT 1 AS id, 2.5 AS amount", "cook_book")
        config = cook("postgres.yaml", **login(postgres, "cook_book"))
        assert rows(config, "SELECT id FROM largest_orders") == [(1,)]

    def test_a_ducklake_with_a_writer(
        self, s3: S3, bucket: str, postgres: Postgres, cook: Cook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        postgres.create_database("cook_lake")
        replaced = (*at(s3), ("s3://lake", f"s3://{bucket}"))
        environment = {**keys(s3), **login(postgres, "cook_lake")}
        writer = cook("writer.yaml", *replaced, **environment)
        with duckalog.connect(writer, db_path=":memory:") as connection:
            connection.execute("CREATE TABLE lake.orders (id INT, name VARCHAR, amount DOUBLE)")
        monkeypatch.chdir(writer.parent)
        (program,) = blocks(COOK_BOOK, "python")
        exec(program, {})
        assert rows(writer.parent / "lake.yaml", "FROM orders_per_name") == [("dee", 1)]

    def test_the_script_and_what_it_becomes(
        self, s3: S3, bucket: str, cook: Cook, tmp_path: Path
    ) -> None:
        tables.write_parquet(tmp_path / "orders.parquet")
        s3.put(bucket, "orders/a.parquet", tmp_path / "orders.parquet")
        tables.write_sqlite(
            tmp_path / "crm.db",
            "customers",
            "FROM (VALUES ('ann', 'de'), ('bob', 'fr')) t(name, country)",
        )
        config = cook("migrated.yaml", *at(s3), ("s3://lake", f"s3://{bucket}"), **keys(s3))
        change(tmp_path / "migrated.duckdb", "CREATE VIEW orders AS SELECT 1 AS by_the_script")
        with pytest.raises(duckalog.EngineError, match="--adopt"):
            duckalog.build(config)
        duckalog.build(config, adopt=True)
        with duckalog.connect(config) as connection:
            found = connection.execute("FROM mart.revenue ORDER BY country").fetchall()
        assert found == [("de", 10.5), ("fr", 20.0)]


def login(postgres: Postgres, database: str) -> dict[str, str]:
    return {
        "PG_HOST": postgres.host,
        "PG_PORT": str(postgres.port),
        "PG_DATABASE": database,
        "PG_USER": postgres.user,
        "PG_PASSWORD": postgres.password,
        "PG_SSLMODE": "disable",
    }
