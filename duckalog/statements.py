"""The statements that duckalog runs, each as a shape of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from duckalog.sql import (
    Bound,
    Spliced,
    Statement,
    ended,
    identifier,
    is_option_name,
    literal,
    qualified,
    statement,
    table_function,
)

BEGIN = statement("BEGIN TRANSACTION")
COMMIT = statement("COMMIT")


def stub_of_function(
    name: str, options: Iterable[str], columns: Iterable[tuple[str, str]]
) -> Statement:
    """Return a macro that stands in for a table function: its columns, and no rows.

    A view made over it stores the call, and calls the real function later.
    """
    parameters = ", ".join(["source", *(f"{option} := NULL" for option in options)])
    return statement(
        f"CREATE OR REPLACE TEMP MACRO {name}({parameters}) AS TABLE {no_rows_of(columns)}"
    )


def no_rows_of(columns: Iterable[tuple[str, str]]) -> str:
    """Return a query of these columns, by names and types, that reads nothing."""
    selected = ", ".join(f"NULL::{kind} AS {identifier(column)}" for column, kind in columns)
    return f"SELECT {selected} LIMIT 0"


def stub_of_calls(
    name: str, options: Iterable[str], columns: Mapping[str, Iterable[tuple[str, str]]]
) -> Statement:
    """Return the same for a function that is called for several sources, by their texts."""
    parameters = ", ".join(["source", *(f"{option} := NULL" for option in options)])
    cases = " ".join(
        f"WHEN {literal(source)} THEN {literal(no_rows_of(of_source))}"
        for source, of_source in columns.items()
    )
    body = f"FROM query(CASE CAST(source AS VARCHAR) {cases} END)"
    return statement(f"CREATE OR REPLACE TEMP MACRO {name}({parameters}) AS TABLE {body}")


def stub_of_file(name: str, columns: Iterable[tuple[str, str]]) -> Statement:
    """Return a view that stands in for a file that is read by its name."""
    return statement(f"CREATE OR REPLACE TEMP VIEW {identifier(name)} AS {no_rows_of(columns)}")


def drop_stub_of_function(name: str) -> Statement:
    """Return DROP of a macro that stands in for a table function."""
    return statement(f"DROP MACRO TABLE temp.main.{name}")


def drop_stub_of_file(name: str) -> Statement:
    """Return DROP of a view that stands in for a file."""
    return statement(f"DROP VIEW {qualified('temp', 'main', name)}")


def call(function: str, argument: str, options: Mapping[str, str]) -> Statement:
    """Return CALL of a table function; `argument` and the options' values are SQL."""
    return statement(f"CALL {table_function(function, argument, options)}")


def load(extension: str) -> Statement:
    """Return LOAD of an extension by name, or by the path of its file."""
    named = identifier(extension) if is_option_name(extension) else literal(extension)
    return statement(f"LOAD {named}")


def install(extension: str, repository: str = "", shown: str = "") -> Statement:
    """Return INSTALL of an extension; `repository` is a name that DuckDB knows, or a place.

    `shown` stands for a repository whose text must not be shown.
    """
    installing = f"INSTALL {identifier(extension)}"
    if not repository:
        return statement(installing)
    if is_option_name(repository):
        return statement(f"{installing} FROM {identifier(repository)}")
    place = Spliced(literal(repository), literal(shown or repository))
    return statement(f"{installing} FROM ", place)


def set_option(name: str, value: str | Bound, scope: str = "") -> Statement:
    """Return SET of a setting; `scope` is empty or GLOBAL."""
    return statement(f"SET {scope + ' ' if scope else ''}{identifier(name)} = ", value)


def create_secret(
    name: str, kind: str, fields: Mapping[str, str | Bound], *, persistent: bool = False
) -> Statement:
    """Return CREATE OR REPLACE SECRET; the fields' values are SQL, or bound."""
    lasting = "PERSISTENT " if persistent else ""
    parts: list[str | Bound] = [
        f"CREATE OR REPLACE {lasting}SECRET {identifier(name)} (\n    TYPE {kind}"
    ]
    for field, value in fields.items():
        parts += [f",\n    {field.upper()} ", value]
    return statement(*parts, "\n)")


