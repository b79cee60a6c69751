"""Iceberg catalogs, one file for one kind; a new type is one line in `CATALOG_TYPES`."""

from __future__ import annotations

from collections.abc import Mapping

from duckalog.catalogs.aws import GlueCatalog, S3TablesCatalog
from duckalog.catalogs.rest import RestCatalog
from duckalog.decode import chosen_by
from duckalog.document import Data
from duckalog.entry import Catalog
from duckalog.errors import NOWHERE, Problem

CATALOG_TYPES: dict[str, type[Catalog]] = {
    "rest": RestCatalog,
    "glue": GlueCatalog,
    "s3_tables": S3TablesCatalog,
}

_AT_TYPE = NOWHERE._replace(path=("catalog_type",))


def catalog_type(data: Mapping[str, Data]) -> type[Catalog] | Problem:
    """Return the struct for a catalog's keys, or what is wrong with them."""
    if data.get("catalog_type") == "hive":
        remedy = (
            "Put an Iceberg REST catalog in front of it, "
            'or name the table\'s metadata file in the view: "uri" with source iceberg.'
        )
        return Problem(_AT_TYPE, "DuckDB cannot attach a Hive metastore", remedy)
    return chosen_by("catalog_type", CATALOG_TYPES, "catalog type", data)
