"""`duckalog ls` and `duckalog describe`: what a catalog holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from duckalog.cli.group import (
    config_argument,
    db_path_option,
    echo_json,
    env_file_option,
    json_option,
)
from duckalog.cli.terminal import COLOURS, columns_of_terminal, cut, width_of
from duckalog.errors import shown_path, shown_view

if TYPE_CHECKING:
    from duckalog.engine.inventory import Listed
    from duckalog.lineage import Relation
    from duckalog.plan import Plan

_GAP = "  "
_LEAST_NAME = 30
"""Cells of a name that a terminal shows at least, before other columns get theirs."""
_MOST_READ = 8
"""Relations that a view reads which are named; the others are counted."""
_LEAST_CELL = 8
"""Cells that a column is cut to at least; where there are fewer, it is left out."""


@click.command()
@config_argument
@db_path_option
@env_file_option
@json_option
def ls(config: str, db_path: str | None, env_file: str | None, as_json: bool) -> None:
    """List the views of CONFIG and of the catalog that it built.

    No source is asked, and no credential need be set. Exits with 1 where the catalog
    is not built.
    """
    plan, views = _inventory(config, db_path, env_file)
    from duckalog.engine.inventory import is_built

    built = is_built(plan)
    if as_json:
        documents = [_as_document(view) for view in views]
        echo_json({"ok": built, "database": plan.database, "views": documents})
    else:
        rows = [(*_row(view), view.comment or _first_line(view)) for view in views]
        _echo_table(("view", "state", "source", "columns", "comment"), rows)
        _tell_not_built(plan, built)
    if not built:
        click.get_current_context().exit(1)


@click.command()
@config_argument
@click.argument("view")
@db_path_option
@env_file_option
@json_option
def describe(
    config: str, view: str, db_path: str | None, env_file: str | None, as_json: bool
) -> None:
    """Tell the columns and the query of VIEW, what it reads, and when it was built from where.

    VIEW is a name, or schema.name. No source is asked. Exits with 1 where it is
    not built.
    """
    from duckalog.sql import split_name

    try:
        name = split_name(view)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    plan, views = _inventory(config, db_path, env_file)
    from duckalog.engine.inventory import find

    found = find(views, name, view, plan)
    reads = _read_by(plan, found)
    if as_json:
        document = _as_document(found)
        document["reads"] = [{"kind": one.kind, "name": list(one.name)} for one in reads]
        echo_json({"ok": found.columns is not None, **document})
    else:
        _tell(found, reads)
    if found.columns is None:
        if not as_json:
            _tell_not_built(plan, False)
        click.get_current_context().exit(1)


def _inventory(config: str, db_path: str | None, env_file: str | None) -> tuple[Plan, list[Listed]]:
    from duckalog import api
    from duckalog.engine.inventory import inventory

    plan = api.placed(api.load_plan(config, db_path, env_file=env_file, is_lenient=True))
    return plan, inventory(plan, api.LOCK_TIMEOUT_S)


def _read_by(plan: Plan, view: Listed) -> tuple[Relation, ...]:
    """Return what a view of the config reads, as far as its SQL says so."""
    from duckalog.lineage import relations_read

    return relations_read(plan)[view.step.key] if view.step else ()


def _tell_not_built(plan: Plan, is_built: bool) -> None:
    if plan.is_in_memory:
        click.echo("The catalog is in memory: it lives only in duckalog.connect().", err=True)
    elif not is_built:
        place = shown_path(plan.database)
        from duckalog.engine.opening import to_build

        click.echo(f"{place}: not all is built yet. {to_build(plan.file)}", err=True)


def _row(view: Listed) -> tuple[str, str, str, str]:
    columns = "" if view.columns is None else str(len(view.columns))
    name = shown_view(view.schema, view.name)
    return name, view.state, view.step.source if view.step else "", columns


def _first_line(view: Listed) -> str:
    return (view.step.description or "") if view.step else ""


def _tell(view: Listed, reads: Sequence[Relation]) -> None:
    name, state, source, _ = _row(view)
    facts = {
        "source": source,
        "reads": ", ".join(map(_shown_relation, reads[:_MOST_READ])),
        "state": state,
        "comment": view.comment or _first_line(view),
    }
    if len(reads) > _MOST_READ:
        facts["reads"] += f", … ({len(reads)} in all)"
    if view.step:
        facts["pinned"] = "to what the build found" if view.step.pin else ""
        facts["stated at"] = view.step.origin.location
        facts["tags"] = ", ".join(view.step.tags)
        facts["meta"] = ", ".join(f"{key}: {value}" for key, value in view.step.meta.items())
    if view.built:
        facts["built at"] = f"{view.built.built_at:%Y-%m-%d %H:%M:%S} UTC"
        facts["built by"] = f"duckalog {view.built.catalog_built_by}"
    click.secho(name, bold=True)
    for fact, text in facts.items():
        if text:
            shown = click.style(text, fg=COLOURS.get(text))
            click.echo(f"  {fact:9} {shown}")
    if view.columns is not None:
        click.echo()
        rows = [(column.name, column.type, column.comment or "") for column in view.columns]
        _echo_table(("column", "type", "comment"), rows)
    if query := _own_query(view):
        click.echo()
        click.secho("query", bold=True)
        for line in query.strip().splitlines():
            click.echo(f"  {line}".rstrip())


def _own_query(view: Listed) -> str:
    """Return the SQL that somebody wrote for a view; that of a source says nothing new."""
    if view.step:
        return view.step.query if view.step.source == "sql" else ""
    return view.built.query if view.built else view.query


def _shown_relation(relation: Relation) -> str:
    if relation.kind == "view":
        return shown_view(*relation.name)
    if relation.kind == "table":
        return relation.label
    return ", ".join(one if "://" in one else shown_path(one) for one in relation.name)


def _echo_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; where a terminal ends they are cut, and elsewhere never."""
    rows = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(width_of, cells)) for cells in zip(heads, *rows, strict=True)]
    limit = columns_of_terminal()
    if limit:
        widths = _fitted(widths, limit)
    _echo_row(heads, widths, bold=True)
    for row in rows:
        _echo_row(row, widths)


