"""What a file has besides views: macros and types, which a session can have, and what stays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

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
    notes: list[Note] = []
    to_make: dict[StoredObject, Statement] = {}
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
            to_make[one] = create_temporary(one.kind, one.name, one.sql)
    statements, reasons = _made(to_make)
    notes += [
        Note("left out", one.shown, f"a session cannot have it: {reason}")
        for one, reason in reasons.items()
    ]
    return statements, notes


def _made(pending: Mapping[StoredObject, Statement]) -> tuple[list[str], dict[StoredObject, str]]:
    """Return statements in an order in which they can be run, and why the others cannot."""
    import duckdb

    statements: list[str] = []
    reasons: dict[StoredObject, str] = {}
    with closing(
        duckdb.connect(":memory:", config={"python_enable_replacements": False})
    ) as connection:
        while pending:
            refused: dict[StoredObject, Statement] = {}
            reasons = {}
            for one, statement in pending.items():
                try:
                    execute(connection, statement)
                    statements.append(statement.text)
                except duckdb.Error as error:
                    reasons[one] = str(error).splitlines()[0]
                    refused[one] = statement
            if len(refused) == len(pending):
                break
            pending = refused
    return statements, reasons


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
