"""What stands in a catalog: its views, columns and comments, without asking any source."""

from __future__ import annotations

import os
import re
from itertools import groupby
from typing import NamedTuple

from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Built, ViewName, folded, read_built
from duckalog.changes import NOT_ITS_QUERY, Diff, comment_changes
from duckalog.engine.execution import closing
from duckalog.engine.opening import open_catalog
from duckalog.entry import BOOKKEEPING_SCHEMA, MAIN_SCHEMA
from duckalog.environment import PLACEHOLDER
from duckalog.errors import EngineError, Origin, Problem, nearest, sentences, shown_path
from duckalog.plan import Plan, ViewStep
from duckalog.redaction import Redactor


class CommentedColumn(NamedTuple):
    """A column as a catalog has it, with its comment."""

    name: str
    type: str
    comment: str | None


class Listed(NamedTuple):
    """A view that the config declares, or that stands in the catalog, or both.

    `step` is None where the config has it not, `columns` are None where it is
    not built, and `built` is None where duckalog did not make it.
    """

    schema: str
    name: str
    step: ViewStep | None
    columns: tuple[CommentedColumn, ...] | None = None
    comment: str | None = None
    query: str = ""
    built: Built | None = None

    @property
    def state(self) -> str:
        """How config and catalog stand to each other, in a few words."""
        if self.columns is None:
            return "not built"
        if self.built is None:
            return "made by hand"
        if self.step is None:
            return "left the config"
        is_same = self.step.fingerprint == self.built.fingerprint
        # One whose variables are not set here cannot be told from what was built.
        is_unset = any(PLACEHOLDER.search(one.text) for one in self.step.statements)
        return "built" if is_same or is_unset else "changed since"

    def shown_by(self, redact: Redactor) -> Listed:
        """Return the view without what `redact` takes out of its texts."""
        return self._replace(
            columns=self.columns
            and tuple(
                one._replace(comment=one.comment and redact(one.comment)) for one in self.columns
            ),
            comment=self.comment and redact(self.comment),
            query=redact(self.query),
            built=self.built and self.built._replace(query=redact(self.built.query)),
        )


def is_built(plan: Plan) -> bool:
    """Say whether the catalog's file is there."""
    return not plan.is_in_memory and os.path.exists(plan.database)


def inventory(plan: Plan, lock_timeout_s: float) -> list[Listed]:
    """Return every view: in the order of the config, then those that it does not have.

    The catalog's file is opened without its attachments, because DuckDB's own
    functions would ask each of them.
    """
    standing: dict[tuple[str, str], Listed] = {}
    if is_built(plan):
        opened = open_catalog(plan.database, read_only=True, lock_timeout_s=lock_timeout_s)
        with closing(opened) as connection:
            found_there = [one.shown_by(plan.redact) for one in _standing(connection, plan)]
        standing = {folded((one.schema, one.name)): one for one in found_there}
    found = []
    for step in plan.views:
        one = standing.pop(folded((step.schema, step.view)), None)
        found.append(one._replace(step=step) if one else Listed(step.schema, step.view, step))
    return [*found, *standing.values()]


def _standing(connection: DuckDBPyConnection, plan: Plan) -> list[Listed]:
    built = read_built(connection, plan.database)
    views = connection.execute(
        "SELECT schema_name, view_name, comment, sql FROM duckdb_views()"
        " WHERE NOT internal AND database_name = current_database() ORDER BY ALL"
    ).fetchall()
    columns = commented_columns(connection)
    return [
        Listed(
            schema,
            view,
            None,
            columns.get((schema, view), ()),
            comment,
            plan.redact(sql),
            built.get(folded((schema, view))),
        )
        for schema, view, comment, sql in views
    ]


def commented_columns(
    connection: DuckDBPyConnection,
) -> dict[ViewName, tuple[CommentedColumn, ...]]:
    """Return the columns of each relation of a catalog; no other database may be attached."""
    rows = connection.execute(
        "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns()"
        " WHERE NOT internal AND database_name = current_database()"
        " ORDER BY schema_oid, table_oid, column_index"
    ).fetchall()
    return {
        relation: tuple(CommentedColumn(*column) for _, _, *column in found)
        for relation, found in groupby(rows, key=lambda row: row[:2])
    }


def words_of(plan: Plan, lock_timeout_s: float) -> set[str]:
    """Return what a query of the catalog may name: its schemas' relations, and their columns.

    As `inventory` it asks no attached database.
    """
    words = {word for step in plan.views for word in (step.view, step.name)}
    if is_built(plan):
        opened = open_catalog(plan.database, read_only=True, lock_timeout_s=lock_timeout_s)
        with closing(opened) as connection:
            for (schema, relation), columns in commented_columns(connection).items():
                if schema != BOOKKEEPING_SCHEMA:
                    words |= {relation, f"{schema}.{relation}", *(one.name for one in columns)}
    return words


_HEAD = re.compile(r"CREATE VIEW .+? AS (?=SELECT|WITH|VALUES|\()", re.DOTALL)
"""What DuckDB puts before the query of a view that it stores."""


def with_comment_changes(connection: DuckDBPyConnection, found: Diff, plan: Plan) -> Diff:
    """Return a diff that tells which comments of the views to be replaced are others now.

    Of views made or changed by hand it tells their queries, too.
    """
    replaced = {
        folded((one.step.schema, one.step.view))
        for one in found.changes
        if one.action == "replaced"
    }
    if not replaced:
        return found
    standing = {folded((one.schema, one.name)): one for one in _standing(connection, plan)}
    changes = []
    for change in found.changes:
        key = folded((change.step.schema, change.step.view))
        if key in replaced and key in standing:
            view = standing[key]
            columns = view.columns or ()
            stored = {one.name.lower(): one.comment or "" for one in columns}
            comments = comment_changes(
                change.step, {"": view.comment or "", **stored}, [one.name for one in columns]
            )
            change = change._replace(comments=tuple(map(plan.redact, comments)))
            if not change.query_before:
                by_hand = _HEAD.sub("", view.query, count=1).removesuffix(";")
                change = change._replace(query_before=by_hand)
            if change.reason == NOT_ITS_QUERY:
                reason = "its comments changed" if comments else "its pin changed"
                change = change._replace(reason=reason)
        changes.append(change)
    return found._replace(changes=tuple(changes))


def find(views: list[Listed], name: tuple[str, ...], shown: str, plan: Plan) -> Listed:
    """Return the view of a name, `view` or `schema.view`; raises EngineError for an unknown one."""
    schema, view = name[-2:] if len(name) > 1 else (MAIN_SCHEMA, name[-1])
    wanted = folded((schema, view))
    same = [one for one in views if folded((one.schema, one.name)) == wanted]
    if not same and len(name) == 1:
        same = [one for one in views if one.name.lower() == wanted[1]]
    if len(same) == 1:
        return same[0]
    names = [f"{one.schema}.{one.name}" for one in same or views]
    if same:
        raise EngineError(
            Problem(
                Origin(plan.file),
                f'several views are called "{shown}"',
                f"They are {', '.join(names)}.",
            )
        )
    known = [*names, *(one.name for one in views)]
    remedy = sentences(nearest(shown, known), f"to see them: duckalog ls {shown_path(plan.file)}")
    raise EngineError(Problem(Origin(plan.file), f'no view is called "{shown}"', remedy))
