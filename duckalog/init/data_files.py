"""A folder or a prefix of data files to a config with a view for each dataset."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence

from duckalog.bookkeeping import Column
from duckalog.config import MEMORY, OWN_DATABASES, catalog_name
from duckalog.entry import MAIN_SCHEMA
from duckalog.errors import ConfigError, EngineError, Origin, Problem
from duckalog.init.credentials import credential_in
from duckalog.init.databases import free_database, tables_of
from duckalog.init.datasets import Dataset, Found, format_of, grouped
from duckalog.init.draft import Data, Draft, DraftEntry, Note
from duckalog.init.given import kind_of_file
from duckalog.init.object_stores import secrets_for
from duckalog.init.rendering import Place
from duckalog.init.trial import TrialResult, connected, tried
from duckalog.locations import is_remote
from duckalog.sql import joined_name, literal

LISTED = ("s3", "s3a", "s3n", "gs", "gcs", "r2", "hf", "az", "azure", "abfss")
"""The schemes whose files DuckDB lists."""

MAX_FILES = 1_000_000


def draft_of_files(place: str, database: str) -> Draft:
    """Return the draft of a config for the data files below a place.

    Raises ConfigError for a place whose files cannot be listed, and
    EngineError where that fails or there are none.
    """
    return _Collection(place, database).draft()


class _Collection:
    """The data files below a place, and what becomes of them in a config."""

    def __init__(self, place: str, database: str) -> None:
        self.is_remote = is_remote(place)
        self.root = place.rstrip("/") if self.is_remote else os.path.abspath(place)
        self.only_file = ""
        if format_of(place) and not os.path.isdir(place):
            self.root, _, self.only_file = self.root.replace(os.sep, "/").rpartition("/")
        self.shown = place
        self.database = database
        self.secrets = secrets_for([f"{self.root}/"]) if self.is_remote else []
        self.notes: list[Note] = []

    def draft(self) -> Draft:
        files = self._files()
        found = grouped(files)
        if self.only_file:  # others may lie beside it, and were not asked for
            alone = [
                one._replace(patterns=(glob.escape(self.only_file),)) for one in found.datasets
            ]
            found = found._replace(datasets=tuple(alone))
        if not found.datasets and not found.databases:
            kinds = "Parquet, CSV, JSON, Delta, Iceberg, DuckDB or SQLite"
            raise self._error("there is no data here", f"Looked for {kinds}.")
        datasets = self._readable(found)
        if self.only_file and not datasets:
            raise self._error(f'"{self.only_file}" cannot be read', cause=self.notes[0].reason)
        views = self._views(datasets)
        attachments, tables = self._databases(
            found, {str(one.data["name"]).lower() for one in views}
        )
        aliases = {entry.data["alias"] for entries in attachments.values() for entry in entries}
        return Draft(
            title=f"Made from {self.shown} by duckalog init.",
            database=free_database(self.database, aliases),
            secrets=self.secrets,
            attachments=attachments,
            views=[*views, *tables],
            notes=self.notes,
        )

    def _error(self, message: str, remedy: str = "", cause: str = "") -> EngineError:
        return EngineError(Problem(Origin(self.root), message, remedy, cause=cause))

    def _files(self) -> list[str]:
        """Return the paths of the files below the root, relative to it."""
        if self.is_remote:
            self._check_scheme()
        if self.only_file:
            return [self.only_file]
        if self.is_remote:
            found = self._remote_files()
        else:
            found = [
                os.path.relpath(os.path.join(parent, name), self.root).replace(os.sep, "/")
                for parent, _, names in os.walk(self.root)
                for name in names
            ]
        if len(found) > MAX_FILES:
            message = f"there are more than {MAX_FILES:,} files here"
            raise self._error(message, "Take a folder further down.")
        return [path for path in found if path.isprintable() and self._is_other(path)]

    def _is_other(self, path: str) -> bool:
        """Say whether a file is not the catalog that is to be built."""
        return os.path.join(self.root, path) != self.database

    def _check_scheme(self) -> None:
        scheme = self.root.partition("://")[0].lower()
        if scheme not in LISTED or credential_in(self.root) or "?" in self.root:
            message = "the files of this place cannot be listed"
            remedy = f"Write one of {', '.join(LISTED)}://bucket/prefix, without a credential."
            raise ConfigError(message, remedy)

    def _remote_files(self) -> list[str]:
        start = f"{self.root}/"
        view = {"name": "files", "sql": f"SELECT file FROM glob({literal(start + '**')})"}
        listing = Draft(database=MEMORY, secrets=self.secrets, views=[DraftEntry(view)])
        reasons: list[str] = []
        try:
            with connected(listing) as connection:
                rows = connection.execute("FROM files").fetchall()
        except EngineError as error:
            # Their places, and the lines of SQL, are of a draft that nobody has seen.
            said = [problem.explanation or problem.message for problem in error.problems]
            reasons = [one.partition("\n\nLINE ")[0] for one in said]
        if reasons:
            raise self._error("the files cannot be listed", cause="\n".join(reasons))
        return [file[len(start) :] for (file,) in rows if file.startswith(start)]

    def _place(self, pattern: str) -> Place:
        if pattern == ".":
            return Place(self.root)
        return Place(
            f"{self.root}/{pattern}" if self.is_remote else os.path.join(self.root, pattern)
        )

    def _source(self, one: Dataset) -> Data:
        places = [self._place(pattern) for pattern in one.patterns]
        data: Data = {"source": one.source, "uri": places[0] if len(places) == 1 else places}
        return {**data, "options": one.options} if one.options else data

    def _readable(self, found: Found) -> list[Dataset]:
        """Return datasets that DuckDB reads, those of one folder with the same columns as one."""
        datasets = found.datasets
        outcome = self._tried(datasets)
        kept: list[Dataset] = []
        alike: dict[tuple[object, ...], list[Dataset]] = {}
        for number, one in enumerate(datasets):
            key = (MAIN_SCHEMA, f"first_{number}")
            if key in outcome.failures:
                reason = outcome.failures[key]
                self.notes.append(Note("left out", self._shown(one), reason))
                continue
            columns = outcome.columns.get(key, ())
            last = outcome.columns.get((MAIN_SCHEMA, f"last_{number}"), columns)
            if _names_of(last) != _names_of(columns):
                one = one._replace(options={**one.options, "union_by_name": True})
            is_loose = bool(one.stem) and bool(columns)
            alike.setdefault(
                (one.folder, one.source, columns) if is_loose else (number,), []
            ).append(one)
        for group in alike.values():
            kept.append(group[0] if len(group) == 1 else found.merged(group))
        return kept

    def _tried(self, datasets: Sequence[Dataset]) -> TrialResult:
        """Return the columns of each dataset, and of the last file of those with several."""
        views = []
        for number, one in enumerate(datasets):
            views.append(DraftEntry({"name": f"first_{number}", **self._source(one)}))
            if len(one.paths) > 1 and one.source in ("parquet", "csv", "json"):
                last = one._replace(patterns=(glob.escape(one.paths[-1]),))
                views.append(DraftEntry({"name": f"last_{number}", **self._source(last)}))
        outcome = tried(Draft(database=self.database, secrets=self.secrets, views=views))
        if outcome.refusal:
            self.notes.append(Note("unchecked", "the datasets", outcome.refusal))
        return outcome

    def _shown(self, one: Dataset) -> str:
        return f'dataset "{self._place(one.patterns[0])}"'

    def _views(self, datasets: Sequence[Dataset]) -> list[DraftEntry]:
        names = _FreeNames()
        views = []
        for one in datasets:
            parents = [part for part in one.folder.split("/") if part]
            parents = [part for part in (os.path.basename(self.root), *parents) if part]
            name = names.free(one.stem or parents.pop(), parents)
            if one.source == "iceberg" and one.patterns[0].endswith(".json"):
                reason = "it has no version hint: the view stays at the metadata file named in it"
                self.notes.append(Note("changed", f'view "{name}"', reason))
            views.append(DraftEntry({"name": name, **self._source(one)}))
        return views

    def _databases(
        self, found: Found, taken: set[str]
    ) -> tuple[dict[str, list[DraftEntry]], list[DraftEntry]]:
        """Return the databases among the files as attachments, and views of their tables."""
        aliases, names = _FreeNames(), _FreeNames(taken)
        aliases.taken |= {*OWN_DATABASES, MAIN_SCHEMA, catalog_name(self.database).lower()}
        attachments: dict[str, list[DraftEntry]] = {}
        views: list[DraftEntry] = []
        for path in found.databases:
            place = self._place(path)
            if self.is_remote:
                self.notes.append(Note("left out", f'database "{place}"', "it is not a local file"))
                continue
            kind = kind_of_file(place)
            try:
                tables = tables_of(place, kind)
            except EngineError as error:
                reason = error.problems[0].message
                self.notes.append(Note("left out", f'database "{place}"', reason))
                continue
            alias = aliases.free(os.path.splitext(os.path.basename(path))[0], [])
            attachments.setdefault(kind, []).append(DraftEntry({"alias": alias, "path": place}))
            for schema, table in tables:
                parents = [] if schema == MAIN_SCHEMA else [schema]
                data: Data = {"name": names.free(table, [alias, *parents])}
                data |= {"source": kind, "database": alias, "table": joined_name([*parents, table])}
                views.append(DraftEntry(data))
        return attachments, self._bound(attachments, views)

    def _bound(
        self, attachments: dict[str, list[DraftEntry]], views: list[DraftEntry]
    ) -> list[DraftEntry]:
        """Return the views of databases that bind: what these have may read what is not there."""
        if not views:
            return []
        outcome = tried(Draft(database=self.database, attachments=attachments, views=views))
        failed = {name: reason for (_, name), reason in outcome.failures.items()}
        bound = []
        for view in views:
            if reason := failed.get(str(view.data["name"]).lower()):
                subject = f'"{view.data["table"]}" of database "{view.data["database"]}"'
                self.notes.append(Note("left out", subject, reason))
            else:
                bound.append(view)
        return bound


def _names_of(columns: Iterable[Column]) -> list[str]:
    return [column.name for column in columns]


class _FreeNames:
    """Names that are readable, need no quotes where that can be, and are given once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)

    def free(self, text: str, parents: Sequence[str]) -> str:
        """Return a name for `text`, with those of its parents before it where it is taken."""
        parts = [text]
        for parent in (None, *reversed(parents)):
            if parent is not None:
                parts.insert(0, parent)
            name = _readable("_".join(parts))
            if name not in self.taken:
                break
        number, base = 1, name
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name


def _readable(text: str) -> str:
    """Return a text as a name: its words joined by underscores, in lower case."""
    name = re.sub(r"\W+", "_", text).strip("_").lower() or "data"
    return name if not name[0].isdigit() else f"data_{name}"
