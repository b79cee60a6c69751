"""DuckDB secrets, typed by their `type`; a new type is one line in `SECRET_TYPES`.

The keys of each type and provider are those that DuckDB 1.5.5 accepts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from duckalog.attachments.postgres import Port
from duckalog.decode import OneOrMany, Unfit, chosen_by
from duckalog.document import Data
from duckalog.entry import Entry, NonEmpty, bound, bound_map
from duckalog.environment import Secret
from duckalog.errors import Problem
from duckalog.locations import LocalPath
from duckalog.sql import Bound, Statement, literal
from duckalog.statements import create_secret

Scope = Annotated[tuple[str, ...], OneOrMany]

_OF_EVERY_TYPE = frozenset(("origin", "name", "type", "provider", "scope", "persistent"))


class DuckdbSecret(Entry, frozen=True, kw_only=True):
    """A secret of DuckDB; without a name it is the default one of its type.

    `persistent` makes DuckDB keep it in a file of the user's, in clear.
    """

    extension: ClassVar[str]

    name: NonEmpty | None = None
    """What other keys call the secret; without a name it is the default one of its type.
    Example: `lake`"""
    scope: Scope | None = None
    """The URLs that the secret is for, by their beginning: one, or a list. Example: `s3://lake`"""
    persistent: bool = False
    """Whether DuckDB keeps the secret, in clear, in a file of the user's."""

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
        for key, value in self.stated():
            render = bound_map if isinstance(value, Mapping) else bound
            fields[key] = render(value, f"{self.secret_name}_{key}", key)
        if self.scope:
            fields["scope"] = literal(self.scope[0] if len(self.scope) == 1 else self.scope)
        return create_secret(self.secret_name, self.kind, fields, persistent=self.persistent)

    def stated(self) -> Iterator[tuple[str, Any]]:
        """Yield the keys of its own type that the config states, with their values."""
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if field.name not in _OF_EVERY_TYPE and value is not None and value != {}:
                yield field.encode_name, value


class _ObjectStoreSecret(DuckdbSecret, frozen=True, kw_only=True):
    """What S3, Google Cloud Storage and Cloudflare R2 share."""

    extension = "httpfs"

    provider: Literal["config", "credential_chain"] | None = None
    """Where the credentials come from: this file, or the chain of the AWS SDK (environment,
    profile, role)."""
    key_id: Secret | None = None
    """The id of the access key. Example: `${env:AWS_ACCESS_KEY_ID}`"""
    secret: Secret | None = None
    """The secret of the access key. Example: `${env:AWS_SECRET_ACCESS_KEY}`"""
    session_token: Secret | None = None
    """The token of temporary credentials. Example: `${env:AWS_SESSION_TOKEN}`"""
    region: str | None = None
    """The region of the buckets. Example: `eu-central-1`"""
    endpoint: str | None = None
    """Host and port of another server than the provider's own. Example: `minio.example:9000`"""
    url_style: Literal["path", "vhost"] | None = None
    """Whether the bucket stands in the path of URLs or in the host's name."""
    use_ssl: bool | None = None
    """Whether to speak HTTPS; DuckDB's default is true."""
    verify_ssl: bool | None = None
    """Whether to check the server's certificate; DuckDB's default is true."""
    url_compatibility_mode: bool | None = None
    """Whether keys with special characters are sent as they stand."""
    kms_key_id: str | None = None
    """The KMS key that written objects are encrypted with. Example: `${env:KMS_KEY_ID}`"""
    requester_pays: bool | None = None
    """Whether you pay for requests to buckets of others."""
    chain: str | None = None
    """The links of the chain to try, separated by semicolons; for `credential_chain`.
    Example: `env;config`"""
    profile: str | None = None
    """The profile of the AWS configuration; for `credential_chain`. Example: `analyst`"""
    assume_role_arn: str | None = None
    """The role to assume; for `credential_chain`.
    Example: `arn:aws:iam::123456789012:role/reader`"""
    external_id: str | None = None
    """The external id that the role asks for; for `credential_chain`. Example: `duckalog`"""
    web_identity_token_file: LocalPath | None = None
    """The file of a web identity's token; for `credential_chain`.
    Example: `/var/run/secrets/token`"""
    refresh: Literal["auto"] | None = None
    """Whether DuckDB fetches new credentials when they expire."""
    validation: Literal["exists", "none"] | None = None
    """Whether credentials must exist when the secret is made; for `credential_chain`."""

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
    """The Cloudflare account. Example: `${env:R2_ACCOUNT_ID}`"""


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
    """Where the credentials come from."""
    connection_string: Secret | None = None
    """The connection string of the storage account.
    Example: `${env:AZURE_STORAGE_CONNECTION_STRING}`"""
    account_name: str | None = None
    """The storage account. Example: `sales`"""
    endpoint: str | None = None
    """The endpoint, where it is not Azure's own. Example: `blob.core.windows.net`"""
    chain: str | None = None
    """The links of the chain to try, separated by semicolons; for `credential_chain`.
    Example: `cli;env`"""
    tenant_id: str | None = None
    """The tenant of the service principal. Example: `${env:AZURE_TENANT_ID}`"""
    client_id: str | None = None
    """The id of the service principal or managed identity. Example: `${env:AZURE_CLIENT_ID}`"""
    client_secret: Secret | None = None
    """The service principal's secret. Example: `${env:AZURE_CLIENT_SECRET}`"""
    client_certificate_path: LocalPath | None = None
    """The service principal's certificate, in place of a secret.
    Example: `/etc/duckalog/azure.pem`"""
    object_id: str | None = None
    """The object id of the managed identity. Example: `${env:AZURE_OBJECT_ID}`"""
    resource_id: str | None = None
    """The resource id of the managed identity. Example: `${env:AZURE_RESOURCE_ID}`"""
    access_token: Secret | None = None
    """The token, for provider `access_token`. Example: `${env:AZURE_ACCESS_TOKEN}`"""
    http_proxy: str | None = None
    """The proxy that requests go through. Example: `http://proxy.example:3128`"""
    proxy_user_name: str | None = None
    """The user that the proxy asks for. Example: `me`"""
    proxy_password: Secret | None = None
    """The password that the proxy asks for. Example: `${env:PROXY_PASSWORD}`"""


