"""A DuckDB file to a config that builds the same views, in another file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from duckalog.bookkeeping import Column, ViewName, folded
from duckalog.config import OWN_DATABASES
from duckalog.engine.execution import closing
from duckalog.entry import MAIN_SCHEMA
from duckalog.init.catalog_file import StoredCatalog, StoredView, read_catalog_file
from duckalog.init.credentials import credential_in, credential_in_sql
from duckalog.init.databases import free_database
from duckalog.init.draft import Data, Draft, DraftEntry, Note
from duckalog.init.given import Given
from duckalog.init.names import Names, QueryNeeds
from duckalog.init.object_stores import secrets_for
from duckalog.init.recognition import Recognizer
from duckalog.init.rendering import Place, Query
from duckalog.init.session_objects import notes_of_objects, session_objects
from duckalog.init.trial import TrialResult, tried
from duckalog.locations import is_remote
from duckalog.references import Reading, mentions_of, readings_of
from duckalog.sql import select_renamed
from duckalog.user_sql import replace_quoted

PLACEHOLDER_PATH = "/path/to/be/filled/in"


class Carried(NamedTuple):
    """A view as the config will have it."""

    view: StoredView
    data: Data
    needs: QueryNeeds
    is_remote: bool


def draft_of_catalog(file: str, given: Iterable[Given], database: str) -> Draft:
    """Return the draft of a config for what stands in a DuckDB file.

    Raises EngineError where the file cannot be read.
    """
    return _Migration(read_catalog_file(file), list(given), database).draft()


class _Migration:
    """The views of a DuckDB file on their way into a config; `left_out` says why some stay."""

    def __init__(self, stored: StoredCatalog, given: list[Given], database: str) -> None:
        self.stored = stored
        self.given = {one.alias.lower(): one for one in given}
        self.notes = [
            Note("changed", f'attachment "{one.alias}"', _of_dsn(one.left_out))
            for one in given
            if one.left_out
        ]
        self.left_out: dict[ViewName, str] = {}
        self.paths: dict[ViewName, Counter[str]] = {}
        self.schemas = {view.schema.lower() for view in stored.views}
        self.own = {view.key for view in stored.views}
        self.own |= {folded((one.schema, one.name)) for one in stored.objects}
        self.alias = self._free_name(stored.name, taken=self.given.keys() - {stored.name.lower()})
        known = {self.alias.lower(), stored.name.lower(), *self.given, *self.schemas}
        self.database = free_database(database, known)

    def _free_name(self, name: str, taken: Iterable[str]) -> str:
        """Return a name for the file as an attachment that means nothing else."""
        refused = {*self.schemas, *taken, *OWN_DATABASES, MAIN_SCHEMA}
        while name.lower() in refused:
            name = f"{name}_file"
        return name

    def draft(self) -> Draft:
        pragmas, notes = session_objects(self.stored)
        self.notes += notes
        carried = self._carried()
        draft = self._drafted(carried, pragmas)
        outcome = tried(self._without_placeholders(draft, carried))
        carried = self._after_trial(carried, outcome)
        draft = self._drafted(carried, pragmas)
        shown = {view.key: view.shown for view in self.stored.views}
        self.notes += [
            Note("left out", f'view "{shown[key]}"', reason)
            for key, reason in self.left_out.items()
        ]
        self.notes += self._unknown_databases(carried)
        is_attached = any(one.needs.tables for one in carried)
        self.notes += notes_of_objects(self.stored, self.alias if is_attached else None)
        draft.notes = self.notes
        return draft

    def _carried(self) -> list[Carried]:
        """Return the views that can be carried over, as far as their texts tell."""
        import duckdb

        readable = [view for view in self.stored.views if self._is_readable(view)]
        readings = readings_of([view.query or "" for view in readable])
        queries = [
            (view, query, reading)
            for view, reading in zip(readable, readings, strict=True)
            if (query := self._with_absolute_paths(view, reading)) is not None
        ]
        mentions = mentions_of([query for _, query, _ in queries])
        found: list[Carried] = []
        with closing(
            duckdb.connect(":memory:", config={"python_enable_replacements": False})
        ) as connection:
            keywords = connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
            names = Names(self.stored, self.alias, {keyword for (keyword,) in keywords})
            kinds = {one.alias: one.kind for one in self.given.values()}
            recognizer = Recognizer(connection, kinds)
            for (view, query, reading), named in zip(queries, mentions, strict=True):
                rewritten = names.rewritten(query, view.schema, named)
                if rewritten is None:
                    self.left_out[view.key] = "a name in it cannot be found in its text"
                    continue
                text, needs = rewritten
                source = None if view.aliases else recognizer.source_of(text)
                is_far = bool(reading.urls) or self._reads_a_server(needs)
                found.append(Carried(view, self._data(view, text, source), needs, is_far))
        self._leave_out_circles(found)
        return self._without_left_out(found)

    def _reads_a_server(self, needs: QueryNeeds) -> bool:
        known = (self.given.get(one.lower()) for one in needs.databases)
        return any(one is not None and one.kind == "postgres" for one in known)

    def _with_absolute_paths(self, view: StoredView, reading: Reading) -> str | None:
        """Return a view's query with relative paths made to start from the working directory."""
        if reading.refusal:
            self.left_out[view.key] = reading.refusal
            return None
        paths = {
            path.position: os.path.abspath(path.text)
            for path in reading.paths
            if not (is_remote(path.text) or path.text.startswith(("/", "~")) or not path.text)
            and self.own.isdisjoint(
                (folded((view.schema, path.text)), folded((MAIN_SCHEMA, path.text)))
            )
        }
        stated = [paths.get(path.position, path.text) for path in reading.paths]
        self.paths[view.key] = Counter(filter(os.path.isabs, stated))
        query = view.query or ""
        try:
            return replace_quoted(query, paths) if paths else query
        except ValueError as error:
            self.left_out[view.key] = str(error)
            return None

    def _is_readable(self, view: StoredView) -> bool:
        if view.query is None:
            self.left_out[view.key] = "its definition cannot be read"
        elif credential := credential_in_sql(view.query):
            self.left_out[view.key] = (
                f"its SQL holds {credential}; put it in a secret, and write the view without it"
            )
        elif view.schema.lower() in ("temp", "information_schema", "pg_catalog"):
            self.left_out[view.key] = f'the schema "{view.schema}" is DuckDB\'s own'
        else:
            return True
        return False

    def _data(self, view: StoredView, query: str, source: Data | None) -> Data:
        """Return a view's keys: those of its source where it has one, else its SQL."""
        data: Data = {"name": view.name}
        if view.comment is not None and self._is_fit(view.shown, view.comment):
            data["description"] = view.comment
        if view.schema != MAIN_SCHEMA:
            data["schema"] = view.schema
        if source is None:
            if view.aliases:
                query = select_renamed(query, view.name, view.aliases)
            data["sql"] = Query(query, self.paths[view.key])
        else:
            data |= {key: self._placed(key, value) for key, value in source.items()}
        comments = {
            column.name: column.comment
            for column in view.columns
            if column.comment is not None
            and self._is_fit(f"{view.shown}.{column.name}", column.comment)
        }
        if comments:
            data["columns"] = comments
        return data

    def _placed(self, key: str, value: object) -> object:
        """Return a source's place: a relative path starts from the working directory."""
        if key != "uri":
            return value
        if isinstance(value, list):
            return [self._placed(key, one) for one in value]
        text = str(value)
        if is_remote(text):
            return Place(text)
        return Place(os.path.abspath(os.path.expanduser(text.removeprefix("file://"))))

    def _is_fit(self, subject: str, comment: str) -> bool:
        credential = credential_in(comment)
        if credential:
            self.notes.append(Note("left out", f"the comment of {subject}", f"holds {credential}"))
        return not credential

    def _leave_out_circles(self, found: list[Carried]) -> None:
        by_key = {one.view.key: one for one in found}
        graph = {
            key: [one for one in item.needs.views if one in by_key] for key, item in by_key.items()
        }
        while True:
            try:
                TopologicalSorter(graph).prepare()
                return
            except CycleError as error:
                for key in error.args[1]:
                    self.left_out[key] = "it reads itself, through other views or directly"
                    graph.pop(key, None)

    def _without_left_out(self, found: list[Carried]) -> list[Carried]:
        """Return views without those left out, and without those that read them."""
        shown = {view.key: view.shown for view in self.stored.views}
        while True:
            for one in found:
                missing = sorted(one.needs.views & self.left_out.keys())
                if missing and one.view.key not in self.left_out:
                    self.left_out[one.view.key] = (
                        f'it reads "{shown[missing[0]]}", which is left out'
                    )
            kept = [one for one in found if one.view.key not in self.left_out]
            if len(kept) == len(found):
                return kept
            found = kept

    def _drafted(self, carried: list[Carried], pragmas: list[str]) -> Draft:
        """Return the draft with the views that are carried over, and what they need."""
        attachments: dict[str, list[DraftEntry]] = {}
        variables: dict[str, str] = {}
        needed = {one.lower(): one for item in carried for one in item.needs.databases}
        for one in self.given.values():
            attachments.setdefault(one.kind, []).append(DraftEntry(one.data))
            variables |= one.variables
        if any(item.needs.tables for item in carried):
            comment = "The file that this config was made from: its tables stay there."
            data: Data = {"alias": self.alias, "path": Place(self.stored.file)}
            attachments.setdefault("duckdb", []).append(DraftEntry(data, comment))
        for key, alias in sorted(needed.items()):
            if key not in self.given:
                comment = f'TO DO: where "{alias}" is, and under its type: the file does not tell.'
                data = {"alias": alias, "path": Place(f"{PLACEHOLDER_PATH}/{alias}.duckdb")}
                attachments.setdefault("duckdb", []).append(DraftEntry(data, comment))
        urls = [str(url) for item in carried for url in _urls(item)]
        return Draft(
            title=f"Made from {os.path.basename(self.stored.file)} by duckalog init.",
            database=self.database,
            pragmas=pragmas,
            secrets=secrets_for(urls),
            attachments=attachments,
            views=[DraftEntry(item.data) for item in carried],
            variables=variables,
        )

    def _unknown_databases(self, carried: list[Carried]) -> Iterator[Note]:
        readers: dict[str, list[str]] = {}
        for one in carried:
            for alias in self._unknown(one):
                readers.setdefault(alias, []).append(one.view.shown)
        for alias, views in sorted(readers.items()):
            reason = f"say where it is, for {', '.join(views)} (or: --attach {alias}=…)"
            yield Note("to do", f'attachment "{alias}"', reason)

    def _unknown(self, one: Carried) -> set[str]:
        return {name for name in one.needs.databases if name.lower() not in self.given}

    def _waiting(self, carried: list[Carried]) -> dict[ViewName, str]:
        """Return the views that read a database of unknown place, with its alias."""
        waiting: dict[ViewName, str] = {}
        for one in carried:
            for alias in sorted(self._unknown(one)):
                waiting.setdefault(one.view.key, alias)
        found = -1
        while found != len(waiting):
            found = len(waiting)
            for one in carried:
                for key in one.needs.views & waiting.keys():
                    waiting.setdefault(one.view.key, waiting[key])
        return waiting

    def _without_placeholders(self, draft: Draft, carried: list[Carried]) -> Draft:
        """Return the draft without databases of unknown place, and what reads them."""
        waiting = self._waiting(carried)
        known = {kind: list(entries) for kind, entries in draft.attachments.items()}
        known["duckdb"] = [
            entry
            for entry in known.get("duckdb", [])
            if not str(entry.data["path"]).startswith(PLACEHOLDER_PATH)
        ]
        views = [DraftEntry(one.data) for one in carried if one.view.key not in waiting]
        return Draft(
            database=draft.database,
            pragmas=draft.pragmas,
            secrets=draft.secrets,
            attachments=known,
            views=views,
            variables=draft.variables,
        )

    def _after_trial(self, carried: list[Carried], outcome: TrialResult) -> list[Carried]:
        """Return the views to write, after telling what became of them."""
        if outcome.refusal:
            self.notes.append(Note("unchecked", "the views", outcome.refusal))
            return carried
        failed = outcome.failures
        for one in carried:
            key = one.view.key
            if key in failed and not one.is_remote and not one.needs.views & failed.keys():
                self.left_out[key] = f"it does not bind: {failed[key]}"
        kept = self._without_left_out(carried)
        for one in kept:
            if one.view.key in failed:
                self.notes.append(
                    Note("unchecked", f'view "{one.view.shown}"', failed[one.view.key])
                )
            elif one.view.key in outcome.columns:
                self._compare(one.view, outcome.columns[one.view.key])
        return kept

    def _compare(self, view: StoredView, columns: Iterable[Column]) -> None:
        before = [(one.name, one.type) for one in view.columns]
        after = [(one.name, one.type) for one in columns]
        if before != after and None not in dict(before).values():
            shown = ", ".join(f"{name} {kind}" for name, kind in after)
            reason = f"its source changed since it was made: now {shown}"
            self.notes.append(Note("changed", f'view "{view.shown}"', reason))


def _of_dsn(left_out: int) -> str:
    if left_out == 1:
        return "1 parameter of its DSN has no place in a config"
    return f"{left_out} parameters of its DSN have no place in a config"


def _urls(item: Carried) -> Iterable[str]:
    uri = item.data.get("uri")
    if uri is not None:
        return uri if isinstance(uri, list) else [uri]
    return readings_of([str(item.data["sql"])])[0].urls if item.is_remote else ()
