"""What a program can watch of its client: hooks, and the operations that they are told of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from secrets import token_hex
from typing import Any

from duckalog.postgres.routing import ConnectionRole
from duckalog.postgres.statement_text import StatementText


class OperationKind(str, Enum):
    """What was done."""

    STATEMENT = "statement"
    BATCH = "batch"
    COPY = "copy"
    STREAM = "stream"
    TRANSACTION = "transaction"
    ACQUIRE = "acquire"


@dataclass(frozen=True)
class Server:
    """Where an operation ran, and as whom; `pid` is the backend's, which the server's log has."""

    host: str
    port: int
    database: str
    user: str
    application_name: str
    pid: int


@dataclass(eq=False, kw_only=True)
class Operation:
    """Something that a client does, from its start to its end; no value is in any text of it.

    `sql` has `?` in place of each literal. `name` is the first word of the
    statement, SELECT say, and OTHER where PostgreSQL has no such word. What is
    None becomes known by the end; `rows` are those returned or touched.
    """

    kind: OperationKind
    name: str
    sql: str = ""
    fingerprint: str = ""
    statements: tuple[StatementText, ...] = ()
    """Those of a batch."""
    row_counts: tuple[int, ...] = ()
    """How many rows each statement of a batch touched."""
    pool: str = ""
    role: ConnectionRole = ConnectionRole.UNKNOWN
    server: Server | None = None
    transaction: Operation | None = None
    attempt: int = 1
    """How often `transaction_with_retry` has begun it."""
    started_at: float = field(default_factory=time.time)
    """Seconds since 1970."""
    seconds: float | None = None
    rows: int | None = None
    is_committed: bool | None = None
    """Whether a transaction took effect; None where it is none."""
    error: BaseException | None = field(default=None, repr=False)
    notes: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What hooks keep here between the start and the end, each by itself as the key."""
    _id: str = field(default="", repr=False)
    _began: float = field(default_factory=time.perf_counter, repr=False)
    _params: Sequence[Any] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """What no other operation is called."""
        self._id = self._id or token_hex(8)
        return self._id

    @property
    def sqlstate(self) -> str | None:
        """The server's code for what went wrong, if it gave one."""
        return getattr(self.error, "sqlstate", None)

    @property
    def error_type(self) -> str | None:
        """The SQLSTATE, or the name of the exception's class; None where all went well."""
        return None if self.error is None else self.sqlstate or type(self.error).__name__

    def value(self, number: int, statement: int = 0) -> Any:
        """Return the value of a parameter, `$1` for 1, of a statement of a batch counted from 0.

        This is the only way to a value: nothing shows one unless it is asked for.
        """
        is_batch = self.kind is OperationKind.BATCH
        return (self._params[statement] if is_batch else self._params)[number - 1]


class Decision(str, Enum):
    """Where the router sent a statement, and why.

    A `fallback` is a read that no replica could take, `refused` one that a
    replica took for a write.
    """

    READ_ON_REPLICA = "reads_on_replica"
    READ_ON_PRIMARY = "reads_on_primary"
    WRITE = "writes"
    FALLBACK = "fallbacks"
    REFUSED = "refused"


class Hook:
    """Is told what a client does: override what is of interest.

    A method is called where the client's caller is: in its thread or task, and
    in its context. It must not wait. What it raises is logged once, and breaks
    nothing.
    """

    is_required = False
    """Whether what `started` raises refuses the operation."""

    def opened(self, client: Any) -> None:
        """Hear that a client was opened."""

    def closed(self, client: Any) -> None:
        """Hear that a client was closed."""

    def started(self, operation: Operation) -> None:
        """Hear that something starts."""

    def ended(self, operation: Operation) -> None:
        """Hear how it ended."""

    def routed(self, decision: Decision, pool: str) -> None:
        """Hear to which pool a client with replicas sent a statement."""
