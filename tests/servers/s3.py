"""An S3 server (moto) that, unlike plain moto, refuses a wrong key or signature."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# moto, boto3 and botocore are imported where they are used: this module is
# loaded in every test run, and the three take a second.

REGION = "eu-west-1"


@dataclass(frozen=True)
class S3:
    """Where the server listens and which credentials it accepts."""

    endpoint: str  # "127.0.0.1:port", as DuckDB's ENDPOINT wants it
    key_id: str
    secret: str
    region: str = REGION
    requests: list[str] = field(default_factory=list)  # "GET /bucket/key?query", refused ones too
    accepted: dict[str, str] = field(default_factory=dict)  # key id to secret

    @property
    def url(self) -> str:
        """Return the endpoint with its scheme, as every client but DuckDB wants it."""
        return f"http://{self.endpoint}"

    @property
    def delta_options(self) -> dict[str, str]:
        """Return the `storage_options` with which deltalake writes to this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
            "conditional_put": "etag",
        }

    @property
    def iceberg_options(self) -> dict[str, str]:
        """Return the properties with which pyiceberg reads and writes on this server."""
        return {
            "s3.endpoint": self.url,
            "s3.access-key-id": self.key_id,
            "s3.secret-access-key": self.secret,
            "s3.region": self.region,
        }

    def accept(self, key_id: str, secret: str) -> None:
        """Let in a further pair of credentials (vended ones, say)."""
        self.accepted[key_id] = secret

    def client(self) -> Any:
        """Return a boto3 client with the server's own credentials."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
            region_name=self.region,
        )

    def make_bucket(self, name: str) -> str:
        """Create a bucket and return its URI, `s3://name`."""
        placement = {"LocationConstraint": self.region}
        self.client().create_bucket(Bucket=name, CreateBucketConfiguration=placement)
        return f"s3://{name}"

    def put(self, bucket: str, key: str, content: bytes | Path) -> str:
        """Store bytes or a file and return the object's URI."""
        body = content.read_bytes() if isinstance(content, Path) else content
        self.client().put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"


WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _guarded(app: WSGI, s3: S3) -> WSGI:
    """Return `app` behind a check of the SigV4 signature, as S3 itself makes it.

    moto can enforce signatures too, but only for keys that its IAM invents,
    and as a switch of the whole process; tests want to choose the secret.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        s3.requests.append(f"{environ['REQUEST_METHOD']} {environ['RAW_URI']}")
        refusal = _refusal(environ, s3)
        if refusal is None:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/xml")])
        body = f"<Error><Code>{refusal}</Code><Message>refused by the test server</Message></Error>"
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body.encode()]

    return answer


def _refusal(environ: dict[str, Any], s3: S3) -> str | None:
    """Return S3's error code for a request that is not signed by an accepted key."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    scheme, _, rest = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return "AccessDenied"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    key_id, _, region, service, _ = parts["Credential"].split("/")
    if key_id not in s3.accepted:
        return "InvalidAccessKeyId"
    names = parts["SignedHeaders"].split(";")
    headers = {name: _header(environ, name) for name in names}
    url = f"http://{environ['HTTP_HOST']}{environ['RAW_URI']}"
    request = AWSRequest(environ["REQUEST_METHOD"], url, headers)
    request.context["timestamp"] = environ["HTTP_X_AMZ_DATE"]
    signer = S3SigV4Auth(Credentials(key_id, s3.accepted[key_id]), service, region)
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    if signer.signature(to_sign, request) != parts["Signature"]:
        return "SignatureDoesNotMatch"
    return None


def _header(environ: dict[str, Any], name: str) -> str:
    variable = name.upper().replace("-", "_")
    # WSGI keeps these two apart from the other headers.
    plain = variable in ("CONTENT_TYPE", "CONTENT_LENGTH")
    return str(environ.get(variable if plain else f"HTTP_{variable}", ""))


@contextmanager
def running_s3(key_id: str = "test-key-id", secret: str = "test-secret-key") -> Iterator[S3]:
    """Serve S3 in a thread until the block ends.

    moto keeps the buckets of a process in one place, so a second server in
    the same process sees the same buckets.
    """
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        def log(self, *_: object) -> None:
            pass

    # Bind first: the check needs the S3 object, which needs the port.
    front: list[WSGI] = []
    server = make_server(
        "127.0.0.1", 0, lambda e, r: front[0](e, r), threaded=True, request_handler=Quiet
    )
    s3 = S3(f"127.0.0.1:{server.server_port}", key_id, secret)
    s3.accept(key_id, secret)
    front.append(_guarded(DomainDispatcherApplication(create_backend_app), s3))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="s3", daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """Serve S3 for the whole session; tests take buckets of their own."""
    from moto.s3.models import s3_backends

    with running_s3() as server:
        yield server
    # moto's objects hold files open and complain when the interpreter ends first.
    s3_backends.reset()
