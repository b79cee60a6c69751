"""SQL text of lists of files, and of what their paths and columns hold."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from duckalog.sql import literal, map_literal

_FEW = 100


def text_list(texts: Sequence[str]) -> str:
    """Return a list of texts; a long one as one text to split: DuckDB binds it sooner (2.0)."""
    if len(texts) < _FEW or any("\n" in text for text in texts):
        return literal(list(texts))
    start = os.path.commonprefix(list(texts))  # noqa: RUF071  any text, not only whole folders
    ends = literal("\n".join(text[len(start) :] for text in texts))
    return f"list_transform(string_split({ends}, chr(10)), lambda path: {literal(start)} || path)"


def schemas_of_files(files: str) -> str:
    """Return the SELECT of Parquet files' names and hashes of their schemas."""
    return (
        "SELECT file_name, md5(string_agg(one, chr(10))) FROM"
        " (SELECT file_name, row(*COLUMNS(* EXCLUDE (file_name)))::VARCHAR AS one"
        f" FROM parquet_schema({files})) GROUP BY ALL"
    )


def columns_by_name(columns: Iterable[tuple[str, str]]) -> str:
    """Return `schema` of read_parquet: each column by its name, NULL where a file has none."""
    entries = {
        literal(name): f"{{name: {literal(name)}, type: {literal(kind)}, default_value: NULL}}"
        for name, kind in columns
    }
    return map_literal(entries)


def partition_value(key: str, kind: str, nulls: Iterable[str], *, is_encoded: bool) -> str:
    """Return the value of a hive partition, found in the column `filename`.

    Texts in `nulls` mean NULL. DuckDB evaluates filters on it before it opens
    a file, as on its own partition columns.
    """
    pattern = rf"(?:^|[/\\]){re.escape(key)}=([^/\\=?\n]*)[/\\]"
    value = f'regexp_extract("filename", {literal(pattern)}, 1)'
    for null in nulls:
        value = f"nullif({value}, {literal(null)})"
    if is_encoded:
        value = f"url_decode({value})"
    return value if kind == "VARCHAR" else f"CAST({value} AS {kind})"
