"""Sixteen threads that write and read while a server, or the way to it, fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from duckalog.postgres import PgError

THREADS = 16
HALVES = "SELECT writer, number, count(*) FROM load GROUP BY writer, number"


class Load:
    """Threads of which each writes two rows in a transaction, and reads them, again and again."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.errors: list[tuple[int, BaseException, float]] = []  # writer, error, seconds it took
        self.held: set[tuple[int, int]] = set()  # committed, as the client said
        self.unseen: list[tuple[int, int]] = []  # committed, and not read by their writer
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[i]) for i in range(THREADS)]

    def __enter__(self) -> Load:
        for one in self._threads:
            one.start()
        self.goes_on(32)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join(30)
        assert not any(one.is_alive() for one in self._threads)

    def _run(self, writer: int) -> None:
        insert = "INSERT INTO load VALUES ($1, $2, $3)"
        number = 0
        while not self._stop.is_set():
            number += 1
            began = time.monotonic()
            try:
                with self.client.transaction() as transaction:
                    for half in (1, 2):
                        transaction.execute(insert, [writer, number, half])
                self.held.add((writer, number))
                began = time.monotonic()
                count = "SELECT count(*) FROM load WHERE writer = $1 AND number = $2"
                if self.client.query_scalar(count, [writer, number]) != 2:
                    self.unseen.append((writer, number))
            except PgError as error:
                self.errors.append((writer, error, time.monotonic() - began))

    def goes_on(self, count: int, within_s: float = 10) -> None:
        """Wait until so many more transactions have committed."""
        goal = len(self.held) + count
        wait_until(lambda: len(self.held) >= goal, within_s)

    def check(self, ask: Callable[[str], Any]) -> None:
        """Assert that what was said to be committed is there, and nothing by halves."""
        counts = {(writer, number): count for writer, number, count in ask(HALVES)}
        assert set(counts.values()) == {2}
        assert self.held <= set(counts)
        assert not self.unseen


def wait_until(condition: Callable[[], bool], within_s: float = 10) -> None:
    """Wait until a condition holds; fail where it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
