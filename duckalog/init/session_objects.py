"""What a file has besides views: macros and types, which a session can have, and what stays."""

from __future__ import annotations

import os
from collections.abc import Iterator

from duckalog.bookkeeping import folded
from duckalog.engine.execution import closing, execute
from duckalog.init.catalog_file import StoredCatalog, StoredObject
from duckalog.init.credentials import credential_in_sql
from duckalog.init.draft import Note
from duckalog.sql import Statement
from duckalog.statements import create_temporary


def session_objects(stored: StoredCatalog) -> tuple[list[str], list[Note]]:
    """Return the statements that make a file's macros and types for a session, and what is left.

    DuckDB binds a macro when it makes it, before any database is attached: one
    that reads a table cannot be made so.
    """
    import duckdb

    statements: list[str] = []
    notes: list[Note] = []
    pending: list[tuple[StoredObject, Statement]] = []
    seen: set[tuple[str, str]] = set()
    for one in stored.objects:
        if one.kind not in ("type", "macro"):
            continue
        _, name = folded((one.schema, one.name))
        if not one.sql:
            notes.append(Note("left out", one.shown, "DuckDB does not tell its definition"))
        elif credential := credential_in_sql(one.sql):
            notes.append(Note("left out", one.shown, f"its definition holds {credential}"))
        elif (one.kind, name) in seen:
            notes.append(Note("left out", one.shown, "another schema has one of the same name"))
        else:
            seen.add((one.kind, name))
            pending.append((one, create_temporary(one.kind, one.name, one.sql)))
    reasons: dict[StoredObject, str] = {}
    with closing(
        duckdb.connect(":memory:", config={"python_enable_replacements": False})
    ) as connection:
        while pending:
            left = []
            for one, statement in pending:
                try:
                    execute(connection, statement)
                    statements.append(statement.text)
                except duckdb.Error as error:
                    reasons[one] = str(error).splitlines()[0]
                    left.append((one, statement))
            if len(left) == len(pending):
                break
            pending = left
    notes += [
        Note("left out", one.shown, f"a session cannot have it: {reasons[one]}")
        for one, _ in pending
    ]
    return statements, notes


def notes_of_objects(stored: StoredCatalog, alias: str | None) -> Iterator[Note]:
    """Yield what stays in a file, which is attached under `alias` where views need it."""
    place = f'read there as "{alias}"' if alias else "attach it to read them"
    for one in stored.objects:
        if one.kind == "table":
            rows = "1 row stays" if one.rows == 1 else f"{one.rows:,} rows stay"
            reason = f"its {rows} in {os.path.basename(stored.file)}, {place}"
            yield Note("left out", one.shown, reason)
        elif one.kind == "index":
            yield Note("left out", one.shown, "it stays with its table")
        elif one.kind == "sequence":
            yield Note("left out", one.shown, "a file that is only read cannot count on")
    used = {view.schema.lower() for view in stored.views}
    for name in stored.schemas:
        if name.lower() not in used:
            yield Note("left out", f'schema "{name}"', "there is no view in it")
