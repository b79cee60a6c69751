"""Iceberg REST catalogs."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from duckalog.decode import Unfit
from duckalog.entry import Catalog, Entry, bound, bound_map, located, own_secret_name
from duckalog.environment import Filled, Secret
from duckalog.sql import Bound, Spliced, Statement, identifier, literal
from duckalog.statements import attach, create_secret


class RestOptions(Entry, frozen=True, kw_only=True):
    """How to authenticate with the catalog, and how its tables are read."""

    token: Secret | None = None
    """A bearer token. Example: `${env:ICEBERG_TOKEN}`"""
    client_id: Secret | None = None
    """The id of an OAuth2 client; `client_secret` goes with it.
    Example: `${env:ICEBERG_CLIENT_ID}`"""
    client_secret: Secret | None = None
    """The secret of the OAuth2 client. Example: `${env:ICEBERG_CLIENT_SECRET}`"""
    oauth2_server_uri: str | None = None
    """Where the client gets its token, where that is not the catalog's own `/v1/oauth/tokens`.
    Example: `https://login.example/oauth/token`"""
    oauth2_scope: str | None = None
    """The scope that the client asks for. Example: `PRINCIPAL_ROLE:ALL`"""
    oauth2_grant_type: str | None = None
    """The grant that the client asks for. Example: `client_credentials`"""
    secret_name: str | None = msgspec.field(default=None, name="secret")
    """The name of an `iceberg` secret under `duckdb.secrets`, in place of token or client.
    Example: `ice_login`"""
    authorization_type: Literal["none", "oauth2", "sigv4"] | None = None
    """How requests are authorized; by default `oauth2` where credentials are stated, else `none`.
    """
    access_delegation_mode: Literal["vended_credentials", "none"] | None = None
    """Whether the catalog hands out credentials for its tables' files."""
    default_region: str | None = None
    """The region of tables whose credentials name none. Example: `eu-central-1`"""
    default_schema: str | None = None
    """The namespace that names without one are in. Example: `analytics`"""
    max_table_staleness: str | None = None
    """For how long a table's metadata may be taken from memory. Example: `10 minutes`"""
    support_nested_namespaces: bool | None = None
    """Whether namespaces may be inside of others."""
    encode_entire_prefix: bool | None = None
    """Whether the slashes of the catalog's prefix are encoded in URLs."""
    extra_http_headers: dict[str, Secret] = {}
    """Headers that every request carries. Example: `{X-Tenant: sales}`"""

    def __post_init__(self) -> None:
        if bool(self.client_id) != bool(self.client_secret):
            missing = "client_secret" if self.client_id else "client_id"
            raise Unfit(f'the key "{missing}" is missing', "OAuth2 needs both.")
        ways = [
            name
            for name in ("token", "client_id", "secret")
            if getattr(self, "secret_name" if name == "secret" else name)
        ]
        if len(ways) > 1:
            raise Unfit(
                f'"{ways[0]}" and "{ways[1]}" exclude each other', "Keep one of them.", (ways[1],)
            )
        if self.default_region and not ways:
            raise Unfit(
                '"default_region" needs credentials beside it',
                "DuckDB takes it only where it logs in: token, client_id or secret.",
                ("default_region",),
            )
        if ways and self.authorization_type == "none":
            raise Unfit(f'"{ways[0]}" does not go with authorization_type none', "", (ways[0],))
        if self.authorization_type == "oauth2" and not ways:
            raise Unfit(
                "oauth2 needs credentials",
                "State token, or client_id and client_secret, or secret.",
            )


_CREDENTIALS = (
    "token",
    "client_id",
    "client_secret",
    "oauth2_server_uri",
    "oauth2_scope",
    "oauth2_grant_type",
)
_ATTACH_TEXTS = (
    "authorization_type",
    "access_delegation_mode",
    "default_region",
    "default_schema",
    "max_table_staleness",
)
_ATTACH_SWITCHES = ("support_nested_namespaces", "encode_entire_prefix")


def _token_uri(uri: str) -> str:
    """Return where a catalog's own OAuth2 tokens are, for DuckDB does not look there itself."""
    path = "/v1/oauth/tokens"
    if isinstance(uri, Filled):
        return Filled(uri.rstrip("/") + path, uri.template.rstrip("/") + path)
    return uri.rstrip("/") + path


class RestCatalog(Catalog, frozen=True, kw_only=True):
    """An Iceberg catalog that speaks the REST protocol."""

    catalog_type: Literal["rest"]
    options: RestOptions = RestOptions()
    """How to log in, and how tables are read. Example: `{token: "${env:ICEBERG_TOKEN}"}`"""

    def __post_init__(self) -> None:
        if not self.uri:
            raise Unfit('the key "uri" is missing', "A REST catalog is found by its URL.")

    def secret(self) -> Statement | None:
        """Return the CREATE SECRET for the token or the OAuth2 client, if there is one.

        DuckDB asks the token endpoint as soon as an OAuth2 secret is made.
        """
        options = self.options
        if not (options.token or options.client_id):
            return None
        fields: dict[str, str | Bound] = {}
        for key in _CREDENTIALS:
            value: Any = getattr(options, key)
            if key == "oauth2_server_uri" and value is None and options.client_id:
                value = _token_uri(self.uri or "")
            if value is not None:
                fields[key] = bound(value, f"{self.name}_{key}", f"options.{key}")
        if options.extra_http_headers:
            fields["extra_http_headers"] = self._headers()
        return create_secret(own_secret_name("iceberg", self.name), "iceberg", fields)

    def _headers(self) -> Bound:
        headers = self.options.extra_http_headers
        return bound_map(headers, f"{self.name}_header", "options.extra_http_headers")

    def attach(self, *, kept_for: str = "") -> Statement:
        """Return the ATTACH statement; credentials stay in the secret, where none can see them.

        `kept_for` is how long tables' metadata stays in memory where the config does not say.
        """
        options = self.options
        clauses: dict[str, str | Bound | Spliced] = {
            "type": "iceberg",
            "endpoint": bound(self.uri, f"{self.name}_uri"),
        }
        secret = options.secret_name
        if options.token or options.client_id:
            secret = own_secret_name("iceberg", self.name)
        if secret:
            clauses["secret"] = identifier(secret)
        for key in _ATTACH_TEXTS:
            value = getattr(options, key)
            if value is not None:
                clauses[key] = bound(value, f"{self.name}_{key}")
        if kept_for:
            clauses.setdefault("max_table_staleness", literal(kept_for))
        if not secret and options.authorization_type is None:
            clauses["authorization_type"] = literal("none")
        for key in _ATTACH_SWITCHES:
            value = getattr(options, key)
            if value is not None:
                clauses[key] = literal(value)
        if options.extra_http_headers and not (options.token or options.client_id):
            clauses["extra_http_headers"] = self._headers()
        return attach(located(self.warehouse or ""), self.name, clauses, read_only=self.read_only)

    @property
    def uses_secret(self) -> str | None:
        """The name of the declared secret, if the options name one."""
        return self.options.secret_name
