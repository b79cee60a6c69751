"""The session half: extensions, settings, secrets and attachments on a connection."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Container, Iterator, Mapping
from typing import NamedTuple

import duckdb
import msgspec
from duckdb import DuckDBPyConnection

from duckalog.engine.execution import abandon, close, execute, is_abandoned, refused, run, within
from duckalog.engine.versions import KEEPS_ICEBERG_TABLES
from duckalog.entry import shown_text
from duckalog.errors import EngineError, Problem
from duckalog.extensions import obtain_extension, remedy_for
from duckalog.plan import DatabaseStep, ExtensionStep, Plan, Step
from duckalog.redaction import Redactor
from duckalog.sql import literal
from duckalog.statements import detach, set_option
from duckalog.values import execute_with

logger = logging.getLogger("duckalog.engine")

PROBE_LIMIT_S = 30.0
HTTP_LIMITS = {"http_timeout": 8, "http_retries": 2}
_PROBES = {
    "postgres": ("postgres_query", "SELECT 1"),
    "sqlite": ("sqlite_query", "SELECT count(*) FROM sqlite_master"),
}
"""How to hear from the databases that DuckDB attaches without asking them anything."""
_SQLITE_MAGIC = b"SQLite format 3\0"


def apply_session(
    connection: DuckDBPyConnection, plan: Plan, *, probe_limit_s: float = PROBE_LIMIT_S
) -> dict[str, float]:
    """Apply the session half of a plan to a connection; return each step's seconds, by its key.

    Every database is probed, each within `probe_limit_s`. Raises EngineError
    with all that failed: what needs a step that failed is not tried.
    """
    outcomes = try_session(connection, plan, probe_limit_s=probe_limit_s)
    problems = [one for outcome in outcomes.values() for one in outcome.problems]
    if problems:
        raise EngineError(sorted(problems, key=plan.place_of))
    return {key: outcome.seconds for key, outcome in outcomes.items()}


def keeping_tables(plan: Plan) -> Plan:
    """Return the plan whose Iceberg catalogs keep what they told of tables, where DuckDB can."""
    if not KEEPS_ICEBERG_TABLES:
        return plan
    session = (step.keeping() if isinstance(step, DatabaseStep) else step for step in plan.session)
    return msgspec.structs.replace(plan, session=tuple(session))


def forget_tables(connection: DuckDBPyConnection, plan: Plan) -> None:
    """Attach the Iceberg catalogs of a plan that kept tables anew, as the plan has them."""
    for step, keeping in zip(plan.session, keeping_tables(plan).session, strict=True):
        if step.statements != keeping.statements:
            execute(connection, detach(step.name))
            attaching = msgspec.structs.replace(step, statements=step.statements[-1:])
            _apply(connection, attaching, plan, PROBE_LIMIT_S, ())


class Outcome(NamedTuple):
    """How a step of the session went; one that was not tried names the step that it `lacks`."""

    problems: tuple[Problem, ...] = ()
    lacks: str = ""
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Say whether the step was applied."""
        return not self.problems and not self.lacks


def try_session(
    connection: DuckDBPyConnection, plan: Plan, *, probe_limit_s: float = PROBE_LIMIT_S
) -> dict[str, Outcome]:
    """Apply what can be applied of the session half; return how each step went, by its key."""
    if plan.extension_directory:
        execute(connection, set_option("extension_directory", literal(plan.extension_directory)))
    outcomes: dict[str, Outcome] = {}
    for step in plan.session:
        lacks = next(
            (key for key in step.needs if key in outcomes and not outcomes[key].is_well), ""
        )
        problems: tuple[Problem, ...] = ()
        start = time.perf_counter()
        if not lacks:
            failed = {key for key, outcome in outcomes.items() if not outcome.is_well}
            try:
                _apply(connection, step, plan, probe_limit_s, failed)
            except EngineError as error:
                problems = error.problems
        outcomes[step.key] = Outcome(problems, lacks, time.perf_counter() - start)
    return outcomes


def prepare_cursor(cursor: DuckDBPyConnection, plan: Plan, without: Container[str] = ()) -> None:
    """Give a cursor the settings of the session, which DuckDB keeps for each by itself.

    Where a pragma locked the configuration it has those of the database only.
    """
    ((is_locked,),) = cursor.execute("SELECT current_setting('lock_configuration')").fetchall()
    if is_locked:
        return
    for step in plan.session:
        if step.key in without:
            continue
        if step.kind == "setting" or (step.kind == "pragma" and _is_setting(step)):
            run(cursor, step, plan.redact)


def _is_setting(step: Step) -> bool:
    word = step.statements[0].text.split(maxsplit=1)[0]
    return word.upper() in ("SET", "RESET", "PRAGMA")


