"""Tells hooks, and the log, what a client does; costs next to nothing where nobody listens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from duckalog.postgres.errors import HookError
from duckalog.postgres.hooks import Decision, Hook, Operation, OperationKind, Server
from duckalog.postgres.statement_log import StatementLog
from duckalog.postgres.statement_text import described

logger = logging.getLogger("duckalog.postgres")


class Observing:
    """The hooks of a client."""

    def __init__(self, hooks: Sequence[Hook], slow_statement_s: float | None) -> None:
        self._hooks: tuple[Hook, ...] = (StatementLog(slow_statement_s), *hooks)
        self.has_hooks = bool(hooks)
        self._is_always_on = self.has_hooks or slow_statement_s is not None
        self._failed: set[int] = set()

    def is_on(self) -> bool:
        """Say whether anybody listens to statements."""
        return self._is_always_on or logger.isEnabledFor(logging.DEBUG)

    def start(
        self, kind: OperationKind, sql: Any = None, connection: Any = None, /, **known: Any
    ) -> Operation | None:
        """Return an operation of which the hooks were told; None where nobody listens."""
        if not (self.has_hooks if kind is OperationKind.ACQUIRE else self.is_on()):
            return None
        if sql is not None:
            text = described(sql)
            known = {"sql": text.text, "fingerprint": text.fingerprint, "name": text.name, **known}
        operation = Operation(kind=kind, **known)
        if connection is not None:
            operation.transaction = connection.within
            place(operation, connection)
        for number, hook in enumerate(self._hooks):
            try:
                hook.started(operation)
            except Exception as error:
                self._told(hook, error)
                if hook.is_required:
                    refusal = HookError(
                        f"{type(hook).__name__} did not take note: the statement was not run",
                        "Mend what the hook writes to, or make it not required.",
                    )
                    self._end(operation, refusal, self._hooks[:number])
                    raise refusal from None
        return operation

    def end(self, operation: Operation | None, error: BaseException | None = None) -> None:
        """Tell the hooks how an operation ended."""
        if operation is not None:
            self._end(operation, error, self._hooks)

    def _end(
        self, operation: Operation, error: BaseException | None, hooks: Sequence[Hook]
    ) -> None:
        operation.seconds = time.perf_counter() - operation._began
        operation.error = error
        self._tell(hooks, lambda hook: hook.ended(operation))

    @contextmanager
    def during(
        self, kind: OperationKind, sql: Any = None, connection: Any = None, /, **known: Any
    ) -> Iterator[Operation | None]:
        """Run a block as an operation, whose end is the block's."""
        operation = self.start(kind, sql, connection, **known)
        try:
            yield operation
        except BaseException as error:
            self.end(operation, error)
            raise
        self.end(operation)

    def routed(self, decision: Decision, pool: str) -> None:
        """Tell the hooks where a statement went."""
        if self.has_hooks:
            self._tell(self._hooks, lambda hook: hook.routed(decision, pool))

    def opened(self, client: Any) -> None:
        """Tell the hooks of a client."""
        self._tell(self._hooks, lambda hook: hook.opened(client))

    def closed(self, client: Any) -> None:
        """Tell the hooks that a client was closed."""
        self._tell(self._hooks, lambda hook: hook.closed(client))

    def _tell(self, hooks: Sequence[Hook], call: Callable[[Hook], None]) -> None:
        for hook in hooks:
            try:
                call(hook)
            except Exception as error:
                self._told(hook, error)

    def _told(self, hook: Hook, error: Exception) -> None:
        """Log that a hook failed, the first time that it does."""
        if id(hook) in self._failed:
            return
        self._failed.add(id(hook))
        name = type(hook).__name__
        logger.warning("the hook %s failed; this is logged only once", name, exc_info=error)


def place(operation: Operation, connection: Any) -> None:
    """Note where an operation runs."""
    home = connection.home
    operation.pool, operation.role = home.name, home.role
    operation.server = connection.server
    if operation.server is None and not connection.closed:
        found = connection.info
        operation.server = connection.server = Server(
            host=found.host,
            port=found.port,
            database=found.dbname,
            user=found.user,
            application_name=home.config.parameters.get("application_name", ""),
            pid=found.backend_pid,
        )