def attach(
    target: str | Spliced,
    alias: str,
    options: Mapping[str, str | Bound | Spliced],
    *,
    read_only: bool,
) -> Statement:
    """Return ATTACH; the target and the options' values are SQL, or the latter bound.

    The access is always stated: without it a database attached to a read-only
    catalog is read-only too.
    """
    parts: list[str | Bound | Spliced] = ["ATTACH IF NOT EXISTS ", target]
    parts.append(f" AS {identifier(alias)} (")
    for name, value in options.items():
        parts += [f"{name.upper()} ", value, ", "]
    return statement(*parts, "READ_ONLY)" if read_only else "READ_WRITE)")


def detach(alias: str) -> Statement:
    """Return DETACH."""
    return statement(f"DETACH {identifier(alias)}")


def copy_schema(source: str, target: str) -> Statement:
    """Return the COPY of everything but rows from one attached database to another."""
    return statement(f"COPY FROM DATABASE {identifier(source)} TO {identifier(target)} (SCHEMA)")


def export_database(source: str, folder: str) -> Statement:
    """Return EXPORT of a whole database to a folder."""
    return statement(f"EXPORT DATABASE {identifier(source)} TO {literal(folder)}")


def create_temporary(kind: str, name: str, definition: str) -> Statement:
    """Return the statement that makes a macro or type for a session; `definition` is SQL."""
    return statement(f"CREATE OR REPLACE TEMP {kind.upper()} {identifier(name)} {definition}")


def reset_option(name: str) -> Statement:
    """Return RESET of a setting."""
    return statement(f"RESET {identifier(name)}")


def create_schema(*name: str) -> Statement:
    """Return CREATE SCHEMA IF NOT EXISTS; the name may have its catalog before it."""
    return statement(f"CREATE SCHEMA IF NOT EXISTS {qualified(*name)}")


def drop_schema(name: str) -> Statement:
    """Return DROP SCHEMA IF EXISTS, which DuckDB refuses while anything is in it."""
    return statement(f"DROP SCHEMA IF EXISTS {identifier(name)}")


def create_view(relation: str, query: str) -> Statement:
    """Return CREATE OR REPLACE VIEW."""
    return statement(f"CREATE OR REPLACE VIEW {relation} AS\n{ended(query)}")


def create_table(relation: str, columns: Iterable[tuple[str, str]]) -> Statement:
    """Return CREATE TABLE, unless there is one; the columns' types are SQL."""
    stated = ", ".join(f"{identifier(name)} {kind}" for name, kind in columns)
    return statement(f"CREATE TABLE IF NOT EXISTS {relation} ({stated})")


def create_table_of(relation: str, query: str) -> Statement:
    """Return CREATE TABLE with the columns of a query, and no rows."""
    return statement(f"CREATE TABLE {relation} AS\n{ended(query)}\nWITH NO DATA")


def attach_in_memory(alias: str) -> Statement:
    """Return ATTACH of a new database that is never stored."""
    return statement(f"ATTACH IF NOT EXISTS ':memory:' AS {identifier(alias)}")


def describe(query: str) -> Statement:
    """Return DESCRIBE of a query, which binds it and reads no rows."""
    return statement(f"DESCRIBE {query}")


def copy_to(query: str, file: str, options: Mapping[str, str]) -> Statement:
    """Return the COPY of a query's rows to a file, the query on lines of its own.

    The options' values are SQL.
    """
    stated = ", ".join(f"{name.upper()} {value}" for name, value in options.items())
    return statement(f"COPY (\n{query}\n) TO {literal(file)} ({stated})")


def drop_view(relation: str, *, if_exists: bool = False) -> Statement:
    """Return DROP VIEW."""
    return statement(f"DROP VIEW {'IF EXISTS ' * if_exists}{relation}")


def comment_on_view(relation: str, comment: str | None) -> Statement:
    """Return COMMENT ON VIEW; None takes the comment away."""
    return statement(f"COMMENT ON VIEW {relation} IS {_comment(comment)}")


def comment_on_column(relation: str, column: str, comment: str | None) -> Statement:
    """Return COMMENT ON COLUMN; None takes the comment away."""
    return statement(f"COMMENT ON COLUMN {relation}.{identifier(column)} IS {_comment(comment)}")


def _comment(comment: str | None) -> str:
    return "NULL" if comment is None else literal(comment)