def _apply(
    connection: DuckDBPyConnection,
    step: Step,
    plan: Plan,
    probe_limit_s: float,
    failed: Container[str],
) -> None:
    if isinstance(step, ExtensionStep):
        have_extension(connection, step, plan.redact)
    elif isinstance(step, DatabaseStep) and step.kind == "catalog":
        # On a cursor of its own: DuckDB 1.5.5 sends one catalog's token to the host of
        # another, if that one was attached, or refused, on the same connection before.
        cursor = connection.cursor()
        try:
            prepare_cursor(cursor, plan, failed)
            _attach(cursor, step, plan.redact, probe_limit_s)
        finally:
            if is_abandoned(cursor):
                abandon(connection)  # closing it would close, and so wait for, its cursors
            close(cursor)
    elif isinstance(step, DatabaseStep):
        _attach(connection, step, plan.redact, probe_limit_s)
    elif step.kind == "secret":  # DuckDB asks for a token of OAuth 2 at once
        with impatient(connection):
            run(connection, step, plan.redact)
    else:
        run(connection, step, plan.redact)


def have_extension(connection: DuckDBPyConnection, step: ExtensionStep, redact: Redactor) -> None:
    """Have the extension of a step; raises EngineError that says how else it can be had."""
    try:
        obtain_extension(
            connection,
            step.name,
            execute,
            installing=step.statements[0],
            is_loaded=step.is_loaded,
        )
        return
    except duckdb.Error as error:
        problem = refused(step, error, redact)
    remedy = remedy_for(step.name, redact(shown_text(step.repository)))
    raise EngineError(problem._replace(remedy=remedy))


def _attach(
    connection: DuckDBPyConnection, step: DatabaseStep, redact: Redactor, limit_s: float
) -> None:
    """Attach a database and hear from it; DuckDB itself only fails at the first query."""
    if step.file is not None:
        unfit = _unfit_file(step.file, step.database_type)
        unfit = unfit or _taken(connection, step.name, step.file)
        if unfit:
            raise EngineError(Problem(step.origin, unfit[0], unfit[1], step.name))
    try:
        within(limit_s, connection, lambda: _attach_and_ask(connection, step))
        return
    except duckdb.Error as error:
        problem = refused(step, error, redact)
    except TimeoutError as error:
        problem = Problem(step.origin, f"the database gives {error}", "", step.name)
    raise EngineError(problem)


def _taken(connection: DuckDBPyConnection, alias: str, file: str) -> tuple[str, str] | None:
    """Return that an alias already stands for another file, and how to mend it, or None.

    Connections of one process to one catalog share their attachments, and
    ATTACH IF NOT EXISTS keeps what is there, whatever it is.
    """
    asked = "SELECT path FROM duckdb_databases() WHERE lower(database_name) = lower($1)"
    found = execute_with(connection, asked, [alias]).fetchone()
    if found is None or os.path.realpath(found[0] or "") == os.path.realpath(file):
        return None
    message = f'this process has "{found[0]}" attached under this alias'
    return message, "Close its other connections to the catalog first."


def _attach_and_ask(connection: DuckDBPyConnection, step: DatabaseStep) -> None:
    with impatient(connection):
        for statement in step.statements:
            execute(connection, statement)
    if step.database_type in _PROBES:
        function, query = _PROBES[step.database_type]
        asked = f"SELECT * FROM {function}({literal(step.name)}, {literal(query)})"
        connection.execute(asked).fetchall()


@contextlib.contextmanager
def impatient(connection: DuckDBPyConnection) -> Iterator[None]:
    """Make HTTP give up within the probe's limit: by default DuckDB tries for two minutes."""
    known = http_limits(connection)
    be_impatient(connection, known)
    try:
        yield
    finally:
        if not is_abandoned(connection):
            for name, value in known.items():
                with contextlib.suppress(duckdb.InvalidInputException):
                    connection.execute(set_option(name, literal(value)).text)


def http_limits(connection: DuckDBPyConnection) -> dict[str, int]:
    """Return how long and how often HTTP tries, by DuckDB's names; none without httpfs."""
    found = connection.execute(
        "SELECT name, value FROM duckdb_settings() WHERE name IN ('http_timeout', 'http_retries')"
    ).fetchall()
    return {name: int(value) for name, value in found}


def be_impatient(cursor: DuckDBPyConnection, known: Mapping[str, int]) -> None:
    """Lower the limits that are `known` to those of a probe."""
    for name, value in known.items():
        with contextlib.suppress(duckdb.InvalidInputException):  # a pragma locked the configuration
            cursor.execute(set_option(name, literal(min(value, HTTP_LIMITS[name]))).text)


def _unfit_file(file: str, database_type: str) -> tuple[str, str] | None:
    """Return why a file cannot be the database to attach, and how to mend it, or None."""
    if not os.path.exists(file):
        remedy = "An attachment must exist: duckalog never creates one. Is the path right?"
        return f'there is no file "{file}"', f"{remedy} Paths start from the config's folder."
    if os.path.isdir(file):
        return f'"{file}" is a folder', "An attachment is a file."
    if not os.access(file, os.R_OK):
        return f'"{file}" cannot be read', "Check its permissions."
    if database_type == "sqlite" and os.path.getsize(file):
        with open(file, "rb") as opened:
            if opened.read(len(_SQLITE_MAGIC)) != _SQLITE_MAGIC:
                return f'"{file}" is not a SQLite database', "Is it under the right type?"
    return None
