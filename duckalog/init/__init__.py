"""Configs to start from: out of nothing, of a DuckDB file, or of a place full of data files."""

from __future__ import annotations

import os
from collections.abc import Iterable

from duckalog.init.draft import Draft, StartingConfig

__all__ = ["starting_config"]

SCHEMA_FILE = "catalog.schema.json"
"""The JSON schema beside a config, which editors then check it with."""

_FROM_NOTHING = """\
# A DuckDB catalog. Paths start from the folder of this file.
#   duckalog validate {name}    checks it
#   duckalog build {name}       makes the catalog
#   duckalog.connect("{name}")  opens it from Python, attachments and secrets applied
#   duckalog schema --output {schema}  lets editors complete and check it, with the line
#   # yaml-language-server: $schema={schema}  at the top
version: 1
duckdb:
  database: {database}

# Databases that views read, attached read-only to every session.
# attachments:
#   duckdb: [{{alias: refdata, path: refdata.duckdb}}]
#   postgres:
#     - alias: dw
#       host: ${{env:PG_HOST}}
#       database: dw
#       user: ${{env:PG_USER}}
#       password: ${{env:PG_PASSWORD}}

views:
  # SQL, which may read the other views by their names.
  - name: hello
    description: The first view; replace it with your own.
    sql: SELECT 'hello' AS greeting, 42 AS answer

  # Files: parquet, csv or json, by path, pattern or URL.
  # - name: orders
  #   source: parquet
  #   uri: "orders/*.parquet"
  #   options: {{hive_partitioning: true, union_by_name: true}}

  # A table of an attachment.
  # - {{name: countries, source: duckdb, database: refdata, table: countries}}
"""


def starting_config(
    source: str | None, config_path: str, attach: Iterable[str] = ()
) -> StartingConfig:
    """Return a config to be written to `config_path`, made of nothing or of `source`.

    A source is a DuckDB file, a data file, a folder or an `s3://` prefix; `attach` says as
    `alias=place` what a file's views read. Raises ConfigError or EngineError.
    """
    path = os.path.abspath(config_path)
    folder, name = os.path.split(path)
    head = ""
    if os.path.exists(os.path.join(folder, SCHEMA_FILE)):
        head = f"# yaml-language-server: $schema={SCHEMA_FILE}\n"
    stem = os.path.splitext(name)[0] or "catalog"
    database = os.path.join(folder, f"{stem}.duckdb")
    if source is None:
        text = _FROM_NOTHING.format(name=name, database=f'"{stem}.duckdb"', schema=SCHEMA_FILE)
        return StartingConfig(head + text, 1, ())
    draft = _draft_of(source, attach, database)
    from duckalog.init.rendering import rendered

    return StartingConfig(rendered(draft, folder, head=head), len(draft.views), tuple(draft.notes))


def _draft_of(source: str, attach: Iterable[str], database: str) -> Draft:
    from duckalog.init.datasets import format_of
    from duckalog.locations import is_remote

    if is_remote(source) or os.path.isdir(source) or (format_of(source) and os.path.exists(source)):
        from duckalog.init.data_files import draft_of_files

        return draft_of_files(source, database)
    from duckalog.init.given import given_attachment
    from duckalog.init.migration import draft_of_catalog

    given = [given_attachment(one) for one in attach]
    return draft_of_catalog(source, given, database)
