"""2,000 broken configs and the nastiest ones: a clear message each, in bounded memory and time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from duckalog.cli.group import cli

BASE = r"""
version: 1
duckdb:
  database: shop.duckdb
  load_extensions: [json]
  install_extensions: [{name: h3, repository: community}]
  pragmas: ["SET enable_progress_bar = false", "SET s3_region = '${env:REGION}'"]
  settings: {threads: 2, memory_limit: 1GB}
  secrets:
    - {type: s3, name: lake, key_id: "${env:KEY}", secret: "${env:SECRET:none}", scope: ["s3://b"]}
    - {type: http, bearer_token: "${env:SECRET:none}", extra_http_headers: {X-A: b}}
attachments:
  duckdb: [{alias: ref, path: ./ref.duckdb, read_only: true}]
  sqlite: [{alias: old, path: old.db, busy_timeout: 500}]
  postgres:
    - alias: dw
      host: "${env:HOST:localhost}"
      port: 5432
      database: dw
      user: ann
      password: "${env:SECRET:none}"
      sslmode: require
      options: {application_name: duckalog}
iceberg_catalogs:
  - {name: ice, catalog_type: rest, uri: "https://c", warehouse: w, options: {token: t0ken}}
views:
  - &files
    name: orders
    source: parquet
    uri: ["s3://b/*.parquet", local/*.parquet]
    options: {hive_partitioning: true, hive_types: {year: INT}}
    description: It's all.
    columns: {id: The key., total: {description: A sum., tags: [money], meta: {unit: EUR}}}
    tags: [a, b]
    meta: {owner: ann, list: [1, 2.5, null, true]}
  - {<<: *files, name: orders_again, schema: sales}
  - {name: country, source: duckdb, database: ref, table: public.country}
  - {name: users, source: sqlite, database: old, table: '"odd.name"'}
  - {name: facts, source: postgres, database: dw, table: public.facts}
  - {name: events, source: delta, uri: "s3://b/delta", options: {version: 3}}
  - {name: sold, source: iceberg, catalog: ice, table: a.b, options: {snapshot_id: 12}}
  - name: vip
    schema: sales
    sql: |
      WITH u AS (SELECT * FROM main.users) -- it's a comment
      SELECT *, '${env:REGION}' AS region FROM u WHERE is_vip
"""

Mutation = Callable[[random.Random], bytes]

WORDS = [
    "",
    " ",
    "~",
    "null",
    "true",
    "no",
    "1",
    "-1",
    "1e999",
    ".nan",
    "0x1F",
    "1:30",
    "2026-01-31",
    "[]",
    "{}",
    "[[]]",
    "'",
    '"',
    "&a",
    "*files",
    "*nope",
    "<<",
    "!!python/object:x",
    "!x",
    "|",
    ">",
    "- ",
    "? ",
    ": ",
    "#",
    "%YAML",
    "---",
    "...",
    "\t",
    "@",
    "`",
    "${env:NOPE}",
    "${env:}",
    "${env:A:${env:B}}",
    "$${env:X}",
    "é",
    "🦆",
    "\u2028",
    "\ufeff",
    "a.b.c.d",
    '"a"."b"',
    "; DROP TABLE x --",
    "../../../etc/passwd",
    "/dev/zero",
    "main",
    "temp",
    "x" * 3000,
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**70,
    1.5,
    float("inf"),
    "",
    "a",
    "\0",
    "\ud800",
    "\x1b[31m",
    "a\nb",
    "'; DROP TABLE x; --",
    "${env:NOPE}",
    "${env:REGION",
    "ORDERS",
    "ref",
    "main",
    "_duckalog",
    [],
    {},
    [[]],
    [None],
    ["a", 1, None],
    {"": ""},
    {"a": {"b": [1]}},
    {"A": 1, "a": 2},
]
KEYS = ["", "x", "NAME", "name ", "sql", "uri", "source", "table", "é", "a b", "<<", "\n", "0"]


def plain_base() -> Any:
    return yaml.safe_load(BASE)


def truncated(chance: random.Random) -> bytes:
    text = BASE.encode()
    return text[: chance.randrange(len(text))]


def truncated_json(chance: random.Random) -> bytes:
    text = json.dumps(plain_base(), indent=chance.choice([None, 1])).encode()
    return text[: chance.randrange(len(text))]


def with_binary(chance: random.Random) -> bytes:
    text = bytearray(BASE.encode())
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(text))
        text[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 4))
    return bytes(text)


def nothing_but_binary(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(1, 3000))


def with_lines_moved(chance: random.Random) -> bytes:
    lines = BASE.splitlines()
    for _ in range(chance.randint(1, 4)):
        at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
        change = chance.choice(["drop", "double", "swap", "indent", "dedent"])
        if change == "drop":
            del lines[at : at + chance.randint(1, 5)]
            lines = lines or [""]
        elif change == "double":
            lines.insert(to, lines[at])
        elif change == "swap":
            lines[at], lines[to] = lines[to], lines[at]
        else:
            lines[at] = f"  {lines[at]}" if change == "indent" else lines[at].removeprefix("  ")
        if len(lines) < 2:
            break
    return "\n".join(lines).encode()


def with_words(chance: random.Random) -> bytes:
    text = BASE
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(WORDS) + text[at + chance.randint(0, 6) :]
    return text.encode()


def changed(data: Any, chance: random.Random) -> Any:
    """Return data with one thing in it, at any depth, made into something else."""
    if isinstance(data, dict) and data and chance.random() < 0.85:
        key = chance.choice(list(data))
        change = chance.random()
        if change < 0.1:
            return {one: value for one, value in data.items() if one != key}
        if change < 0.2:
            return {(chance.choice(KEYS) if one == key else one): data[one] for one in data}
        if change < 0.3:
            return {**data, chance.choice(KEYS): chance.choice(VALUES)}
        return {**data, key: changed(data[key], chance)}
    if isinstance(data, list) and data and chance.random() < 0.85:
        at = chance.randrange(len(data))
        if chance.random() < 0.1:
            return [*data, data[at]]
        return [*data[:at], changed(data[at], chance), *data[at + 1 :]]
    return chance.choice(VALUES)


def with_other_values(chance: random.Random) -> bytes:
    data = plain_base()
    for _ in range(chance.randint(1, 3)):
        data = changed(data, chance)
    return json.dumps(data).encode()


def nested(chance: random.Random) -> bytes:
    depth = chance.choice([10, 63, 64, 65, 100, 1000, 50_000])
    opening, closing = chance.choice([("[", "]"), ("{a: ", "}"), ('{"a":', "}"), ("- ", "")])
    value = opening * depth + "1" + closing * chance.choice([0, depth])
    return BASE.replace("ann, list", f"{value}, list", 1).encode()


def bombs(chance: random.Random) -> bytes:
    levels, width = chance.randint(2, 12), chance.randint(2, 12)
    first = chance.choice(["[1, 2]", "{a: 1, b: 2}", "text"])
    lines = [f"  b0: &b0 {first}"]
    for level in range(1, levels):
        if chance.random() < 0.3 and first.startswith("{"):
            items = "{" + f"<<: [{', '.join([f'*b{level - 1}'] * width)}], c: *b{level - 1}" + "}"
        else:
            items = "[" + ", ".join([f"*b{level - 1}"] * width) + "]"
        lines.append(f"  b{level}: &b{level} {items}")
    place = chance.choice(["views:", "duckdb:", "attachments:"])
    return BASE.replace(f"\n{place}", "\nbomb:\n" + "\n".join(lines) + f"\n{place}", 1).encode()


def huge(chance: random.Random) -> bytes:
    many = chance.choice([100, 2_000, 10_000])
    text = chance.choice(
        [
            BASE + "  - {name: v, sql: '" + "x" * many * 20 + "'}\n",
            BASE + "".join(f"key{one}: 1\n" for one in range(many)),
            BASE + "  - {name: v, sql: SELECT 1}\n" * min(many, 2_000),
            BASE + "  - {name: v, sql: 'SELECT " + "(" * many + "'}\n",
            BASE + "  - {name: v, sql: SELECT 1, tags: [" + "a, " * many + "]}\n",
            BASE.replace("orders", "o" * many),
            BASE.replace("It's all.", "${env:NOPE}" * many),
        ]
    )
    return text.encode()


MUTATIONS: dict[Mutation, int] = {
    truncated: 300,
    truncated_json: 200,
    with_binary: 260,
    nothing_but_binary: 100,
    with_lines_moved: 240,
    with_words: 300,
    with_other_values: 500,
    nested: 40,
    bombs: 40,
    huge: 20,
}
BATCH = 20


def batches() -> list[Any]:
    return [
        pytest.param(
            mutation,
            first,
            id=f"{mutation.__name__}-{first}",
            marks=[pytest.mark.thorough] * bool(first),
        )
        for mutation, count in MUTATIONS.items()
        for first in range(0, count, BATCH)
    ]


def assert_clear(status: int, told: str, file: str) -> None:
    """Check an exit status, and that what was told begins with the place of each problem."""
    assert status in (0, 1), told[-2000:]
    assert "Traceback" not in told
    lines = [line for line in told.splitlines() if not line.startswith("    ")]
    if status == 0:
        assert lines == [f"{file}: valid"]
    else:
        assert lines
        assert all(line.startswith(file) for line in lines), told[:2000]
    assert len(told) < 2_000_000


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGION", "mars-1")
    monkeypatch.setenv("KEY", "AKIA")


def test_there_are_2000_of_them() -> None:
    assert sum(MUTATIONS.values()) == 2_000
    assert all(count % BATCH == 0 for count in MUTATIONS.values())


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize("name", ["catalog.yaml", "catalog.json"])
def test_the_config_that_they_start_from_is_valid(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps(plain_base()) if name.endswith("json") else BASE)
    result = CliRunner().invoke(cli, ["validate", name])
    assert (result.exit_code, result.output) == (0, f"{name}: valid\n")


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(("mutation", "first"), batches())
def test_a_mutated_config_is_valid_or_told_clearly(
    mutation: Mutation, first: int, tmp_path: Path
) -> None:
    for seed in range(first, first + BATCH):
        name = "catalog.json" if "json" in mutation.__name__ else "catalog.yaml"
        (tmp_path / name).write_bytes(mutation(random.Random(seed)))
        start = time.process_time()
        result = CliRunner().invoke(cli, ["validate", name])
        assert time.process_time() - start < 10, f"seed {seed}"
        assert result.exception is None or isinstance(result.exception, SystemExit), f"seed {seed}"
        assert_clear(result.exit_code, result.output, name)


def bomb(levels: int, width: int, first: str) -> str:
    lines = [f"b0: &b0 {first}"]
    lines += [
        f"b{one}: &b{one} [{', '.join([f'*b{one - 1}'] * width)}]" for one in range(1, levels)
    ]
    return "\n".join(lines)


VIEW = "version: 1\nviews:\n- name: v\n  "
NASTY: dict[str, Callable[[], bytes | str]] = {
    "empty.yaml": lambda: "",
    "nul.yaml": lambda: "version: 1\0",
    "every_byte.yaml": lambda: bytes(range(256)),
    "utf16.yaml": lambda: "version: 1".encode("utf-16"),
    "all_nul.json": lambda: b"\0" * 1_000_000,
    "brackets.yaml": lambda: "[" * 1_000_000,
    "brackets_of_maps.yaml": lambda: "{a: " * 1_000_000,
    "dashes.yaml": lambda: "- " * 1_000_000,
    "questions.yaml": lambda: "? " * 1_000_000,
    "brackets.json": lambda: "[" * 1_000_000,
    "closed_brackets.json": lambda: "[" * 1_000_000 + "]" * 1_000_000,
    "open_quote.yaml": lambda: "version: '" + "a" * 5_000_000,
    "open_quote.json": lambda: '{"version": "' + "\\a" * 3_000_000,
    "laughs.yaml": lambda: bomb(40, 10, "[lol, lol, lol, lol, lol, lol, lol, lol]"),
    "laughs_of_merges.yaml": lambda: (
        "a: &a {x: 1}\n"
        + "".join(f"b{one}: &b{one} {{<<: *a, y{one}: *a}}\n" for one in range(50_000))
    ),
    "laughs_one_by_one.yaml": lambda: (
        "- &a0 [1]\n" + "".join(f"- &a{one} [*a{one - 1}]\n" for one in range(1, 2_000))
    ),
    "itself.yaml": lambda: "version: &x [*x]",
    "many_wrong_views.yaml": lambda: "version: 1\nviews: [" + "1," * 400_000 + "]",
    "many_lists.yaml": lambda: "[" + "[]," * 2_000_000 + "]",
    "many_lists.json": lambda: "[" + "[]," * 2_000_000 + "[]]",
    "many_unknown_keys.yaml": lambda: (
        "version: 1\n" + "".join(f"k{one}: 1\n" for one in range(200_000))
    ),
    "many_same_views.json": lambda: (
        '{"version": 1, "views": [' + ",".join(['{"name": "v", "sql": "SELECT 1"}'] * 30_000) + "]}"
    ),
    "many_anchors.yaml": lambda: "".join(f"- &a{one} x\n" for one in range(200_000)),
    "base_sixty.yaml": lambda: "version: 1" + ":59" * 300_000,
    "hexadecimal.yaml": lambda: "version: 0x" + "f" * 1_000_000,
    "long_number.json": lambda: '{"version": ' + "9" * 1_000_000 + "}",
    "long_key.json": lambda: '{"' + "k" * 5_000_000 + '": 1}',
    "long_text.yaml": lambda: VIEW + "sql: " + "x" * 5_000_000,
    "python_object.yaml": lambda: "!!python/object/apply:os.system ['echo Traceback']",
    "surrogates.json": lambda: '{"\\ud800": "\\udfff\\u0000"}',
    "nested_queries.yaml": lambda: (
        VIEW + "sql: " + "SELECT * FROM (" * 100_000 + "t" + ")" * 100_000
    ),
    "nested_brackets.yaml": lambda: VIEW + "sql: '" + "SELECT " + "(" * 300_000 + "'",
    "many_nots.yaml": lambda: VIEW + "sql: SELECT " + "NOT " * 200_000 + "true",
    "many_quotes.yaml": lambda: VIEW + 'sql: "' + "'\\\"${env:REGION}" * 100_000 + '"',
    "many_placeholders.yaml": lambda: VIEW + "sql: '" + "${env:NOPE}" * 100_000 + "'",
    "nearly_placeholders.yaml": lambda: VIEW + "sql: '" + "${ env" * 200_000 + "'",
    "its_own_import.yaml": lambda: "version: 1\nimports: [its_own_import.yaml]",
    "many_defaults.yaml": lambda: (
        VIEW + "sql: '" + "".join(f"${{env:V{one}:{one}}}" for one in range(50_000)) + "'"
    ),
    "long_words.yaml": lambda: VIEW + "sql: \"'" + "w" * 1_000_000 + "${env:REGION}'\"",
    "devices.yaml": lambda: (
        "version: 1\nimports: [/dev/zero, /dev/full]\nviews: [{name: v, sql_file: /dev/zero}]"
    ),
}
MEMORY_BYTES = 1024 * 1024 * 1024
CPU_S = 20

_LIMITED = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES}))
resource.setrlimit(resource.RLIMIT_CPU, ({CPU_S}, {CPU_S}))
sys.argv[0] = "duckalog"
runpy.run_module("duckalog", run_name="__main__")
"""


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.thorough] * name.startswith(("many_", "long_", "open_"))
        )
        for name in NASTY
    ],
)
def test_the_nastiest_are_told_in_bounded_memory_and_time(name: str, tmp_path: Path) -> None:
    content = NASTY[name]()
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    result = subprocess.run(
        [sys.executable, "-c", _LIMITED, "validate", name],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=120,  # the processor time is what is limited: a machine may be busy
        check=False,
    )
    assert result.returncode == 1, result.stderr[-2000:]
    assert not result.stdout
    lines = [line for line in result.stderr.splitlines() if not line.startswith("    ")]
    assert lines
    assert all(line.startswith((name, "/dev/")) for line in lines), result.stderr[:2000]
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 500_000


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(
    ("path", "message"),
    [("folder.yaml", "this is a folder, not a file"), ("missing.yaml", "there is no such file")],
)
def test_what_is_no_file_is_told(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "folder.yaml").mkdir()
    result = CliRunner().invoke(cli, ["validate", path])
    assert (result.exit_code, result.output) == (1, f"{path}: {message}\n")


@pytest.mark.usefixtures("_environment")
def test_a_file_above_the_limit_is_told_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(10 * MEMORY_BYTES)
    result = CliRunner().invoke(cli, ["validate", "huge.yaml"])
    assert (result.exit_code, result.output) == (1, "huge.yaml: the file is larger than 16 MiB\n")
