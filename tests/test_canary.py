"""No secret leaves: marked values stand wherever a secret can, and are found nowhere else."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

import click.testing
import duckdb
import pytest

import duckalog
from duckalog.cli.group import cli
from duckalog.sql import libpq_value, literal
from tests.conftest import RunCli

Config = dict[str, Any]

MOTIF = "zqx" * 4
# Any four letters of the motif in a row: messages cut long texts off.
IN_TEXT = re.compile("zqxz|qxzq|xzqx", re.IGNORECASE)
IN_BYTES = re.compile(b"zqxzqx|qxzqxz|xzqxzq")
ENCODED = [base64.b64encode(b"-" * shift + MOTIF.encode())[4:12].decode() for shift in range(3)]


def canary(place: str) -> str:
    """Return a marked value with all that SQL, libpq, URLs, YAML and terminals escape."""
    return (
        f"{MOTIF}'{MOTIF}\"{MOTIF}\\{MOTIF}%{MOTIF} {MOTIF};--{MOTIF}$${MOTIF}ü{len(place)}{place}"
    )


def is_told(said: str | bytes) -> bool:
    """Say whether a piece of any canary stands in what was said."""
    if isinstance(said, bytes):
        return bool(IN_BYTES.search(said))
    return bool(IN_TEXT.search(said)) or any(one in said for one in ENCODED)


def assert_silent(heard: Mapping[str, str | bytes]) -> None:
    """Fail with the channels in which a canary is heard."""
    assert heard, "nothing was listened to"
    assert {channel: said for channel, said in heard.items() if is_told(said)} == {}


class Stated:
    """How a config states a secret: in clear, or as the variable of the environment it is in."""

    def __init__(self, *, in_clear: bool) -> None:
        self.in_clear = in_clear
        self.environment: dict[str, str] = {}

    def __call__(self, place: str) -> str:
        if self.in_clear:
            return canary(place)
        self.environment[place] = canary(place)
        return f"${{env:{place}}}"

    def in_sql(self, place: str) -> str:
        """Return the secret as the content of a literal, which is filled in escaped."""
        return self(place).replace("'", "''")


Scenario = Callable[[Stated], Config]


class Case(NamedTuple):
    """A config, and what a build says against it; `is_known` where YAML alone tells a secret."""

    scenario: Scenario
    reason: str = ""
    is_known: bool = True


def catalog(duckdb_section: Config, **rest: Any) -> Config:
    section = {"database": "catalog.duckdb", **duckdb_section}
    views = [{"name": "one", "sql": "SELECT 1 AS i", "description": "the only one"}]
    return {"version": 1, "duckdb": section, "views": views, **rest}


def session(stated: Stated) -> Config:
    return catalog(
        {
            "pragmas": [
                f"SET http_proxy_password = '{stated.in_sql('IN_PRAGMA')}'",
                f"set http_proxy_username = 'me'; SET VARIABLE token = '{stated.in_sql('TWO')}'",
            ],
            "settings": {"http_proxy_password": stated("IN_SETTING")},
        }
    )


def with_views(*views: Config) -> Scenario:
    return lambda stated: {**session(stated), "views": list(views)}


def pragma(sql: str) -> Scenario:
    return lambda stated: catalog({"pragmas": [sql.format(stated.in_sql("IN_PRAGMA"))]})


def setting(name: str) -> Scenario:
    return lambda stated: catalog({"settings": {name: stated("IN_SETTING")}})


# What needs no extension of DuckDB. A pragma that is bad holds the secret in its text.
BUILT = {"a session": Case(session)}
FAILING = {
    "a view without files": Case(
        with_views({"name": "v", "source": "parquet", "uri": "nowhere/*.parquet"}), "No files found"
    ),
    "a view without a table": Case(
        with_views({"name": "v", "sql": "FROM no_such_table"}), "no_such_table does not exist"
    ),
    "a pragma that does not parse": Case(
        pragma("SET http_proxy_password = '{}' oops"), 'at or near "oops"'
    ),
    "a long pragma that does not parse": Case(
        pragma(f"SET http_proxy_password = '{{}}{'y' * 200}' oops"), 'at or near "oops"'
    ),
    "a pragma that does not end": Case(pragma("SET http_proxy_password = '{}"), "unterminated"),
    "a pragma with an unknown setting": Case(pragma("SET no_password = '{}'"), "unrecognized"),
    "a pragma of another type": Case(pragma("SET threads = '{}'"), "Could not convert", False),
    "a pragma that raises": Case(pragma("SELECT error('{}')"), "${env:IN_PRAGMA}", False),
    "a pragma that converts": Case(pragma("SET VARIABLE token = '{}'::INT"), "Could not convert"),
    "a setting of another type": Case(setting("threads"), "Could not convert", False),
    "an unknown setting": Case(setting("no_such_secret"), "unrecognized"),
    "a missing extension": Case(
        lambda stated: catalog(
            {"load_extensions": ["nosuch"], "settings": {"http_proxy_password": stated("PASS")}}
        ),
        'the extension "nosuch" cannot be had',
    ),
    "a missing attachment": Case(
        lambda stated: {
            **session(stated),
            "attachments": {"duckdb": [{"alias": "gone", "path": "gone.duckdb"}]},
        },
        "there is no file",
    ),
}

# What needs extensions. Port 1 of loopback is closed.
SECRETS: tuple[tuple[str, Config], ...] = (
    ("s3", {"key_id": "{}", "secret": "{}", "session_token": "{}"}),
    ("gcs", {"key_id": "{}", "secret": "{}"}),
    ("r2", {"key_id": "{}", "secret": "{}", "account_id": "account"}),
    ("azure", {"connection_string": "AccountName=me;AccountKey={}", "proxy_password": "{}"}),
    ("azure", {"provider": "access_token", "account_name": "me", "access_token": "{}"}),
    ("azure", {"provider": "service_principal", "client_id": "c", "client_secret": "{}"}),
    ("http", {"bearer_token": "{}", "http_proxy_password": "{}"}),
    ("http", {"extra_http_headers": {"X-Api": "{}"}, "scope": "http://example.com"}),
    ("postgres", {"host": "127.0.0.1", "port": 1, "user": "me", "password": "{}"}),
    ("mysql", {"host": "127.0.0.1", "port": 1, "user": "me", "password": "{}"}),
    ("iceberg", {"token": "{}"}),
    ("huggingface", {"token": "{}"}),
)
S3 = {"type": "s3", "endpoint": "127.0.0.1:1", "url_style": "path", "use_ssl": False}
POSTGRES = {"alias": "dw", "host": "127.0.0.1", "port": 1, "database": "sales", "user": "me"}
REST = {"name": "ice", "catalog_type": "rest", "uri": "http://127.0.0.1:1", "warehouse": "lake"}


def filled(value: Any, stated: Stated, place: str) -> Any:
    """Return a part of a config, each `{}` in it replaced by a secret of its own place."""
    if isinstance(value, dict):
        return {key: filled(item, stated, f"{place}_{key}") for key, item in value.items()}
    name = re.sub(r"\W", "_", place).upper()
    return value.replace("{}", stated(name)) if "{}" in str(value) else value


def every_secret(stated: Stated) -> Config:
    secrets = [
        {"type": kind, "name": f"number {number}", **filled(fields, stated, f"at_{number}")}
        for number, (kind, fields) in enumerate(SECRETS)
    ]
    return catalog({"secrets": secrets})


def s3_settings(stated: Stated) -> Config:
    keys = f"KEY_ID 'me', SECRET '{stated.in_sql('OWN')}'"
    pragmas = [
        f"SET s3_secret_access_key = '{stated.in_sql('IN_PRAGMA')}'",
        f"CREATE SECRET own (TYPE s3, {keys}, SCOPE 's3://own')",
    ]
    settings = {"s3_access_key_id": stated("KEY"), "s3_session_token": stated("SESSION")}
    return catalog({"load_extensions": ["httpfs"], "pragmas": pragmas, "settings": settings})


def closed_s3(stated: Stated) -> Config:
    secret = filled({**S3, "key_id": "{}", "secret": "{}"}, stated, "s3")
    view = {"source": "parquet", "uri": "s3://bucket/v.parquet"}
    views = [{**view, "name": "v"}, {**view, "name": "pinned", "pin": True}]
    return catalog({"settings": {"http_retries": 0}, "secrets": [secret]}, views=views)


def postgres(**keys: Any) -> Scenario:
    return lambda stated: catalog(
        {}, attachments={"postgres": [{**POSTGRES, **filled(keys, stated, "dw")}]}
    )


def remote(path: str) -> Scenario:
    return lambda stated: catalog(
        {"settings": {"http_retries": 0}},
        attachments={"duckdb": [{"alias": "far", "path": filled(path, stated, "url_token")}]},
    )


def shared(stated: Stated) -> Config:
    """Return a config of a secret that stands, too, where DuckDB takes no bound value."""
    return catalog(
        {"settings": {"http_retries": 0, "http_proxy_password": stated("SHARED")}},
        attachments={
            "postgres": [{**POSTGRES, "options": {"application_name": stated("SHARED")}}],
        },
        iceberg_catalogs=[{**REST, "warehouse": stated("SHARED")}],
    )


def repository(stated: Stated) -> Config:
    """Return a config of an extension from a place that has a login."""
    url = f"http://me:{MOTIF}@127.0.0.1:1/{stated('URL_TOKEN')}"
    return catalog({"load_extensions": [{"name": "nosuch", "repository": url}]})


def iceberg(**options: Any) -> Scenario:
    return lambda stated: catalog(
        {}, iceberg_catalogs=[{**REST, "options": filled(options, stated, "ice")}]
    )


BUILT_WITH_EXTENSIONS = {
    "every type of secret": Case(every_secret),
    "the settings and pragmas of S3": Case(s3_settings),
}
FAILING_WITH_EXTENSIONS = {
    "an S3 that is closed": Case(closed_s3, "Could not connect"),
    "a Postgres that is closed": Case(postgres(password="{}"), "Connection refused"),
    "a user that is secret": Case(postgres(user="{}"), "Connection refused", False),
    "an option of libpq": Case(
        postgres(password="{}", options={"options": "-c my.token={}"}), "Connection refused", False
    ),
    "a secret that is also said where it is shown": Case(shared, "Connection refused", False),
    "the repository of an extension": Case(repository, "cannot be had", False),
    "a URL with a token": Case(remote("http://127.0.0.1:1/a?t={}"), "${env:URL_TOKEN}", False),
    "the token of a catalog": Case(iceberg(token="{}"), "Could not connect"),
    "the client of a catalog": Case(
        iceberg(client_id="{}", client_secret="{}"), "Could not get token"
    ),
    "a header of a catalog": Case(iceberg(extra_http_headers={"X": "{}"}), "Could not connect"),
    "a header beside a token": Case(
        iceberg(token="{}", extra_http_headers={"X": "{}"}), "Could not connect"
    ),
    "another option of a catalog": Case(iceberg(default_schema="{}"), "Could not connect", False),
}
WITH_EXTENSIONS = (BUILT_WITH_EXTENSIONS, FAILING_WITH_EXTENSIONS)


def view(**keys: str) -> Scenario:
    """Return the scenario of a view with a secret, which is the password of the session too."""
    return lambda stated: catalog(
        {"settings": {"http_proxy_password": stated("MELODY")}},
        views=[{"name": "v", **{key: text.format(stated("MELODY")) for key, text in keys.items()}}],
    )


def section(**keys: Any) -> Scenario:
    return lambda stated: catalog(filled(keys, stated, "token"))


# Refused before anything is opened; each puts the secret where it cannot stand.
REFUSED = {
    "text for a port": Case(postgres(port="{}"), "a port from 1 to 65535"),
    "text for a choice": Case(
        lambda stated: catalog({"secrets": [{"type": "s3", "url_style": stated("STYLE")}]}),
        '"path", "vhost"',
        False,
    ),
    "text for a type": Case(
        lambda stated: catalog({"secrets": [{"type": stated("KIND")}]}), "no secret type", False
    ),
    "a list for a password": Case(
        lambda stated: catalog({"secrets": [{"type": "postgres", "password": [stated("LISTED")]}]}),
        "expected text, got a list",
    ),
    "the name of an extension": Case(
        lambda stated: catalog({"load_extensions": [stated("NAME")]}), "name of an extension", False
    ),
    "the name of an option": Case(section(settings={"odd name": "{}"}), '"odd name"'),
    "an unknown key": Case(section(pasword="{}"), "unknown key"),
    "an unknown option of libpq": Case(
        postgres(options={"sslpassword": "{}"}), "is not an option", False
    ),
    "a secret that is not declared": Case(
        lambda stated: catalog(
            {}, attachments={"postgres": [{"alias": "dw", "secret": stated("NAMED")}]}
        ),
        "no secret is called",
        False,
    ),
    "an unknown attachment": Case(
        view(source="duckdb", database="{}", table="t"), "no attachment is called", False
    ),
    "a name that is none": Case(
        view(source="duckdb", database="d", table="{}"), "is not a name", False
    ),
    "a schema of DuckDB's own": Case(
        view(schema="pg_catalog", sql="SELECT '{}'"), "is reserved", False
    ),
    "SQL that does not parse": Case(view(sql="SELEC '{}'"), "is a credential", False),
}


def every_way(*groups: dict[str, Case]) -> pytest.MarkDecorator:
    """Parametrize with each case, its secrets in the environment and in clear."""
    cases = [
        pytest.param(
            case,
            in_clear,
            id=f"{name}, {'in clear' if in_clear else 'filled'}",
            marks=[
                *[pytest.mark.servers] * (group in WITH_EXTENSIONS),
                *[pytest.mark.thorough] * in_clear,
            ],
        )
        for group in groups
        for name, case in group.items()
        for in_clear in (False, True)
        if not in_clear or case.is_known
    ]
    return pytest.mark.parametrize(("case", "in_clear"), cases)


class Listener(logging.Handler):
    """Hears every logger at every level: the message, and all that the record carries."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.heard: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        said = f"{record.getMessage()}\n{record.__dict__!r}"
        if record.exc_info and record.exc_info[1]:
            said += "".join(all_of(record.exc_info[1]))
        self.heard[f"log {len(self.heard)} of {record.name}"] = said


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Return a handler of the root logger that hears everything while the test runs."""
    made, root, own = Listener(), logging.getLogger(), logging.getLogger("duckalog")
    levels = root.level, own.level
    root.addHandler(made)
    root.setLevel(logging.NOTSET)
    own.setLevel(logging.DEBUG)
    yield made
    root.removeHandler(made)
    root.setLevel(levels[0])
    own.setLevel(levels[1])


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes a scenario's config, its environment set, as JSON."""

    def written(scenario: Scenario, *, in_clear: bool = False) -> Path:
        stated = Stated(in_clear=in_clear)
        path = tmp_path / "catalog.json"
        text = json.dumps(scenario(stated), ensure_ascii=False)
        path.write_text(text, encoding="utf-8")
        for name, value in stated.environment.items():
            monkeypatch.setenv(name, value)
        return path

    return written


