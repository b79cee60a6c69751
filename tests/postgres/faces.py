"""An asynchronous client behind the calls of a blocking one, so that one test is for both."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

MakeClient = Callable[..., Any]


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def finish(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Awaited:
    """An asynchronous object whose methods return when they are done, as a blocking one's do."""

    def __init__(self, loop: Loop, inner: Any) -> None:
        self._loop, self._inner = loop, inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value
        return lambda *args, **kwargs: self._shown(
            self._loop.finish(self._loop.call(value, *args, **kwargs))
        )

    def _shown(self, value: Any) -> Any:
        faced = hasattr(value, "__aenter__") or hasattr(value, "__aiter__")
        return Awaited(self._loop, value) if faced else value

    def __enter__(self) -> Any:
        self._loop.finish(self._inner.__aenter__())
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._loop.finish(self._inner.__aexit__(kind, error, traceback))

    def __iter__(self) -> Iterator[Any]:
        rows = self._inner.__aiter__()
        while True:
            try:
                yield self._loop.finish(rows.__anext__())
            except StopAsyncIteration:
                return


def stated(server: Any, database: str = "postgres", **changes: Any) -> dict[str, Any]:
    """Return the arguments of a config for a server, with a small pool."""
    from duckalog.postgres import PoolConfig

    return {
        "host": server.host,
        "port": server.port,
        "username": server.user,
        "password": server.password,
        "database": database,
        "pool": PoolConfig(min_size=1, max_size=4, acquire_timeout_s=5),
        **changes,
    }
