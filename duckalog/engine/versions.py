"""What differs between DuckDB 1.4, 1.5 and 2.0 in what it does; the rest is the same to us.

Where only the shape of DuckDB's own JSON differs, `references` and `lineage`
read both shapes.
"""

from __future__ import annotations

import duckdb

_VERSION = tuple(int(part) for part in duckdb.__version__.split(".")[:2])

READS_DELTA_VERSIONS = _VERSION >= (1, 5)
"""Whether `delta_scan` takes a version."""

KEEPS_ICEBERG_TABLES = _VERSION >= (1, 5)
"""Whether an attached Iceberg catalog may take tables' metadata from memory."""

COMPUTES_PARAMETERS_AT_ONCE = _VERSION < (2, 0)
"""Whether `sql(params=…)` holds the whole result in memory."""

DEFAULT_PARTITION_IS_NULL = _VERSION >= (1, 5)
"""Whether Hive's name for a partition without a value is NULL."""

NULL_PARTITION_IS_NULL = _VERSION < (2, 0)
"""Whether a partition that is called NULL, in any case, is NULL."""
