"""One body of logic with two faces: methods that block, and methods that are awaited.

A body is an `async def` that waits only through the functions here. Where the
driver's objects block, nothing in it ever suspends, so that one step runs it
to its end; where they are asynchronous, the event loop runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from functools import partial
from types import MethodType, TracebackType, coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """The face whose methods return when they are done."""

    is_async = False

    @staticmethod
    async def sleep(seconds: float) -> None:
        """Return after that time."""
        time.sleep(seconds)

    @staticmethod
    async def in_thread(function: Callable[[], T]) -> T:
        """Return what a function that may block returns."""
        return function()

    @staticmethod
    async def whole(body: Coroutine[Any, Any, T], *, is_short: bool = False) -> T:  # noqa: ARG004
        """Return what a body returns."""
        return await body

    @staticmethod
    def spawn(name: str, body: Callable[[Pause], Coroutine[Any, Any, None]]) -> Background:
        """Run a body in a thread; it ends when its pause says so."""
        return _Thread(name, body)


class Awaiting:
    """The face whose methods are awaited."""

    is_async = True

    @staticmethod
    async def sleep(seconds: float) -> None:
        """Return after that time."""
        await asyncio.sleep(seconds)

    @staticmethod
    async def in_thread(function: Callable[[], T]) -> T:
        """Return what a function that may block returns, without blocking the event loop."""
        return await asyncio.to_thread(function)

    @staticmethod
    async def whole(body: Coroutine[Any, Any, T], *, is_short: bool = False) -> T:
        """Return what a body returns, which goes on to its end where its caller is cancelled.

        A short one may not ask which task it is in. It is begun at once: making
        a task for it would take longer than it does.
        """
        if is_short:
            try:
                waited_for = body.send(None)
            except StopIteration as end:
                value: T = end.value
                return value
            body = _rest(body, waited_for)
        return await asyncio.shield(asyncio.ensure_future(body))

    @staticmethod
    def spawn(name: str, body: Callable[[Pause], Coroutine[Any, Any, None]]) -> Background:
        """Run a body as a task of the event loop."""
        return _Task(name, body)


F = TypeVar("F", Blocking, Awaiting)

Pause = Callable[[float], Awaitable[bool]]
"""Waits that many seconds; false when the body is to end."""


class Background(Protocol):
    """A body that runs beside its caller."""

    async def stop(self) -> None:
        """Return when the body has ended."""


class _Thread:
    def __init__(self, name: str, body: Callable[[Pause], Coroutine[Any, Any, None]]) -> None:
        self._stopped = threading.Event()
        target = partial(finished, body(self._pause))
        self._thread = threading.Thread(target=target, name=name, daemon=True)
        self._thread.start()

    async def _pause(self, seconds: float) -> bool:
        return not self._stopped.wait(seconds)

    async def stop(self) -> None:
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()


class _Task:
    def __init__(self, name: str, body: Callable[[Pause], Coroutine[Any, Any, None]]) -> None:
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(body(self._pause), name=name)

    async def _pause(self, seconds: float) -> bool:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
        return not self._stopped.is_set()

    async def stop(self) -> None:
        # Not cancelled: psycopg's pool would lose the connections that it is checking.
        self._stopped.set()
        if self._task is not asyncio.current_task():
            await asyncio.wait([self._task])


def finished(body: Coroutine[Any, Any, T]) -> T:
    """Return what a body returns that has nothing to wait for."""
    try:
        body.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    body.close()
    raise RuntimeError("a function given to the blocking client is asynchronous")


async def _rest(body: Coroutine[Any, Any, T], waited_for: Any) -> T:
    """Return what a body returns that waits already."""
    return await _going_on(body, waited_for)


@coroutine
def _going_on(body: Coroutine[Any, Any, T], waited_for: Any) -> Generator[Any, Any, T]:
    try:
        while True:
            try:
                found = yield waited_for
            except BaseException as error:
                waited_for = body.throw(error)
            else:
                waited_for = body.send(found)
    except StopIteration as end:
        value: T = end.value
        return value


async def settled(value: Awaitable[T] | T) -> T:
    """Return what a call of the driver returned, awaited where it has to be."""
    if hasattr(value, "__await__"):
        return await value
    return value


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """Enter a context manager of the driver's, of either kind."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


class Faced(Generic[F]):
    """What has a face; its class or its maker sets which."""

    face: type[Blocking] | type[Awaiting]


class Both(Generic[P, T]):
    """A method written once: it returns to callers that block, and is awaited by others."""

    def __init__(self, body: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> None:
        self._body = body
        self._blocking = _blocking(body)
        self.__doc__ = body.__doc__
        self.__name__ = body.__name__
        self.__wrapped__ = body

    @overload
    def __get__(self, owner: None, kind: type) -> Both[P, T]: ...
    @overload
    def __get__(self, owner: Faced[Blocking], kind: type) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, owner: Faced[Awaiting], kind: type
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        return MethodType(self._body if owner.face.is_async else self._blocking, owner)


def _blocking(body: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., T]:
    def method(*args: Any, **kwargs: Any) -> T:
        return finished(body(*args, **kwargs))

    return method


S = TypeVar("S", bound="Scope[Any]")


class Scope(Faced[F]):
    """What is opened and closed by `with`, or by `async with`."""

    async def _enter(self) -> None:
        raise NotImplementedError

    async def _leave(self, error: BaseException | None) -> None:
        raise NotImplementedError

    def __enter__(self: S) -> S:
        _must_be(self, Blocking, "async with")
        finished(self._enter())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        finished(self._leave(error))

    async def __aenter__(self: S) -> S:
        _must_be(self, Awaiting, "with")
        await self._enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave(error)


def _must_be(scope: Scope[Any], face: type, instead: str) -> None:
    if scope.face is not face:
        raise TypeError(f"{type(scope).__name__} is entered by `{instead}`")
