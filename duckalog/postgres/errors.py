"""What can go wrong between a program and its PostgreSQL servers.

DuckalogError
└── PgError
    ├── ConnectError             no connection could be made
    │   └── AcquireTimeout       the pool had none in time
    ├── ConnectionLost           a connection ended while a statement was under way
    ├── QueryError               the server refused a statement
    │   ├── QueryTimeout         it took longer than its limit
    │   ├── IntegrityError       a constraint stands against it (class 23)
    │   ├── SerializationError   run the transaction again (40001, 40P01)
    │   └── ReadOnlyError        the server or the transaction takes no writes (25006)
    ├── RowCountError            other than the one row, or value, that was asked for
    ├── TransactionError         used out of turn, or over its time
    ├── MaskError                a masked column would be shown
    ├── HookError                a required hook took no note, so that nothing was run
    ├── ClosedError              used before it was opened, or after it was closed
    └── SimulationError          a recording cannot be made, read, or do what was asked
        └── UnrecordedError      a replay was asked what is not in its recording
"""

from __future__ import annotations

import re
from typing import Any

from duckalog.errors import DuckalogError


class PgError(DuckalogError):
    """The base of the client's errors."""


class ConnectError(PgError):
    """No connection could be made; `sqlstate` is the server's reason, if it gave one."""

    def __init__(self, message: str, remedy: str = "", sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate
        super().__init__(message, remedy)

    def __reduce__(self) -> tuple[type[ConnectError], tuple[Any, ...]]:
        (problem,) = self.problems
        return type(self), (problem.message, problem.remedy, self.sqlstate)


class AcquireTimeout(ConnectError):
    """The pool had no connection to give within the time allowed."""


class ConnectionLost(PgError):
    """The connection ended under a statement: whether the server did it is not known."""


class QueryError(PgError):
    """The server refused a statement.

    `detail` and the names beside it are the server's, and may hold values of
    rows; the error's own text holds no more than its first message.
    """

    def __init__(
        self, message: str, sqlstate: str | None = None, remedy: str = "", **named: str | None
    ) -> None:
        self.sqlstate = sqlstate
        self.detail = named.get("detail")
        self.hint = named.get("hint")
        self.constraint = named.get("constraint")
        self.table = named.get("table")
        self.column = named.get("column")
        self._named = named
        super().__init__(message, remedy)

    def __reduce__(self) -> tuple[Any, ...]:
        (problem,) = self.problems
        return _made_again, (
            type(self),
            problem.message,
            self.sqlstate,
            problem.remedy,
            self._named,
        )


def _made_again(
    kind: type[QueryError], message: str, sqlstate: str, remedy: str, named: dict[str, str | None]
) -> QueryError:
    return kind(message, sqlstate, remedy, **named)


class QueryTimeout(QueryError):
    """A statement took longer than its limit, and was cancelled."""


class IntegrityError(QueryError):
    """A constraint stands against the statement; `constraint` is its name."""


class SerializationError(QueryError):
    """Concurrent transactions conflict: the whole transaction can be run again."""


class ReadOnlyError(QueryError):
    """The server is a replica, or the transaction is read-only."""


class RowCountError(PgError):
    """A query returned no row, or several, where exactly one was asked for."""


class TransactionError(PgError):
    """A transaction was used out of turn, has failed, or is over its time limit."""


class MaskError(PgError):
    """A value that is to be masked would have been shown as it is."""


class HookError(PgError):
    """A required hook, an audit say, took no note of a statement, which was not run."""


class ClosedError(PgError):
    """The client or a part of it is not open."""


class SimulationError(PgError):
    """A recording cannot be written or read, or what was asked for cannot be simulated."""


class UnrecordedError(SimulationError):
    """A replay was asked what is not in its recording; `problems` name what is nearest."""


def kind_of(sqlstate: str | None) -> type[QueryError]:
    """Return the error that stands for a SQLSTATE (PostgreSQL, appendix A)."""
    if sqlstate in ("40001", "40P01"):
        return SerializationError
    if sqlstate == "25006":
        return ReadOnlyError
    if sqlstate and sqlstate.startswith("23"):
        return IntegrityError
    return QueryError


def is_stale(error: Any) -> bool:
    """Say whether a statement that the driver had prepared has another result by now."""
    # The message is in the server's language, and the SQLSTATE has other meanings.
    return bool(error.sqlstate == "0A000" and error.diag.source_function == "RevalidateCachedQuery")


def refusal(error: Any) -> QueryError:
    """Return a psycopg error that has a SQLSTATE as one of ours."""
    found = error.diag
    return kind_of(error.sqlstate)(
        f"PostgreSQL refused the statement: {found.message_primary or error} ({error.sqlstate})",
        error.sqlstate,
        found.message_hint
        or ("The table was changed: run the transaction again." if is_stale(error) else ""),
        detail=found.message_detail,
        hint=found.message_hint,
        constraint=found.constraint_name,
        table=found.table_name,
        column=found.column_name,
    )


GOING_AWAY = frozenset(["57P01", "57P02", "57P03", "57P05", "25P03", "25P04"])
"""SQLSTATEs with which a server ends a connection."""


def translated(error: Any, *, is_lost: bool) -> PgError:
    """Return an error of psycopg's as one of ours; `is_lost` where the connection ended.

    Nothing of the statement's values is in its text, but what the server quotes.
    """
    if is_lost or error.sqlstate in GOING_AWAY:
        reason = error.diag.message_primary or "the server closed it, or the link broke"
        return ConnectionLost(
            f"the connection was lost during the statement: {reason}",
            "Whether the statement took effect is not known.",
        )
    if error.sqlstate:
        return refusal(error)
    if str(error).startswith("COPY cannot be used"):
        return QueryError("COPY is not run like other statements", None, "Use copy_in or copy_out.")
    unknown = re.match(r"cannot adapt type '(\w+)'", str(error))
    if unknown:
        message = f"PostgreSQL has no type for a value of Python's type {unknown[1]}"
        return QueryError(message, None, _INSTEAD.get(unknown[1], "Pass a text, say."))
    return QueryError(f"the statement could not be sent: {error}")


_INSTEAD = {
    "dict": "Wrap it: Jsonb of psycopg.types.json for jsonb, Json for json.",
    "set": "Pass a list, which is an array.",
}


def is_passing(failure: ConnectError) -> bool:
    """Say whether another attempt may succeed: nobody listens yet, or the server is busy."""
    permanent = ("authentication failed", "does not exist", "certificate", "no pg_hba", "SSL")
    return not any(one in str(failure) for one in permanent)
