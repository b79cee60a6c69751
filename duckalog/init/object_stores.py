"""Secrets for object stores, as placeholders for what the environment has; never its values."""

from __future__ import annotations

import os
from collections.abc import Iterable
from urllib.parse import urlsplit

from duckalog.init.draft import Data, DraftEntry
from duckalog.init.rendering import Template

_TYPES = {"s3": "s3", "s3a": "s3", "s3n": "s3", "gs": "gcs", "gcs": "gcs", "r2": "r2"}
_COMMENT = "Read from the environment when a session starts, and stored nowhere."


def secrets_for(urls: Iterable[str]) -> list[DraftEntry]:
    """Return a secret for each bucket that URLs name."""
    buckets: dict[tuple[str, str], None] = {}
    for url in urls:
        scheme, separator, rest = url.partition("://")
        kind = _TYPES.get(scheme.lower()) if separator else None
        if kind:
            buckets.setdefault((kind, f"{scheme}://{rest.partition('/')[0]}"))
    return [DraftEntry(_secret(kind, scope), _COMMENT) for kind, scope in buckets]


def _secret(kind: str, scope: str) -> Data:
    name = scope.partition("://")[2].replace("-", "_").replace(".", "_")
    data: Data = {"type": kind, "name": f"{kind}_{name}"}
    if kind == "s3" and "AWS_ACCESS_KEY_ID" not in os.environ:
        data["provider"] = "credential_chain"
    elif kind == "s3":
        data |= {"key_id": _variable("AWS_ACCESS_KEY_ID")}
        data |= {"secret": _variable("AWS_SECRET_ACCESS_KEY")}
        if "AWS_SESSION_TOKEN" in os.environ:
            data["session_token"] = _variable("AWS_SESSION_TOKEN")
    else:
        data |= {"key_id": _variable(f"{kind.upper()}_ACCESS_KEY_ID")}
        data |= {"secret": _variable(f"{kind.upper()}_SECRET_ACCESS_KEY")}
        if kind == "r2":
            data["account_id"] = _variable("R2_ACCOUNT_ID")
    if kind == "s3":
        data |= _place()
    return {**data, "scope": scope}


def _place() -> Data:
    """Return region and endpoint, where the environment names them."""
    data: Data = {}
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(name):
            data["region"] = _variable(name, os.environ[name])
            break
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        url = urlsplit(os.environ.get(name, ""))
        if url.hostname and "@" not in url.netloc:
            data |= {"endpoint": url.netloc, "url_style": "path", "use_ssl": url.scheme == "https"}
            break
    return data


def _variable(name: str, default: str = "") -> Template:
    return Template(f"${{env:{name}:{default}}}" if default else f"${{env:{name}}}")
