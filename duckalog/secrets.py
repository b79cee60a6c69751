"""DuckDB secrets, typed by their `type`; a new type is one line in `SECRET_TYPES`.

The keys of each type and provider are those that DuckDB 1.5.5 accepts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from duckalog.attachments.postgres import Port
from duckalog.decode import LocalPath, OneOrMany, Unfit, chosen_by
from duckalog.document import Data
from duckalog.entry import Entry, NonEmpty, bound, bound_map
from duckalog.environment import Secret
from duckalog.errors import Problem
from duckalog.sql import Bound, Statement, create_secret, literal

Scope = Annotated[tuple[str, ...], OneOrMany]

_COMMON = frozenset(("origin", "name", "type", "provider", "scope", "persistent"))


class DuckdbSecret(Entry, frozen=True, kw_only=True):
    """A secret of DuckDB; without a name it is the default one of its type.

    `persistent` makes DuckDB keep it in a file of the user's, in clear.
    """

    extension: ClassVar[str]

    name: NonEmpty | None = None
    scope: Scope | None = None
    persistent: bool = False

    @property
    def kind(self) -> str:
        """The type as DuckDB calls it."""
        return str(getattr(self, "type", ""))

    @property
    def secret_name(self) -> str:
        """The name under which DuckDB knows the secret."""
        return self.name or f"__default_{self.kind}"

    def extensions(self) -> Iterator[str]:
        """Yield the DuckDB extensions that define the type and its provider."""
        yield self.extension
        if getattr(self, "provider", None) == "credential_chain" and self.extension == "httpfs":
            yield "aws"

    def create(self) -> Statement:
        """Return the CREATE SECRET statement."""
        fields: dict[str, str | Bound] = {}
        provider = getattr(self, "provider", None)
        if provider:
            fields["provider"] = str(provider)
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if field.name in _COMMON or value is None or value == {}:
                continue
            fields[field.encode_name] = _rendered(value, f"{self.secret_name}_{field.encode_name}")
        if self.scope:
            fields["scope"] = literal(self.scope[0] if len(self.scope) == 1 else self.scope)
        return create_secret(self.secret_name, self.kind, fields, persistent=self.persistent)


def _rendered(value: Any, variable: str) -> str | Bound:
    return bound_map(value, variable) if isinstance(value, Mapping) else bound(value, variable)


class _ObjectStoreSecret(DuckdbSecret, frozen=True, kw_only=True):
    """What S3, Google Cloud Storage and Cloudflare R2 share."""

    extension = "httpfs"

    provider: Literal["config", "credential_chain"] | None = None
    key_id: Secret | None = None
    secret: Secret | None = None
    session_token: Secret | None = None
    region: str | None = None
    endpoint: str | None = None
    url_style: Literal["path", "vhost"] | None = None
    use_ssl: bool | None = None
    verify_ssl: bool | None = None
    url_compatibility_mode: bool | None = None
    kms_key_id: str | None = None
    requester_pays: bool | None = None
    chain: str | None = None
    profile: str | None = None
    assume_role_arn: str | None = None
    external_id: str | None = None
    web_identity_token_file: LocalPath | None = None
    refresh: Literal["auto"] | None = None
    validation: Literal["exists", "none"] | None = None

    def __post_init__(self) -> None:
        chain_only = ("chain", "profile", "assume_role_arn", "external_id", "validation")
        if self.provider != "credential_chain":
            for key in (*chain_only, "web_identity_token_file"):
                if getattr(self, key) is not None:
                    raise Unfit(
                        f'"{key}" belongs to provider credential_chain',
                        "Add: provider: credential_chain",
                        (key,),
                    )
        if bool(self.key_id) != bool(self.secret):
            missing = "secret" if self.key_id else "key_id"
            raise Unfit(f'the key "{missing}" is missing', "A key id and its secret go together.")


class S3Secret(_ObjectStoreSecret, frozen=True, kw_only=True):
    """Credentials for S3 and what speaks its protocol."""

    type: Literal["s3"]


class GcsSecret(_ObjectStoreSecret, frozen=True, kw_only=True):
    """HMAC credentials for Google Cloud Storage."""

    type: Literal["gcs"]


class R2Secret(_ObjectStoreSecret, frozen=True, kw_only=True):
    """Credentials for Cloudflare R2."""

    type: Literal["r2"]
    account_id: str | None = None


class AzureSecret(DuckdbSecret, frozen=True, kw_only=True):
    """Credentials for Azure Blob Storage and ADLS."""

    extension = "azure"

    type: Literal["azure"]
    provider: (
        Literal[
            "config", "credential_chain", "service_principal", "managed_identity", "access_token"
        ]
        | None
    ) = None
    connection_string: Secret | None = None
    account_name: str | None = None
    endpoint: str | None = None
    chain: str | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    client_certificate_path: LocalPath | None = None
    object_id: str | None = None
    resource_id: str | None = None
    access_token: Secret | None = None
    http_proxy: str | None = None
    proxy_user_name: str | None = None
    proxy_password: Secret | None = None


class HttpSecret(DuckdbSecret, frozen=True, kw_only=True):
    """A bearer token, headers, or a proxy for HTTP."""

    extension = "httpfs"

    type: Literal["http"]
    provider: Literal["config"] | None = None
    bearer_token: Secret | None = None
    extra_http_headers: dict[str, Secret] = {}
    http_proxy: str | None = None
    http_proxy_username: str | None = None
    http_proxy_password: Secret | None = None
    verify_ssl: bool | None = None


class PostgresSecret(DuckdbSecret, frozen=True, kw_only=True):
    """How to reach a PostgreSQL server, for attachments and DuckLakes that name it."""

    extension = "postgres_scanner"

    type: Literal["postgres"]
    provider: Literal["config"] | None = None
    host: str | None = None
    port: Port | None = None
    database: str | None = None
    user: str | None = None
    password: Secret | None = None
    passfile: LocalPath | None = None


class MysqlSecret(DuckdbSecret, frozen=True, kw_only=True):
    """How to reach a MySQL server."""

    extension = "mysql_scanner"

    type: Literal["mysql"]
    provider: Literal["config"] | None = None
    host: str | None = None
    port: Port | None = None
    database: str | None = None
    user: str | None = None
    password: Secret | None = None
    socket: LocalPath | None = None
    ssl_mode: str | None = None
    ssl_ca: LocalPath | None = None
    ssl_capath: LocalPath | None = None
    ssl_cert: LocalPath | None = None
    ssl_cipher: str | None = None
    ssl_crl: LocalPath | None = None
    ssl_crlpath: LocalPath | None = None
    ssl_key: LocalPath | None = None


class IcebergSecret(DuckdbSecret, frozen=True, kw_only=True):
    """A token, or an OAuth2 client, for Iceberg REST catalogs that name it."""

    extension = "iceberg"

    type: Literal["iceberg"]
    provider: Literal["config"] | None = None
    token: Secret | None = None
    client_id: Secret | None = None
    client_secret: Secret | None = None
    oauth2_server_uri: str | None = None
    oauth2_scope: str | None = None
    oauth2_grant_type: str | None = None
    endpoint: str | None = None


class HuggingfaceSecret(DuckdbSecret, frozen=True, kw_only=True):
    """A token for Hugging Face."""

    extension = "httpfs"

    type: Literal["huggingface"]
    provider: Literal["config", "credential_chain"] | None = None
    token: Secret | None = None

    def extensions(self) -> Iterator[str]:
        """Yield `httpfs`, which brings both providers."""
        yield self.extension


SECRET_TYPES: dict[str, type[DuckdbSecret]] = {
    "s3": S3Secret,
    "gcs": GcsSecret,
    "r2": R2Secret,
    "azure": AzureSecret,
    "http": HttpSecret,
    "postgres": PostgresSecret,
    "mysql": MysqlSecret,
    "iceberg": IcebergSecret,
    "huggingface": HuggingfaceSecret,
}


def secret_type(data: Mapping[str, Data]) -> type[DuckdbSecret] | Problem:
    """Return the struct for a secret's keys, or what is wrong with them."""
    return chosen_by("type", SECRET_TYPES, "secret type", data)
