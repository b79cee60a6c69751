"""A read-only S3 server in a process of its own, whose every answer comes late.

It knows what DuckDB asks (ListObjectsV2, HEAD, GET of a range), answers from
memory, and believes every signature, so that it takes next to no time itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from itertools import islice
from multiprocessing.connection import Connection
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

Fill = Callable[[int], Mapping[str, bytes]]
"""Returns so many objects, by `bucket/key`; a function of a module."""

KEYS_OF_A_LIST = 1000


class DistantS3(NamedTuple):
    """Where the server is, and how to ask how often it was asked."""

    endpoint: str
    answers: Connection

    @property
    def secret(self) -> dict[str, object]:
        """The secret of a config, its credentials in the environment."""
        return {
            "type": "s3",
            "key_id": "${env:BENCHMARK_KEY_ID}",
            "secret": "${env:BENCHMARK_SECRET}",
            "region": "eu-west-1",
            "endpoint": self.endpoint,
            "url_style": "path",
            "use_ssl": False,
        }

    def requests(self) -> int:
        """Return how many requests the server has had."""
        self.answers.send("requests")
        count: int = self.answers.recv()
        return count


@contextlib.contextmanager
def distant_s3(fill: Fill, files: int, latency_ms: float) -> Iterator[DistantS3]:
    """Yield a server with files on it, and put its credentials into the environment."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(fill, files, latency_ms, there), daemon=True
    )
    server.start()
    try:
        os.environ.update(BENCHMARK_KEY_ID="benchmark", BENCHMARK_SECRET="benchmark")
        yield DistantS3(here.recv(), here)
    finally:
        here.send("end")
        server.join(10)
        server.terminate()


def _serve(fill: Fill, files: int, latency_ms: float, answers: Connection) -> None:
    objects = dict(sorted(fill(files).items()))
    requests: list[str] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Link(objects, requests, latency_ms / 1000), "127.0.0.1", 0, backlog=1024
        )
        host, port = server.sockets[0].getsockname()
        answers.send(f"{host}:{port}")
        while await loop.run_in_executor(None, answers.recv) == "requests":
            answers.send(len(requests))

    asyncio.run(serve())


class _Link(asyncio.Protocol):
    """One connection, kept open; an answer leaves `latency_s` after its request came."""

    def __init__(self, objects: Mapping[str, bytes], requests: list[str], latency_s: float) -> None:
        self.objects = objects
        self.requests = requests
        self.latency_s = latency_s
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            loop = asyncio.get_running_loop()
            loop.call_later(self.latency_s, self.transport.write, self._answer(head.decode()))

    def _answer(self, head: str) -> bytes:
        first, *lines = head.split("\r\n")
        self.requests.append(first)
        method, target, _ = first.split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        url = urlsplit(target)
        name = unquote(url.path).lstrip("/")
        if "list-type" in url.query:
            return _response("200 OK", self._listing(name.rstrip("/"), url.query))
        body = self.objects.get(name)
        if body is None:
            return _response("404 Not Found", b"")
        if method == "HEAD":
            return _response("200 OK", b"", length=len(body))
        if "range" not in headers:
            return _response("200 OK", body)
        first_byte, _, last_byte = headers["range"].removeprefix("bytes=").partition("-")
        start, end = int(first_byte), min(int(last_byte or len(body)), len(body) - 1)
        part = f"Content-Range: bytes {start}-{end}/{len(body)}\r\n"
        return _response("206 Partial Content", body[start : end + 1], part)

    def _listing(self, bucket: str, query: str) -> bytes:
        asked = {key: values[0] for key, values in parse_qs(query).items()}
        prefix = f"{bucket}/{asked.get('prefix', '')}"
        after = asked.get("continuation-token", "")
        names = (name for name in self.objects if name.startswith(prefix) and name > after)
        found = list(islice(names, KEYS_OF_A_LIST + 1))
        listed, is_cut = found[:KEYS_OF_A_LIST], len(found) > KEYS_OF_A_LIST
        contents = "".join(
            f"<Contents><Key>{escape(name.partition('/')[2])}</Key>"
            f"<LastModified>{_WRITTEN_AT:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>{_ETAG}</ETag><Size>{len(self.objects[name])}</Size></Contents>"
            for name in listed
        )
        token = f"<NextContinuationToken>{escape(listed[-1])}</NextContinuationToken>" * is_cut
        return (
            f"<ListBucketResult><IsTruncated>{str(is_cut).lower()}</IsTruncated>"
            f"{token}{contents}</ListBucketResult>"
        ).encode()


_WRITTEN_AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
_ETAG = '"0123456789abcdef0123456789abcdef"'


def _response(status: str, body: bytes, more: str = "", *, length: int | None = None) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n"
        f"Last-Modified: {_WRITTEN_AT:%a, %d %b %Y %H:%M:%S GMT}\r\n"
        f"ETag: {_ETAG}\r\nAccept-Ranges: bytes\r\n{more}\r\n"
    )
    return head.encode() + body