def all_of(error: BaseException) -> Iterator[str]:
    """Yield all that an error and those behind it carry, however they are printed or kept."""
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None:
            continue
        yield from (str(one), repr(one), repr(one.args), repr(vars(one)))
        yield "".join(traceback.format_exception(one))
        yield pickle.dumps(one).decode("utf-8", errors="replace")
        pending += [one.__cause__, one.__context__]


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("validate", "--json"),
    ("validate", "--connect"),
    ("generate-sql",),
    ("generate-sql", "--full", "--json"),
    ("generate-sql", "--session"),
    ("plan", "--json"),
    ("graph", "--format", "json", "--json"),
    ("build", "--dry-run"),
    ("build", "--verbose"),
    ("build", "--refresh", "--log-level", "debug", "--log-format", "json"),
    ("build", "--keep-going", "--json"),
    ("plan", "--refresh"),
    ("check", "--json"),
)
# Where a config that states its secrets in clear may differ from one that fills them in.
OF_SECRETS_IN_CLEAR = (
    ("validate", "--json"),
    ("generate-sql", "--full", "--json"),
    ("build", "--dry-run"),
    ("build", "--refresh", "--log-level", "debug", "--log-format", "json"),
)
# Those that open the catalog; run on fewer cases, for they take their time.
ASKING: tuple[tuple[str, ...], ...] = (
    ("query", "FROM one"),
    ("ls",),
    ("build",),
    ("plan", "--log-level", "debug"),
    ("validate", "--connect", "--log-level", "debug", "--log-format", "json"),
    ("graph", "--columns", "--connect"),
    ("query", "FROM one", "--format", "csv"),
    # DuckDB's errors hold the values that it could not convert.
    ("query", "SELECT getvariable('token')::INTEGER"),
    ("query", "SELECT error(current_setting('http_proxy_password'))", "--format", "json"),
    ("ls", "--json"),
    ("describe", "one"),
    ("describe", "one", "--json"),
    ("connect", "--as", "sqlalchemy"),
    ("connect", "--as", "dbt"),
    ("connect", "--as", "init-sql"),
)


