"""The JSON schema of a config: it takes what duckalog takes, and refuses what it refuses."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from duckalog import ConfigError, load_config
from duckalog.document import parse_document, read_document
from duckalog.errors import key_path
from duckalog.json_schema import json_schema
from tests.conftest import ROOT, RunCli, WriteConfig
from tests.test_mutated_configs import BASE, changed, plain_base

SCHEMA = json_schema()
VALIDATOR = Draft7Validator(SCHEMA)

S3 = "type: s3, key_id: a, secret: b"

DIFFERENCES = {
    "keys that exclude each other": (
        r": .* exclude each other|an iceberg view has either",
        "views: [{name: v, sql: SELECT 1, sql_file: v.sql}]",
    ),
    "keys that go with some value of another": (
        r": .* (does not go with|belongs to provider|has no uri|needs credentials)",
        "duckdb: {secrets: [{" + S3 + ", chain: env}]}",
    ),
    "keys that are needed beside others, or in place of them": (
        r': the key "(?!name|alias|source|type|catalog_type)\w+" is missing',
        "attachments: {postgres: [{alias: a, host: h}]}",
    ),
    "a database that is a URL, which is known once the environment is": (
        r"^duckdb.database: the catalog is built in a local file",
        "duckdb: {database: 's3://lake/catalog.duckdb'}",
    ),
    "what a warehouse looks like": (
        r"warehouse: .* takes (an AWS account|the ARN)",
        "iceberg_catalogs: [{name: g, catalog_type: glue, warehouse: sales}]",
    ),
    "SQL that is only blanks": (
        r"(sql|pragmas\[\d+\]): the (query|statement) is empty",
        "views: [{name: v, sql: ' '}]",
    ),
    "the parts of a table's name": (
        r"table: (?!unknown|expected)",
        "attachments: {sqlite: [{alias: a, path: a.db}]}\n"
        "views: [{name: v, source: sqlite, database: a, table: a.b.c}]",
    ),
    "names and values of DuckDB's own options": (
        r"options.*: (?!unknown|expected (text|a map))|cannot be the name of",
        "views: [{name: v, source: csv, uri: v.csv, options: {a b: 1}}]",
    ),
    "malformed placeholders": (
        r": .* is not a placeholder",
        "views: [{name: v, sql: 'SELECT ${env:}'}]",
    ),
    "characters that DuckDB cannot hold": (
        r": text cannot contain",
        r'views: [{name: v, sql: "SELECT 1\0"}]',
    ),
    "names that are the same to DuckDB": (
        r": .* differ in case only",
        "views: [{name: v, sql: SELECT 1, columns: {a: x, A: y}}]",
    ),
    "names that another part of the config has": (
        r": there is a (view|database|secret) called",
        "views: [{name: v, sql: SELECT 1}, {name: V, sql: SELECT 2}]",
    ),
    "names that no part of the config has": (
        r": no (attachment|catalog|secret) is called|: the (attachment|secret) ",
        "views: [{name: v, source: sqlite, database: nope, table: a}]",
    ),
    "names that are DuckDB's own": (
        r": .* (is (what DuckDB calls|a name of|also the schema|a schema of|reserved)|"
        r"has the name of)",
        "views: [{name: v, schema: _duckalog, sql: SELECT 1}]",
    ),
}
"""What a JSON schema cannot say, or only at the price of messages that nobody understands.

