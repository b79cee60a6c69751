"""Attachments, one file for one type; a new type is one line in `ATTACHMENT_TYPES`."""

from __future__ import annotations

from duckalog.attachments.duckdb import DuckdbAttachment
from duckalog.attachments.ducklake import DucklakeAttachment
from duckalog.attachments.postgres import PostgresAttachment
from duckalog.attachments.sqlite import SqliteAttachment
from duckalog.entry import Attachment

ATTACHMENT_TYPES: dict[str, type[Attachment]] = {
    "duckdb": DuckdbAttachment,
    "sqlite": SqliteAttachment,
    "postgres": PostgresAttachment,
    "ducklake": DucklakeAttachment,
}