def _echo_row(row: Sequence[str], widths: Sequence[int], *, bold: bool = False) -> None:
    text = ""
    for cell, width in zip(row, widths, strict=False):
        shown = cut(cell, width)
        if shown:
            text += click.style(shown, fg=COLOURS.get(cell), bold=bold or None)
        text += " " * (width - width_of(shown)) + _GAP
    click.echo(text.rstrip())


def _fitted(widths: Sequence[int], limit: int) -> list[int]:
    """Return the widths of as many columns as a terminal has room for.

    The first one gives room to those between it and the last, but stays legible.
    """
    first, *others = widths
    first = min(first, max(_LEAST_NAME, limit - sum(others[:-1]) - len(_GAP) * (len(others) - 1)))
    fitted = [first]
    room = limit - first
    for width in others:
        room -= len(_GAP)
        if room < min(width, _LEAST_CELL):
            break
        fitted.append(min(width, room))
        room -= width
    return fitted


def _as_document(view: Listed) -> dict[str, object]:
    step, built = view.step, view.built
    return {
        "schema": view.schema,
        "name": view.name,
        "state": view.state,
        "source": step.source if step else None,
        "comment": view.comment if view.columns is not None else _first_line(view) or None,
        "tags": list(step.tags) if step else [],
        "meta": dict(step.meta) if step else {},
        "query": (step.query if step else built.query if built else view.query) or None,
        "columns": None if view.columns is None else [one._asdict() for one in view.columns],
        "file": step.origin.file or None if step else None,
        "line": step.origin.line or None if step else None,
        "stated_at": built.stated_at if built else None,
        "built_at": f"{built.built_at.isoformat()}Z" if built else None,
        "built_by": built.catalog_built_by if built else None,
    }