By its name: what duckalog says of it, and a config that is refused for it.
"""


def problems_of(file: Path) -> list[str]:
    """Return what duckalog finds wrong in a config, its placeholders not filled."""
    try:
        load_config(file, fill_environment=False)
    except ConfigError as error:
        return [f"{key_path(one.origin.path)}: {one.message}" for one in error.problems]
    return []


def refusals_of(file: Path) -> list[str]:
    """Return what the schema finds wrong in a config."""
    try:
        data = read_document(file).data
    except ConfigError as error:
        return [str(error)]
    errors = list(VALIDATOR.iter_errors(data))
    for error in errors:
        errors += error.context  # what each branch of an `anyOf` says
    return [f"{error.json_path}: {error.message}" for error in errors]


def is_beyond_a_schema(problem: str) -> bool:
    return any(re.search(pattern, problem) for pattern, _ in DIFFERENCES.values())


def properties_in(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each struct's properties by `Struct.key`."""
    for struct, definition in {"Config": schema, **schema["definitions"]}.items():
        if definition.get("additionalProperties") is False:
            for key, one in definition["properties"].items():
                yield f"{struct}.{key}", one


PROPERTIES = dict(properties_in(SCHEMA))


class TestSchema:
    def test_it_is_a_json_schema(self) -> None:
        Draft7Validator.check_schema(SCHEMA)

    def test_every_key_says_what_it_is(self) -> None:
        silent = [
            name for name, one in PROPERTIES.items() if not one.get("description", "").endswith(".")
        ]
        assert not silent, "write a docstring below the field: a sentence, and an example"

    def test_every_example_is_valid(self) -> None:
        examples = [
            (name, example)
            for name, one in PROPERTIES.items()
            for example in one.get("examples", ())
        ]
        assert len(examples) > len(PROPERTIES) / 2
        for name, example in examples:
            one = {**PROPERTIES[name], "definitions": SCHEMA["definitions"]}
            assert not list(Draft7Validator(one).iter_errors(example)), name

    def test_every_struct_says_what_it_is(self) -> None:
        assert all(one["description"] for one in SCHEMA["definitions"].values())


GOLDEN = sorted(
    one
    for one in (ROOT / "tests" / "golden").rglob("*")
    if one.suffix in (".yaml", ".json") and one.name != "package.json"
)
README = [
    text
    for text in re.findall(
        r"^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S
    )
    if not text.startswith("# defs.yaml")  # a component of Dagster's
]


