"""An Iceberg REST catalog over pyiceberg's SqlCatalog, with the ways of logging in that exist."""

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.servers.s3 import S3

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog

# pyiceberg is imported where it is used: it takes more than a second.

Auth = Literal["none", "bearer", "oauth2"]
NAMESPACE_SEPARATOR = "\x1f"  # of the REST specification, for nested namespaces


@dataclass(frozen=True)
class IcebergRest:
    """A running catalog; `catalog` writes the tables that it serves."""

    endpoint: str  # "http://127.0.0.1:port"
    warehouse: str  # the name to attach; others are unknown
    catalog: "SqlCatalog"
    auth: Auth
    token: str = "test-bearer-token"
    client_id: str = "test-client-id"
    client_secret: str = "test-client-secret"
    vended: dict[str, str] = field(default_factory=dict)  # storage credentials handed out
    requests: list[str] = field(default_factory=list)  # "GET /v1/config?warehouse=lake"
    tells_tables: threading.Event = field(default_factory=threading.Event)  # else they hang

    @property
    def token_uri(self) -> str:
        """Return where client credentials are exchanged for the token."""
        return f"{self.endpoint}/v1/oauth/tokens"


class _Refused(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class _Handler(BaseHTTPRequestHandler):
    """One request; `rest` is set on the subclass that a server gets."""

    rest: IcebergRest
    lock: threading.Lock

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(self._look_up)

    def do_HEAD(self) -> None:
        self._answer(self._look_up)

    def do_POST(self) -> None:
        self._answer(self._log_in)

    def _answer(self, find: Callable[[str, str], dict[str, Any]]) -> None:
        self.rest.requests.append(f"{self.command} {self.path}")
        if "/tables/" in self.path:
            self.rest.tells_tables.wait()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        try:
            with self.lock:
                status, found = 200, find(urlsplit(self.path).path, body)
        except _Refused as error:
            status = error.status
            found = {"error": {"message": str(error), "type": error.kind, "code": status}}
        if self.command == "HEAD" and status == 200:
            status = 204
        answer = b"" if self.command == "HEAD" else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _log_in(self, path: str, body: str) -> dict[str, Any]:
        if path != "/v1/oauth/tokens":
            raise _Refused(405, "MethodNotAllowed", "this catalog is read-only")
        form = {key: values[0] for key, values in parse_qs(body).items()}
        given = (form.get("client_id"), form.get("client_secret"))
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":  # as DuckDB 1.5 sends them; 1.4 puts them into the form
            client_id, _, client_secret = b64decode(encoded).decode().partition(":")
            given = (client_id, client_secret)
        if given != (self.rest.client_id, self.rest.client_secret):
            raise _Refused(401, "NotAuthorizedException", "unknown client id or wrong secret")
        return {"access_token": self.rest.token, "token_type": "bearer", "expires_in": 3600}

    def _look_up(self, path: str, _: str) -> dict[str, Any]:
        given = self.headers.get("Authorization")
        if self.rest.auth != "none" and given != f"Bearer {self.rest.token}":
            raise _Refused(401, "NotAuthorizedException", "no token or a wrong one")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match parts:
            case ["v1", "config"]:
                return self._config()
            case ["v1", "namespaces"]:
                return {"namespaces": [list(name) for name in self._namespaces()]}
            case ["v1", "namespaces", name]:
                return {"namespace": list(self._namespace(name)), "properties": {}}
            case ["v1", "namespaces", name, "tables"]:
                namespace = self._namespace(name)
                tables = self.rest.catalog.list_tables(namespace)
                listed = [{"namespace": list(namespace), "name": table[-1]} for table in tables]
                return {"identifiers": listed}
            case ["v1", "namespaces", _, "views"]:
                return {"identifiers": []}
            case ["v1", "namespaces", name, "tables", table]:
                return self._table(name, table)
        raise _Refused(404, "NoSuchEndpoint", f"no such path: {path}")

    def _config(self) -> dict[str, Any]:
        asked = parse_qs(urlsplit(self.path).query).get("warehouse", [self.rest.warehouse])[0]
        if asked != self.rest.warehouse:
            raise _Refused(404, "NotFoundException", f"no such warehouse: {asked}")
        return {"defaults": {}, "overrides": {}}

    def _namespaces(self) -> list[tuple[str, ...]]:
        parent = parse_qs(urlsplit(self.path).query).get("parent")
        return self.rest.catalog.list_namespaces(
            tuple(parent[0].split(NAMESPACE_SEPARATOR)) if parent else ()
        )

    def _namespace(self, name: str) -> tuple[str, ...]:
        namespace = tuple(name.split(NAMESPACE_SEPARATOR))
        if not self.rest.catalog.namespace_exists(namespace):
            raise _Refused(404, "NoSuchNamespaceException", f"no such namespace: {name}")
        return namespace

    def _table(self, name: str, table: str) -> dict[str, Any]:
        from pyiceberg.exceptions import NoSuchTableError

        try:
            found = self.rest.catalog.load_table((*self._namespace(name), table))
        except NoSuchTableError:
            raise _Refused(404, "NoSuchTableException", f"no such table: {table}") from None
        asked = "vended-credentials" in self.headers.get("X-Iceberg-Access-Delegation", "")
        return {
            "metadata-location": found.metadata_location,
            "metadata": json.loads(found.metadata.model_dump_json()),
            "config": self.rest.vended if asked else {},
        }


@contextmanager
def running_iceberg_rest(
    folder: Path, auth: Auth = "none", *, s3: S3 | None = None, vend: bool = False
) -> Iterator[IcebergRest]:
    """Serve a catalog whose tables are in `folder`, or in a new bucket of `s3`.

    With `vend` the catalog hands out storage credentials of its own, which are
    not those of `s3`; without it the client brings its own.
    """
    from pyiceberg.catalog.sql import SqlCatalog

    vended: dict[str, str] = {}
    where = {"warehouse": folder.as_uri()}
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        if s3 is not None:
            where = {"warehouse": s3.make_bucket(f"warehouse-{server.server_port}")}
            where |= s3.iceberg_options
        if s3 is not None and vend:
            key_id, secret = f"vended-key-{server.server_port}", "vended-secret-key"
            s3.accept(key_id, secret)
            vended = s3.iceberg_options | {"s3.path-style-access": "true"}
            vended |= {"s3.access-key-id": key_id, "s3.secret-access-key": secret}
        catalog = SqlCatalog("served", uri=f"sqlite:///{folder}/catalog.db", **where)
        endpoint = f"http://127.0.0.1:{server.server_port}"
        rest = IcebergRest(endpoint, "lake", catalog, auth, vended=vended)
        rest.tells_tables.set()
        # One at a time: SQLite under the catalog takes no parallel writers.
        members = {"rest": rest, "lock": threading.Lock()}
        server.RequestHandlerClass = type("Handler", (_Handler,), members)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="iceberg-rest")
        thread.start()
        try:
            yield rest
        finally:
            rest.tells_tables.set()
            server.shutdown()
            thread.join()
            catalog.close()


@pytest.fixture(scope="session")
def iceberg_rest(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., IcebergRest]]:
    """Return a function that starts a catalog: `iceberg_rest(auth, s3=None, vend=False)`.

    The catalogs run until the session ends.
    """
    with ExitStack() as stack:

        def start(auth: Auth = "none", *, s3: S3 | None = None, vend: bool = False) -> IcebergRest:
            folder = tmp_path_factory.mktemp("warehouse")
            return stack.enter_context(running_iceberg_rest(folder, auth, s3=s3, vend=vend))

        yield start
