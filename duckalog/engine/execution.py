"""Running a step's statements: logged without secrets, refused with the place in the config."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import duckdb

from duckalog.engine.versions import READS_DELTA_VERSIONS
from duckalog.errors import EngineError, Origin, Problem, nearest, sentences, variable_hint
from duckalog.plan import Step, ViewStep
from duckalog.redaction import Redactor
from duckalog.sql import Statement, literal
from duckalog.statements import set_option

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("duckalog.engine")

Result = TypeVar("Result")

_LOGGED = 10_000
"""Characters of a statement that are logged: that of a pinned view may name 100,000 files."""

_REFUSALS = {
    "setting": "DuckDB refused the setting",
    "pragma": "DuckDB refused the pragma",
    "secret": "DuckDB refused the secret",
    "attachment": "the database cannot be attached",
    "catalog": "the Iceberg catalog cannot be attached",
    "view": "DuckDB refused the view",
}


def execute(connection: DuckDBPyConnection, statement: Statement) -> None:
    """Run a statement; its script, which shows no secret, is logged at DEBUG."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s", _logged(statement))
    connection.execute(statement.text, statement.values or None)


def _logged(statement: Statement) -> str:
    text = statement.script
    length = len(text)
    return text if length < _LOGGED else f"{text[:_LOGGED]}… ({length:,} in all)"


def execute_together(connection: DuckDBPyConnection, statements: Sequence[Statement]) -> None:
    """Run statements without bound values by one call of DuckDB's, and log each."""
    if logger.isEnabledFor(logging.DEBUG):
        for statement in statements:
            logger.debug("%s", _logged(statement))
    connection.execute(";\n".join(statement.text for statement in statements))


def run(connection: DuckDBPyConnection, step: Step, redact: Redactor) -> None:
    """Run a step's statements; raises EngineError with the step's origin.

    The cause is not chained: DuckDB's own error may hold what must not be shown.
    """
    try:
        for statement in step.statements:
            execute(connection, statement)
        return
    except duckdb.Error as error:
        problem = refused(step, error, redact)
    raise EngineError(problem)


def refused(step: Step, error: BaseException, redact: Redactor) -> Problem:
    """Return what DuckDB says against a step, secrets taken out; or what it lacks for it."""
    if isinstance(step, ViewStep) and not READS_DELTA_VERSIONS and _reads_delta_version(step):
        remedy = "Upgrade duckdb to 1.5 or newer, or take options.version away."
        message = "DuckDB 1.4 cannot read a Delta table at a version"
        return Problem(step.origin, message, remedy, step.view)
    text = str(error)
    if any(one.is_spliced for one in step.statements):
        text = _EXCERPT.sub("", text)
    text = redact(text).strip()
    name = step.view if isinstance(step, ViewStep) else step.name
    if step.kind == "pragma" or step.origin.path[-1:] == (name,):  # the place says it already
        name = ""
    if step.kind == "extension":  # the place is that of what needs it, and has a name of its own
        return Problem(step.origin, f'the extension "{name}" cannot be had', cause=text)
    if step.kind in ("setting", "pragma") and _ONLY_AT_OPENING.search(text):
        message = "DuckDB takes this setting only where it opens a database"
        remedy = "Take it away: a session has the catalog open already when it sets anything."
        return Problem(step.origin, message, remedy, name, text)
    text, hint = _without_table(text)
    remedy = sentences(hint, variable_hint(text))
    return Problem(step.origin, _REFUSALS[step.kind], remedy, name, text)


_OPTIONS = re.compile(
    r'Invalid named parameter "(?P<wrong>[^"]*)" for function \w+\nCandidates:\n'
    r"(?P<known>(?: +.*\n)+)"
)


def _without_table(text: str) -> tuple[str, str]:
    """Return a refusal with the options of a function on one line, and the one that is meant."""
    found = _OPTIONS.search(text)
    if not found:
        return text, ""
    names = [line.split()[0] for line in found["known"].splitlines() if line.strip()]
    start, end = found.span("known")
    return f"{text[:start]}    {', '.join(names)}\n{text[end:]}", nearest(found["wrong"], names)


_ONLY_AT_OPENING = re.compile(r"while database is running|set at startup")
"""What DuckDB says of such settings, 1.4 to 2.0."""


def _reads_delta_version(step: ViewStep) -> bool:
    scan = step.scan
    if scan is None or scan.function != "delta_scan":
        return False
    return any(name.lower() == "version" for name in scan.options)


_EXCERPT = re.compile(r"\n*^LINE \d+: .*(?:\n *\^)?", re.MULTILINE)
"""The line of the statement that DuckDB shows below an error, cut off in the middle of a value."""

_GRACE_S = 1.0
"""How long a call that is interrupted may take to end."""

_abandoned: list[DuckDBPyConnection] = []
"""Connections that a hung call still holds."""


def within(seconds: float, connection: DuckDBPyConnection, action: Callable[[], Result]) -> Result:
    """Return what `action` returns; raises TimeoutError when it takes longer than `seconds`.

    It is interrupted then. Where DuckDB does not hear that (1.5.5), the call is left
    behind, with its connection, on a thread that does not keep the process.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def act() -> None:
        try:
            outcome.append(action())
        except BaseException as error:  # whatever it is, it belongs to the caller
            failure.append(error)

    thread = threading.Thread(target=act, name="duckalog-probe", daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    except BaseException:  # Ctrl-C: the call cannot be waited for
        abandon(connection)
        raise
    is_late = thread.is_alive()
    if is_late:
        connection.interrupt()
        thread.join(_GRACE_S)
    if thread.is_alive():
        abandon(connection)
    elif failure and not (is_late and isinstance(failure[0], duckdb.InterruptException)):
        raise failure[0]
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return outcome[0]


def abandon(connection: DuckDBPyConnection) -> None:
    """Leave a connection to a call that hangs in it: using or closing it would wait for that."""
    _abandoned.append(connection)


def is_abandoned(connection: DuckDBPyConnection) -> bool:
    """Say whether a hung call holds a connection."""
    return any(connection is one for one in _abandoned)


def close(connection: DuckDBPyConnection) -> None:
    """Close a connection, unless a hung call holds it."""
    if not is_abandoned(connection):
        connection.close()


@contextlib.contextmanager
def closing(connection: DuckDBPyConnection) -> Iterator[DuckDBPyConnection]:
    """Yield a connection and close it afterwards, whatever happens."""
    try:
        yield connection
    finally:
        close(connection)


def at_file(file: str, message: str, remedy: str = "", cause: str = "") -> EngineError:
    """Return the error for a catalog file."""
    return EngineError(Problem(Origin(file), message, remedy, cause=cause))


@contextlib.contextmanager
def options_set(connection: DuckDBPyConnection, options: Mapping[str, object]) -> Iterator[None]:
    """Set options of DuckDB's while the block runs, as far as the session lets them be set."""
    before = {}
    for name, value in options.items():
        ((before[name],),) = connection.execute(
            f"SELECT current_setting({literal(name)})"
        ).fetchall()
        with contextlib.suppress(duckdb.Error):  # a pragma may have locked the configuration
            execute(connection, set_option(name, literal(value)))
    try:
        yield
    finally:
        for name, value in before.items():
            with contextlib.suppress(duckdb.Error):
                execute(connection, set_option(name, literal(value)))