class HttpSecret(DuckdbSecret, frozen=True, kw_only=True):
    """A bearer token, headers, or a proxy for HTTP."""

    extension = "httpfs"

    type: Literal["http"]
    provider: Literal["config"] | None = None
    """Where the credentials come from."""
    bearer_token: Secret | None = None
    """The token of the header `Authorization: Bearer`. Example: `${env:API_TOKEN}`"""
    extra_http_headers: dict[str, Secret] = {}
    """Headers that every request carries. Example: `{Authorization: "Basic ${env:API_LOGIN}"}`"""
    http_proxy: str | None = None
    """The proxy that requests go through. Example: `http://proxy.example:3128`"""
    http_proxy_username: str | None = None
    """The user that the proxy asks for. Example: `me`"""
    http_proxy_password: Secret | None = None
    """The password that the proxy asks for. Example: `${env:PROXY_PASSWORD}`"""
    verify_ssl: bool | None = None
    """Whether to check the server's certificate; DuckDB's default is true."""


class PostgresSecret(DuckdbSecret, frozen=True, kw_only=True):
    """How to reach a PostgreSQL server, for attachments and DuckLakes that name it."""

    extension = "postgres_scanner"

    type: Literal["postgres"]
    provider: Literal["config"] | None = None
    """Where the credentials come from."""
    host: str | None = None
    """The server's name or address. Example: `db.example`"""
    port: Port | None = None
    """The server's port; libpq's default is 5432. Example: `5432`"""
    database: str | None = None
    """The database on the server. Example: `dw`"""
    user: str | None = None
    """The user to log in as. Example: `reader`"""
    password: Secret | None = None
    """The user's password. Example: `${env:PG_PASSWORD}`"""
    passfile: LocalPath | None = None
    """The file in which libpq looks for the password. Example: `~/.pgpass`"""


class MysqlSecret(DuckdbSecret, frozen=True, kw_only=True):
    """How to reach a MySQL server."""

    extension = "mysql_scanner"

    type: Literal["mysql"]
    provider: Literal["config"] | None = None
    """Where the credentials come from."""
    host: str | None = None
    """The server's name or address. Example: `mysql.example`"""
    port: Port | None = None
    """The server's port; MySQL's default is 3306. Example: `3306`"""
    database: str | None = None
    """The database on the server. Example: `shop`"""
    user: str | None = None
    """The user to log in as. Example: `reader`"""
    password: Secret | None = None
    """The user's password. Example: `${env:MYSQL_PASSWORD}`"""
    socket: LocalPath | None = None
    """The socket of a server on this machine. Example: `/run/mysqld/mysqld.sock`"""
    ssl_mode: str | None = None
    """Whether the connection is encrypted, and how the certificate is checked.
    Example: `required`"""
    ssl_ca: LocalPath | None = None
    """The file of the certificate authorities to trust. Example: `/etc/ssl/mysql-ca.pem`"""
    ssl_capath: LocalPath | None = None
    """The folder of the certificate authorities to trust. Example: `/etc/ssl/certs`"""
    ssl_cert: LocalPath | None = None
    """The file of the client's certificate. Example: `/etc/ssl/mysql-client.pem`"""
    ssl_cipher: str | None = None
    """The ciphers that are allowed. Example: `ECDHE-RSA-AES256-GCM-SHA384`"""
    ssl_crl: LocalPath | None = None
    """The file of revoked certificates. Example: `/etc/ssl/mysql-crl.pem`"""
    ssl_crlpath: LocalPath | None = None
    """The folder of files of revoked certificates. Example: `/etc/ssl/crls`"""
    ssl_key: LocalPath | None = None
    """The file of the client's key. Example: `/etc/ssl/mysql-client.key`"""


class IcebergSecret(DuckdbSecret, frozen=True, kw_only=True):
    """A token, or an OAuth2 client, for Iceberg REST catalogs that name it."""

    extension = "iceberg"

    type: Literal["iceberg"]
    provider: Literal["config"] | None = None
    """Where the credentials come from."""
    token: Secret | None = None
    """A bearer token. Example: `${env:ICEBERG_TOKEN}`"""
    client_id: Secret | None = None
    """The id of an OAuth2 client. Example: `${env:ICEBERG_CLIENT_ID}`"""
    client_secret: Secret | None = None
    """The secret of the OAuth2 client. Example: `${env:ICEBERG_CLIENT_SECRET}`"""
    oauth2_server_uri: str | None = None
    """Where the client gets its token. Example: `https://login.example/oauth/token`"""
    oauth2_scope: str | None = None
    """The scope that the client asks for. Example: `PRINCIPAL_ROLE:ALL`"""
    oauth2_grant_type: str | None = None
    """The grant that the client asks for. Example: `client_credentials`"""
    endpoint: str | None = None
    """The catalog's URL. Example: `https://iceberg.example`"""


class HuggingfaceSecret(DuckdbSecret, frozen=True, kw_only=True):
    """A token for Hugging Face."""

    extension = "httpfs"

    type: Literal["huggingface"]
    provider: Literal["config", "credential_chain"] | None = None
    """Where the token comes from: this file, or the one that `huggingface-cli login` wrote."""
    token: Secret | None = None
    """The access token. Example: `${env:HF_TOKEN}`"""

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
