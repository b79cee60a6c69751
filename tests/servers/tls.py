"""TLS before a PostgreSQL server whose build has none: it answers SSLRequest, and passes on."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # SSLRequest, PostgreSQL docs §54.7


@dataclass(frozen=True)
class TlsFront:
    """Where it listens, and the certificate authorities: its own, and a stranger's."""

    host: str
    port: int
    authority: Path
    stranger: Path


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, context: ssl.SSLContext, target: tuple[str, int]) -> None:
    with contextlib.suppress(OSError, ssl.SSLError), client:
        if client.recv(8) != REQUEST:
            return  # nobody comes in without TLS
        client.sendall(b"S")
        with (
            context.wrap_socket(client, server_side=True) as inner,
            socket.create_connection(target) as server,
        ):
            back = threading.Thread(target=_pump, args=[server, inner], daemon=True)
            back.start()
            _pump(inner, server)
            back.join()


@contextlib.contextmanager
def tls_front(
    target: tuple[str, int], name: str, folder: Path, *, asks_clients: bool = False
) -> Iterator[TlsFront]:
    """Run it until the block ends, with a certificate for `name` alone.

    Where it asks clients for one of theirs, `client.pem` and `client.key` of
    the folder are such.
    """
    import trustme

    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert(name).configure_cert(context)
    if asks_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
        known = authority.issue_cert("client@example.com")
        known.cert_chain_pems[0].write_to_path(folder / "client.pem")
        known.private_key_pem.write_to_path(folder / "client.key")
        (folder / "client.key").chmod(0o600)  # libpq takes no key that others can read
    paths = folder / "authority.pem", folder / "stranger.pem"
    for one, path in zip((authority, stranger), paths, strict=True):
        one.cert_pem.write_to_path(path)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_serve, args=[client, context, target], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield TlsFront("127.0.0.1", listener.getsockname()[1], *paths)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
