"""An S3 server in a process of its own, behind a proxy that adds latency to every answer."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

Fill = Callable[[Any, int], None]
"""Puts a number of files on a server (a tests.servers.s3.S3); a function of a module."""


class DistantS3(NamedTuple):
    """Where the server is, through the proxy, and how to ask how often it was asked."""

    endpoint: str
    region: str
    answers: Connection

    @property
    def secret(self) -> dict[str, object]:
        """The secret of a config, its credentials in the environment."""
        return {
            "type": "s3",
            "key_id": "${env:BENCHMARK_KEY_ID}",
            "secret": "${env:BENCHMARK_SECRET}",
            "region": self.region,
            "endpoint": self.endpoint,
            "url_style": "path",
            "use_ssl": False,
        }

    def requests(self) -> int:
        """Return how many requests the server has had, filling included."""
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
        endpoint, region, key_id, secret = here.recv()
        os.environ.update(BENCHMARK_KEY_ID=key_id, BENCHMARK_SECRET=secret)
        yield DistantS3(endpoint, region, here)
    finally:
        here.send("end")
        server.join(10)
        server.terminate()


def _serve(fill: Fill, files: int, latency_ms: float, answers: Connection) -> None:
    from tests.servers.proxy import Proxy
    from tests.servers.s3 import running_s3

    with running_s3() as s3:
        fill(s3, files)
        host, port = s3.endpoint.split(":")
        proxy = Proxy(host, int(port))
        proxy.behave("pass", latency_ms=latency_ms)
        answers.send((f"{proxy.host}:{proxy.port}", s3.region, s3.key_id, s3.secret))
        while answers.recv() == "requests":
            answers.send(len(s3.requests))
        proxy.close()
