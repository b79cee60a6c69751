"""Iceberg catalogs of AWS: Glue and S3 Tables.

Both sign with an S3 secret that the config declares under `duckdb.secrets`.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

import msgspec

from duckalog.decode import Unfit
from duckalog.entry import Catalog, Entry, bound, located
from duckalog.environment import is_unfilled
from duckalog.sql import Bound, Spliced, Statement, identifier, literal
from duckalog.statements import attach


class AwsOptions(Entry, frozen=True, kw_only=True):
    """The S3 secret that signs the requests, and how tables are read."""

    secret_name: str | None = msgspec.field(default=None, name="secret")
    """The name of the `s3` secret, under `duckdb.secrets`, that signs the requests.
    Example: `aws`"""
    default_schema: str | None = None
    """The namespace that names without one are in. Example: `analytics`"""
    max_table_staleness: str | None = None
    """For how long a table's metadata may be taken from memory. Example: `10 minutes`"""


class AwsCatalog(Catalog, frozen=True, kw_only=True):
    """What Glue and S3 Tables share."""

    endpoint_type: ClassVar[str]
    secret_type = "s3"

    options: AwsOptions = AwsOptions()
    """How requests are signed, and how tables are read. Example: `{secret: aws}`"""

    def attach(self, *, kept_for: str = "") -> Statement:
        """Return the ATTACH statement.

        `kept_for` is how long tables' metadata stays in memory where the config does not say.
        """
        options = self.options
        clauses: dict[str, str | Bound | Spliced] = {
            "type": "iceberg",
            "endpoint_type": literal(self.endpoint_type),
        }
        if options.secret_name:
            clauses["secret"] = identifier(options.secret_name)
        for key in ("default_schema", "max_table_staleness"):
            value = getattr(options, key)
            if value is not None:
                clauses[key] = bound(value, f"{self.name}_{key}")
        if kept_for:
            clauses.setdefault("max_table_staleness", literal(kept_for))
        return attach(located(self.warehouse or ""), self.name, clauses, read_only=self.read_only)

    @property
    def uses_secret(self) -> str | None:
        """The name of the S3 secret, if the options name one."""
        return self.options.secret_name


def _is_fit(warehouse: str | None, pattern: re.Pattern[str]) -> bool:
    return is_unfilled(warehouse) or bool(pattern.match(warehouse or ""))


_ARN = re.compile("arn:")
_ACCOUNT = re.compile(r"(?::|\d{12})(?::[^/]+(?:/.+)?)?\Z")


class GlueCatalog(AwsCatalog, frozen=True, kw_only=True):
    """AWS Glue; the warehouse is an account id, `:` for one's own, or `account:catalog/db`."""

    endpoint_type = "glue"
    catalog_type: Literal["glue"]

    def __post_init__(self) -> None:
        if self.uri:
            raise Unfit("glue has no uri: the region of its secret decides", "", ("uri",))
        if not _is_fit(self.warehouse, _ACCOUNT):
            raise Unfit(
                "glue takes an AWS account as its warehouse",
                'For example "123456789012", or ":" for the account of the credentials.',
                ("warehouse",),
            )


class S3TablesCatalog(AwsCatalog, frozen=True, kw_only=True):
    """S3 Tables; the warehouse is the ARN of a table bucket."""

    endpoint_type = "s3_tables"
    catalog_type: Literal["s3_tables"]

    def __post_init__(self) -> None:
        if self.uri:
            raise Unfit("s3_tables has no uri: its ARN says where it is", "", ("uri",))
        if not _is_fit(self.warehouse, _ARN):
            raise Unfit(
                "s3_tables takes the ARN of a table bucket as its warehouse",
                "For example arn:aws:s3tables:eu-central-1:123456789012:bucket/analytics",
                ("warehouse",),
            )