class TestWhatIsValid:
    @pytest.mark.parametrize(
        "file",
        [*GOLDEN, ROOT / "example_project" / "catalog.yaml"],
        ids=lambda one: one.parent.name,
    )
    def test_configs_of_files(self, file: Path) -> None:
        assert not refusals_of(file)

    @pytest.mark.parametrize("text", README)
    def test_configs_of_the_readme(self, text: str) -> None:
        assert not list(VALIDATOR.iter_errors(parse_document(text, "catalog.yaml").data))

    @pytest.mark.parametrize(
        "text",
        [
            "attachments: {sqlite: [{alias: a, path: b, busy_timeout: '${env:WAIT}'}]}",
            "attachments: {postgres: [{alias: a, secret: b, sslmode: '${env:MODE:require}'}]}",
            "attachments: {duckdb: [{alias: a, path: b, read_only: '${env:READ_ONLY}'}]}",
            "duckdb:",
            "views: [{name: v, sql: SELECT 1, description: , columns: {a: , b: {tags: }}}]",
            "views: [{name: v, sql: , sql_file: query.sql}]",
            "'$schema': catalog.schema.json",
        ],
    )
    def test_placeholders_and_keys_without_a_value(self, text: str) -> None:
        assert not list(VALIDATOR.iter_errors(parse_document(text, "catalog.yaml").data))

    def test_json_names_its_schema_by_a_key(self, write_config: WriteConfig) -> None:
        file = write_config('{"$schema": "catalog.schema.json", "version": 1}', "catalog.json")
        assert not refusals_of(file)
        assert not problems_of(file)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("nope: 1", "$"),
            ("version: 2", "$.version"),
            ("duckdb: {databse: x}", "$.duckdb"),
            ("duckdb: {settings: {threads: {valeu: 1}}}", "$.duckdb.settings.threads"),
            ("duckdb: {pragmas: SET x}", "$.duckdb.pragmas"),
            ("duckdb: {load_extensions: [{nam: h3}]}", "$.duckdb.load_extensions[0]"),
            ("duckdb: {secrets: [{type: s4}]}", "$.duckdb.secrets[0].type"),
            ("duckdb: {secrets: [{type: s3, tenant_id: x}]}", "$.duckdb.secrets[0]"),
            ("attachments: {mysql: []}", "$.attachments"),
            ("attachments: {sqlite: [{path: x}]}", "$.attachments.sqlite[0]"),
            (
                "attachments: {postgres: [{alias: a, secret: b, port: 70000}]}",
                "$.attachments.postgres[0].port",
            ),
            (
                "attachments: {postgres: [{alias: a, secret: b, port: many}]}",
                "$.attachments.postgres[0].port",
            ),
            ("iceberg_catalogs: [{name: a, catalog_type: hive}]", "$.iceberg_catalogs[0].catalog"),
            ("views: [{name: a}]", "$.views[0]"),
            ("views: [{name: a, source: parket, uri: x}]", "$.views[0].source"),
            ("views: [{name: a, source: csv, uri: []}]", "$.views[0].uri"),
            ("views: [{name: a, source: csv, uri: x, table: y}]", "$.views[0]"),
            ("views: [{name: a, source: csv, uri: x, columns: {a: {tag: [x]}}}]", "$.views[0].c"),
            ("views: [{name: a, sql: 1}]", "$.views[0]"),
            ("views: [{name: a, sql: SELECT 1, source: csv, uri: x}]", "$.views[0]"),
            ("views: [{name: a, sql: }]", "$.views[0]"),
            ("views: [{name: '', sql: SELECT 1}]", "$.views[0].name"),
            ("views: [{name: 1, sql: SELECT 1}]", "$.views[0].name"),
            ("imports: ['']", "$.imports[0]"),
        ],
    )
    def test_what_the_schema_and_duckalog_refuse(
        self, text: str, path: str, write_config: WriteConfig
    ) -> None:
        version = "" if text.startswith("version") else "version: 1\n"
        file = write_config(f"{version}{text}\n")
        assert any(refusal.startswith(path) for refusal in refusals_of(file))
        assert problems_of(file)

    @pytest.mark.parametrize("name", DIFFERENCES)
    def test_what_only_duckalog_refuses(self, name: str, write_config: WriteConfig) -> None:
        pattern, text = DIFFERENCES[name]
        file = write_config(f"version: 1\n{text}\n")
        assert not refusals_of(file)
        assert [one for one in problems_of(file) if re.search(pattern, one)]

    @pytest.mark.parametrize("first", range(0, 150, 50))
    def test_mutated_configs_are_refused_by_both_or_by_none(
        self, first: int, write_config: WriteConfig
    ) -> None:
        for seed in range(first, first + 50):
            data = changed(plain_base(), random.Random(seed))
            file = write_config(json.dumps(data))
            refusals, problems = refusals_of(file), problems_of(file)
            if refusals:
                assert problems, (seed, refusals)
            else:
                assert all(map(is_beyond_a_schema, problems)), (seed, problems)

    def test_the_config_that_they_start_from_is_valid(self, write_config: WriteConfig) -> None:
        file = write_config(BASE)
        assert not refusals_of(file)
        assert not problems_of(file)


class TestCommand:
    def test_it_prints_the_schema(self, run_cli: RunCli) -> None:
        result = run_cli("schema")
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads(result.stdout) == SCHEMA

    def test_it_writes_the_schema_into_a_file(self, run_cli: RunCli, tmp_path: Path) -> None:
        result = run_cli("schema", "--output", "catalog.schema.json")
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert json.loads((tmp_path / "catalog.schema.json").read_text("utf-8")) == SCHEMA

    def test_a_file_that_cannot_be_written_is_told(self, run_cli: RunCli) -> None:
        result = run_cli("schema", "--output", "nowhere/catalog.schema.json")
        assert result.returncode == 1
        assert result.stderr == (
            "nowhere/catalog.schema.json: cannot be written: No such file or directory\n"
        )
