"""A TCP proxy that breaks the link to a server in the ways that networks do."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Literal

import pytest

Mode = Literal["pass", "black hole", "refuse", "reset"]

CHUNK = 65536
ACCEPTING_S = 0.005
"""After this time a connection that the event loop has accepted is a link."""
# SO_LINGER with a time of 0: close() sends RST in place of FIN.
RESET = struct.pack("ii", 1, 0)


class Proxy:
    """A link from `host`:`port` to the target; starts in mode "pass"."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self.host = "127.0.0.1"
        self.target = (target_host, target_port)
        self.mode: Mode = "pass"
        self.latency_ms = 0.0
        self.connections = 0  # accepted so far
        self._left: int | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            self.port = int(probe.getsockname()[1])
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def behave(
        self, mode: Mode, *, cut_after_bytes: int | None = None, latency_ms: float = 0
    ) -> None:
        """Change how the link behaves, for open connections too.

        "black hole" accepts and answers nothing; "refuse" closes the port;
        "reset" accepts and resets at once; the latter two reset what is open.
        `cut_after_bytes` counts the answers of the target from now on, over all
        connections, and then resets the one in use. `latency_ms` is added to
        every answer, once, not once for each packet.
        """
        coroutine = self._behave(mode, cut_after_bytes, latency_ms)
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """Reset what is open and free the port."""
        if not self._loop.is_closed():
            self.behave("refuse")
            asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _behave(self, mode: Mode, cut_after_bytes: int | None, latency_ms: float) -> None:
        self.mode, self._left, self.latency_ms = mode, cut_after_bytes, latency_ms
        if mode == "refuse" and self._listener is not None:
            self._listener.close()
            self._listener = None
        if mode in ("refuse", "reset"):
            await asyncio.sleep(ACCEPTING_S)
            links = list(self._links)
            for link in links:
                link.cancel()
            await asyncio.gather(*links, return_exceptions=True)
        if mode != "refuse" and self._listener is None:
            await self._listen()

    async def _ended(self) -> None:
        while self._links:
            await asyncio.wait(list(self._links))
        await asyncio.sleep(ACCEPTING_S)  # transports close a turn later

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, self.host, self.port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = self._loop.create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        # A task that is cancelled before its first step closes nothing.
        link.add_done_callback(lambda _: writer.transport.abort())

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it or the mode breaks it."""
        ends = [writer]
        try:
            if self.mode in ("refuse", "reset"):
                raise ConnectionResetError
            target_reader, target_writer = await asyncio.open_connection(*self.target)
            ends.append(target_writer)
            await asyncio.gather(
                self._carry(reader, target_writer, answers=False),
                self._carry(target_reader, writer, answers=True),
            )
        except (OSError, asyncio.CancelledError):
            for end in ends:
                with contextlib.suppress(OSError):  # closed already
                    raw = end.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.transport.abort()
        finally:
            for end in ends:  # all of them first: waiting may be cancelled
                end.close()
            for end in ends:
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        while chunk := await reader.read(CHUNK):
            if self.mode == "black hole":
                continue
            if answers and self._left is not None:
                chunk = chunk[: self._left]
                self._left -= len(chunk)
            if answers and self.latency_ms:
                self._loop.call_later(self.latency_ms / 1000, writer.write, chunk)
            else:
                writer.write(chunk)
                await writer.drain()
            if answers and self._left == 0:
                raise ConnectionResetError
        if writer.can_write_eof():
            if answers and self.latency_ms:
                await asyncio.sleep(self.latency_ms / 1000)
            writer.write_eof()


@pytest.fixture
def proxy() -> Iterator[Callable[[str, int], Proxy]]:
    """Return a function that puts a proxy before a host and port; all close with the test."""
    made: list[Proxy] = []

    def before(host: str, port: int) -> Proxy:
        made.append(Proxy(host, port))
        return made[-1]

    yield before
    for each in made:
        each.close()