def run_every_command(config: Path, commands: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return what each command says, and the errors that it ends with."""
    heard: dict[str, str] = {}
    for command in commands:
        arguments = [command[0], str(config), *command[1:]]
        result = click.testing.CliRunner().invoke(cli, arguments)
        assert result.exit_code in (0, 1), result.output
        name = " ".join(command)
        heard[name] = result.output
        if result.exception:
            heard[f"error of {name}"] = "".join(all_of(result.exception))
    return heard


def in_every_way(config: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield each function of the Python API with the config."""
    yield "load_config", lambda: duckalog.load_config(config)
    yield "load_plan", lambda: duckalog.load_plan(config)
    yield "validate_config", lambda: duckalog.validate_config(config, connect=True)
    yield "generate_sql", lambda: duckalog.generate_sql(config, part="full")
    yield "build", lambda: duckalog.build(config)
    yield "check", lambda: duckalog.check(config)
    yield "diff", lambda: duckalog.diff(config)
    yield "generate_graph", lambda: duckalog.generate_graph(config, format="dot", columns=True)
    yield "column_lineage", lambda: duckalog.column_lineage(config, connect=True)
    yield "dry run", lambda: duckalog.build_catalog(config, dry_run=True)
    yield "verbose", lambda: duckalog.build_catalog(config, verbose=True)
    yield "connect", lambda: duckalog.connect(config).close()
    in_memory = config.parent / "elsewhere.duckdb"
    yield "connect elsewhere", lambda: duckalog.connect(config, db_path=in_memory).close()


def call_every_function(config: Path) -> tuple[dict[str, str], dict[str, BaseException]]:
    """Return what each function of the Python API prints and returns, and the errors raised."""
    heard: dict[str, str] = {}
    errors: dict[str, BaseException] = {}
    for name, call in in_every_way(config):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                returned = call()
            except duckalog.DuckalogError as error:
                errors[name] = error
                returned = None
        heard[name] = f"{out.getvalue()}\n{err.getvalue()}\n{returned!r}\n{returned!s}"
    return heard, errors


class TestTheDetector:
    """The check can fail: a canary is found in each kind of channel, however it is written."""

    WRITTEN = {
        "raw": lambda value: value,
        "in SQL": literal,
        "in a name": lambda value: value.replace('"', '""'),
        "for libpq": libpq_value,
        "for libpq in SQL": lambda value: literal(libpq_value(value)),
        "in a URL": lambda value: quote(value, safe=""),
        "in a form": quote_plus,
        "as Python": repr,
        "as JSON": json.dumps,
        "in capitals": str.upper,
        "cut off at its start": lambda value: "..." + value[8:16],
        "cut off at its end": lambda value: value[:5] + "...",
        "in base64": lambda value: base64.b64encode(f"user:{value}".encode()).decode(),
    }

    @pytest.mark.parametrize("written", WRITTEN.values(), ids=list(WRITTEN))
    def test_it_finds_a_canary_however_it_is_written(self, written: Callable[[str], str]) -> None:
        with pytest.raises(AssertionError):
            assert_silent({"planted": f"before {written(canary('PLACE'))} after"})

    def test_it_finds_a_canary_in_bytes(self) -> None:
        with pytest.raises(AssertionError):
            assert_silent({"file": b"\0\1" + canary("PLACE").encode() + b"\0"})

    def test_it_finds_a_canary_in_the_argument_of_a_log_record(self, listener: Listener) -> None:
        logging.getLogger("another.library").debug("%.3s", canary("PLACE"))
        with pytest.raises(AssertionError):
            assert_silent(listener.heard)

    def test_it_finds_a_canary_in_a_logged_error(self, listener: Listener) -> None:
        try:
            raise ValueError(canary("PLACE"))
        except ValueError:
            logging.getLogger("duckalog").debug("failed", exc_info=True)
        with pytest.raises(AssertionError):
            assert_silent(listener.heard)

    @pytest.mark.parametrize("is_suppressed", [False, True], ids=["cause", "context"])
    def test_it_finds_a_canary_behind_an_error(self, is_suppressed: bool) -> None:
        behind = ValueError(canary("PLACE"))
        try:
            try:
                raise behind
            except ValueError:
                raise duckalog.EngineError("refused") from None if is_suppressed else behind
        except duckalog.EngineError as caught:
            error = caught
        with pytest.raises(AssertionError):
            assert_silent({"error": "".join(all_of(error))})

    def test_it_finds_a_canary_in_an_attribute_of_an_error(self) -> None:
        problem = duckalog.EngineError("refused").problems[0]._replace(remedy=canary("PLACE"))
        with pytest.raises(AssertionError):
            assert_silent({"error": "".join(all_of(duckalog.EngineError(problem)))})

    def test_it_finds_a_canary_in_a_catalog_file(self, tmp_path: Path) -> None:
        with duckdb.connect(str(tmp_path / "catalog.duckdb")) as connection:
            connection.execute(f"CREATE VIEW v AS SELECT {literal(canary('PLACE'))} AS leaked")
        with pytest.raises(AssertionError):
            assert_silent(files_under(tmp_path))

    def test_it_is_silent_where_nothing_is_told(self) -> None:
        assert_silent({"text": "${env:PLACE} zqx", "file": b"zqx zqx\0"})


def files_under(*folders: Path) -> dict[str, bytes]:
    """Return every file's content, and every name as if it were one."""
    files = [path for folder in folders for path in folder.rglob("*")]
    heard = {str(path): path.read_bytes() for path in files if path.is_file()}
    return {**heard, "names": "\n".join(map(str, files)).encode()}


@pytest.mark.thorough
@every_way(BUILT, FAILING, REFUSED, *WITH_EXTENSIONS)
def test_no_command_tells_a_secret(
    case: Case, in_clear: bool, write: Write, listener: Listener
) -> None:
    commands = OF_SECRETS_IN_CLEAR if in_clear else COMMANDS
    heard = run_every_command(write(case.scenario, in_clear=in_clear), commands)
    assert_silent({**heard, **listener.heard})


@every_way(BUILT, {"a view": FAILING["a view without files"]})
def test_no_command_that_asks_tells_a_secret(
    case: Case, in_clear: bool, write: Write, listener: Listener
) -> None:
    heard = run_every_command(write(case.scenario, in_clear=in_clear), ASKING)
    assert_silent({**heard, **listener.heard})


@every_way(BUILT, {"a view": FAILING["a view without files"]})
@pytest.mark.parametrize("kind", ["duckdb", "prompt"])
def test_a_shell_tells_no_secret(
    kind: str, case: Case, in_clear: bool, write: Write, tmp_path: Path
) -> None:
    config = write(case.scenario, in_clear=in_clear)
    build = click.testing.CliRunner().invoke(cli, ["build", str(config)])
    words = [sys.executable, "-m", "duckalog", "shell", str(config), "--with", kind]
    script = "FROM duckdb_secrets();\nFROM nowhere;\n"
    heard = subprocess.run(
        words,
        input=script,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert heard.stdout + heard.stderr
    config.unlink()
    assert_silent({"build": build.output, "stdout": heard.stdout, "stderr": heard.stderr})
    assert_silent(files_under(tmp_path, Path.home()))


@every_way(BUILT, FAILING, REFUSED, *WITH_EXTENSIONS)
def test_no_function_returns_prints_logs_or_raises_a_secret(
    case: Case, in_clear: bool, write: Write, listener: Listener, tmp_path: Path
) -> None:
    config = write(case.scenario, in_clear=in_clear)
    heard, errors = call_every_function(config)
    raised = {f"error of {name}": "".join(all_of(one)) for name, one in errors.items()}
    assert_silent({**heard, **raised, **listener.heard})
    config.unlink()
    assert_silent(files_under(tmp_path))
    # What was listened to is what was meant.
    assert case.reason in str(errors.get("build", ""))
    assert ("build" in errors) == bool(case.reason)


@every_way(BUILT, *WITH_EXTENSIONS)
def test_no_step_nor_statement_shows_a_secret(case: Case, in_clear: bool, write: Write) -> None:
    plan = duckalog.load_plan(write(case.scenario, in_clear=in_clear))
    steps = [*plan.session, *plan.views]
    statements = [statement for step in steps for statement in step.statements]
    shown = [text for one in (*steps, *statements) for text in (repr(one), str(one))]
    assert_silent({"shown": "\n".join((*shown, *(one.script for one in statements)))})


@every_way(BUILT, BUILT_WITH_EXTENSIONS)
def test_neither_the_catalog_nor_a_file_beside_it_nor_home_holds_a_secret(
    case: Case, in_clear: bool, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    config = write(case.scenario, in_clear=in_clear)
    assert duckalog.build(config).count("created") >= 1
    duckalog.connect(config).close()
    config.unlink()
    assert_silent(files_under(tmp_path))


@every_way(BUILT, {"a view": FAILING["a view without files"]})
def test_a_process_of_its_own_tells_no_secret(
    case: Case, in_clear: bool, write: Write, run_cli: RunCli
) -> None:
    result = run_cli("build", write(case.scenario, in_clear=in_clear), "--verbose")
    assert "http_proxy_password" in result.stderr
    assert_silent({"stdout": result.stdout, "stderr": result.stderr})


def test_a_secret_of_several_lines_is_not_told_line_by_line(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(pragma("SET VARIABLE pem = '{}' oops"))
    monkeypatch.setenv("IN_PRAGMA", f"-----BEGIN\n{MOTIF}\n{MOTIF}\n-----END")
    with pytest.raises(duckalog.EngineError) as caught:
        duckalog.build(config)
    assert_silent({"error": "".join(all_of(caught.value))})


def test_a_number_that_is_a_secret_is_not_told(write: Write) -> None:
    config = write(lambda _stated: catalog({"settings": {"http_proxy_password": 4711471147114711}}))
    duckalog.build(config)
    with duckalog.connect(config) as connection:
        sql = "SELECT current_setting('http_proxy_password')"
        assert connection.execute(sql).fetchall() == [("4711471147114711",)]
    shown = f"{duckalog.load_config(config)!r} {duckalog.generate_sql(config, part='full')}"
    assert "4711471147114711" not in shown


def test_the_secrets_of_an_env_file_are_not_told(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: RunCli
) -> None:
    config = write(pragma("SET VARIABLE x = '{}'::INTEGER"))
    monkeypatch.delenv("IN_PRAGMA")
    value = canary("IN_PRAGMA").replace("\\", "\\\\").replace("'", "\\'")
    for line, told in (("", "${env:IN_PRAGMA}"), (f"nonsense {MOTIF}\n", "secrets.env:2: ")):
        (tmp_path / "secrets.env").write_text(f"IN_PRAGMA='{value}'\n{line}", "utf-8")
        result = run_cli("build", config, "--verbose", "--env-file", "secrets.env")
        assert result.returncode == 1
        assert told in result.stderr
        assert_silent({"stderr": result.stderr, "stdout": result.stdout})


@pytest.mark.parametrize(
    "text",
    [
        b'password: "%s"\n\xff\n',
        b'{"duckdb": {"settings": {"http_proxy_password": "%s"}},}',
        b'duckdb: {settings: {http_proxy_password: "%s"}\nviews: }\n',
        b'duckdb: {settings: {http_proxy_password: !!int "%s"}}\n',
        b'duckdb: {settings: {http_proxy_password: !custom "%s"}}\n',
    ],
    ids=["not UTF-8", "not JSON", "not YAML", "of the wrong type", "with a tag"],
)
def test_a_file_that_cannot_be_read_is_told_without_its_content(
    text: bytes, tmp_path: Path
) -> None:
    config = tmp_path / ("catalog.json" if text.startswith(b"{") else "catalog.yaml")
    config.write_bytes(text.replace(b"%s", MOTIF.encode()))
    with pytest.raises(duckalog.ConfigError) as caught:
        duckalog.load_config(config)
    assert_silent({"error": "".join(all_of(caught.value))})


class TestViews:
    """A view is stored in the catalog file, in clear: no secret may stand in one."""

    @pytest.mark.parametrize(
        "view",
        [
            {"sql": "SELECT '${env:API_TOKEN}' AS t"},
            {"sql_file": "query.sql"},
            {"source": "csv", "uri": "https://example.com/x.csv?token=${env:API_TOKEN}"},
            {"source": "csv", "uri": "x.csv", "options": {"delim": "${env:API_TOKEN}"}},
            {"sql": "SELECT 1", "description": "${env:API_TOKEN}"},
            {"sql": "SELECT 1 AS i", "columns": {"i": "${env:API_TOKEN}"}},
        ],
        ids=["sql", "sql_file", "uri", "options", "description", "columns"],
    )
    def test_a_secret_in_a_view_is_refused_with_the_way_to_do_it_right(
        self, view: Config, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("API_TOKEN", canary("API_TOKEN"))
        (tmp_path / "query.sql").write_text("SELECT '${env:API_TOKEN}' AS t")
        config = write(lambda _stated: catalog({}, views=[{"name": "v", **view}]))
        with pytest.raises(duckalog.ConfigError, match="API_TOKEN is a credential") as caught:
            duckalog.build(config)
        (problem,) = caught.value.problems
        assert problem.origin.path[:2] == ("views", 0)
        assert "duckdb.secrets" in problem.remedy
        assert_silent({"error": "".join(all_of(caught.value))})
        assert not (tmp_path / "catalog.duckdb").exists()

    def test_a_variable_that_fills_a_password_elsewhere_is_refused_whatever_its_name(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MELODY", canary("MELODY"))
        views = [{"name": "v", "sql": "SELECT '${env:MELODY}' AS m"}]
        settings = {"http_proxy_password": "${env:MELODY}"}
        config = write(lambda _stated: catalog({"settings": settings}, views=views))
        with pytest.raises(duckalog.ConfigError, match="MELODY is a credential"):
            duckalog.load_config(config)

    def test_a_place_that_scopes_a_secret_is_no_credential(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BUCKET", "s3://sales")
        secret = {"type": "s3", "key_id": "k", "secret": "s", "scope": "${env:BUCKET}"}
        views = [{"name": "v", "source": "parquet", "uri": "${env:BUCKET}/*.parquet"}]
        config = write(lambda _stated: catalog({"secrets": [secret]}, views=views))
        assert "'s3://sales/*.parquet'" in duckalog.generate_sql(config)


OLD_VIEWS = {
    "a named column": "SELECT {} AS api_key",
    "a key of a map": "SELECT MAP {{'client_secret': {}}} AS m",
    "a field": "SELECT {{'password': {}}} AS s",
    "a comparison": "SELECT * FROM (SELECT 'x' AS passwd) WHERE passwd = {}",
    "a DSN": "SELECT 'host=h password=' || {} AS dsn",
    "the environment's": "SELECT {} AS innocent",
}


@pytest.mark.parametrize("query", OLD_VIEWS.values(), ids=list(OLD_VIEWS))
def test_a_config_that_is_made_of_a_file_has_no_credential_of_its_views(
    query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    secret = canary("IN_A_VIEW")
    if "innocent" in query:
        monkeypatch.setenv("MY_TOKEN", secret)
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    with duckdb.connect(str(old / "old.duckdb")) as connection:
        connection.execute(f"CREATE VIEW v AS {query.format(literal(secret))}")
        connection.execute("CREATE VIEW w AS SELECT * FROM v")
        connection.execute(f"CREATE MACRO m() AS {{'secret': {literal(secret)}}}")
        connection.execute("CREATE VIEW u AS SELECT 1 AS i")
        connection.execute(f"COMMENT ON VIEW u IS {literal('token=' + secret)}")
    monkeypatch.chdir(new)
    dsn = f"host=h user=u password={libpq_value(secret)}"
    arguments = ["init", "--from", str(old / "old.duckdb"), "--attach", f"dw={dsn}"]
    heard: dict[str, str] = {}
    for output in ("-", "catalog.yaml", "other.yaml"):
        result = click.testing.CliRunner().invoke(cli, [*arguments, "--output", output])
        assert result.exit_code == 0, result.output
        heard[f"output {output}"] = result.output
    failed = click.testing.CliRunner().invoke(cli, [*arguments, "--attach", f"x={dsn} oops"])
    assert failed.exit_code == 1
    heard["failure"] = failed.output + "".join(all_of(failed.exception or SystemExit()))
    assert 'view "u"' not in heard["output -"]
    assert_silent({**heard, **files_under(new), **listener.heard})
