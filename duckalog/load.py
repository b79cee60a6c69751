"""How files become one config: `load_config`.

Each file is read, filled and decoded by itself, so that paths are relative to
it and problems stand at its lines; then the parts are merged (`merging`) and
checked against each other. Every problem of every file is told at once.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from duckalog.catalogs import catalog_type
from duckalog.checks import check_type
from duckalog.checks.queries import SqlCheck
from duckalog.config import VERSION, Config
from duckalog.consistency import check, doubts, secrets_in_views
from duckalog.decode import INVALID, Choice, Context, decode
from duckalog.document import Data, Document, parse_document, read_document, read_text, unfit_text
from duckalog.entry import Catalog, Check, View
from duckalog.environment import (
    Lenient,
    Secret,
    Use,
    credentials_in_urls,
    fill,
    fill_text,
    is_unfilled,
    read_environment,
    redactor_for,
    texts_in,
    with_hidden_credentials,
)
from duckalog.errors import NOWHERE, ConfigError, Origin, Problem, without_credentials
from duckalog.locations import absolute_path, is_relative, is_remote
from duckalog.merging import merged
from duckalog.remote import RemoteFiles
from duckalog.secrets import DuckdbSecret, secret_type
from duckalog.views import view_type
from duckalog.views.select import SelectView

MAX_FILES = 1_000

_VARIANTS: dict[type, Choice] = {
    View: view_type,
    Check: check_type,
    Catalog: catalog_type,
    DuckdbSecret: secret_type,
}


def load_config(
    path: str | os.PathLike[str],
    *,
    env_file: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    fill_environment: bool = True,
) -> Config:
    """Return the config in a YAML or JSON file, with the files it imports merged in.

    Placeholders are filled from `environment` (by default the process's own,
    and below it `env_file`); with `fill_environment=False` they stay as text, but
    for those of imports.
    Raises ConfigError with every problem of every file.
    """
    loaded = read_config(
        path, env_file=env_file, environment=environment, fill_environment=fill_environment
    )
    if loaded.config is None or loaded.problems:
        raise in_order_of_files(loaded.problems)
    return loaded.config


Query = TypeVar("Query", SelectView, SqlCheck)


class Loaded(NamedTuple):
    """A config as far as it can be read, and what is wrong with its files."""

    config: Config | None
    problems: tuple[Problem, ...]


def read_config(
    path: str | os.PathLike[str],
    *,
    env_file: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    fill_environment: bool = True,
    is_lenient: bool = False,
) -> Loaded:
    """Return a config with its problems, for those who look for more; see `load_config`.

    Entries with a problem may be missing in it, or stand there unfilled. A variable that
    is not set is no problem if `is_lenient`: the text that has it stays as it is stated.
    """
    if not fill_environment:
        environment = None
    elif environment is None:
        environment = read_environment(env_file)
    if is_lenient and environment is not None:
        environment = Lenient(environment)
    loader = _Loader(environment)
    file = os.fspath(path)
    try:
        loader.read(file if is_remote(file) else os.path.abspath(file), NOWHERE, ())
    except ConfigError as error:
        loader.problems += error.problems
    finally:
        loader.remote.close()
    config = loader.config() if loader.parts else None
    redact = redactor_for(loader.uses, loader.secrets)
    return Loaded(config, tuple(map(redact.problem, loader.problems)))


def in_order_of_files(problems: Iterable[Problem]) -> ConfigError:
    """Return the error with every problem once: file by file, and in the order of its lines."""
    once = list(dict.fromkeys(problems))
    files = list(dict.fromkeys(problem.origin.file for problem in once))
    return ConfigError(
        sorted(once, key=lambda one: (files.index(one.origin.file), one.origin.line))
    )


class _Loader:
    """Reads a file and its imports into parts, and merges them."""

    def __init__(self, environment: Mapping[str, str] | None) -> None:
        self.environment = environment
        self.is_filled = environment is not None and not isinstance(environment, Lenient)
        self.remote = RemoteFiles(read_environment() if environment is None else dict(environment))
        self.parts: list[Config] = []
        self.seen: set[str] = set()
        self.documents: dict[str, Document] = {}
        self.uses: list[Use] = []
        self.secrets: list[Secret] = []
        self.problems: list[Problem] = []

    def read(self, file: str, stated_at: Origin, importers: tuple[str, ...]) -> None:
        """Read a file after its imports: what it states comes last."""
        real = file if is_remote(file) else os.path.realpath(file)
        if real in importers:
            files = map(without_credentials, (*importers, real))
            chain = " → ".join(os.path.basename(one) for one in files)
            message = f"the imports go round in a circle: {chain}"
            self.problems.append(Problem(stated_at, message, "Remove one of these imports."))
            return
        if real in self.seen:
            return
        if len(self.seen) >= MAX_FILES:
            raise ConfigError(Problem(stated_at, f"more than {MAX_FILES} files are imported"))
        self.seen.add(real)
        try:
            document = self._document(file)
        except ConfigError as error:
            if not importers:
                raise
            self.problems += (
                problem._replace(message=f"{problem.message} (imported at {stated_at.location})")
                for problem in error.problems
            )
            return
        data, told = self._filled(document)
        for key, stated in _imports_of(data):
            origin = document.origin(("imports", key))
            pattern = self._filled_import(stated, origin)
            for imported in self._files_of(pattern, document, real, origin):
                self.read(imported, origin, (*importers, real))
        self.documents[document.file] = document
        self._decode(document, data, told, is_root=not importers)

    def _filled(self, document: Document) -> tuple[Data, set[Origin]]:
        """Return a document's data filled, and where it has problems, which are told thereby."""
        data, uses, unfilled = fill(document, self.environment)
        problems = (*document.problems, *unfilled)
        self.uses += uses
        self.problems += problems
        for path, text in texts_in(document.data):
            if found := credentials_in_urls(text):
                self._hide_credentials(found, document.origin(path))
        return with_hidden_credentials(data), {problem.origin for problem in problems}

    def _filled_import(self, pattern: str, origin: Origin) -> str:
        """Return an import whose placeholders are filled whatever else is not: a file is needed."""
        if self.is_filled:
            return pattern
        filled, uses, problems = fill_text(pattern, origin, read_environment(), is_sql=False)
        self.uses += uses
        self.problems += problems
        return "" if problems else filled

    def _document(self, file: str) -> Document:
        if not is_remote(file):
            return read_document(file)
        # Messages and relative paths of data have the URL without its login and signature.
        return parse_document(self.remote.text(file), without_credentials(file))

    def _files_of(self, pattern: str, document: Document, real: str, origin: Origin) -> list[str]:
        if not pattern:
            return []
        if is_remote(pattern) or (is_remote(real) and is_relative(pattern)):
            return self._urls_of(pattern, real, origin)
        if not glob.has_magic(pattern):
            return [absolute_path(pattern, document.directory)]
        path = absolute_path(pattern, glob.escape(document.directory))
        own = os.path.realpath(document.file)
        found = [one for one in sorted(glob.glob(path, recursive=True)) if os.path.isfile(one)]
        if not found:
            self.problems.append(Problem(origin, f'no file matches "{pattern}"'))
        return [one for one in found if os.path.realpath(one) != own]

    def _urls_of(self, pattern: str, importer: str, origin: Origin) -> list[str]:
        if not is_remote(pattern):
            pattern = absolute_path(pattern, os.path.dirname(importer.partition("?")[0]))
        if not glob.has_magic(pattern.partition("?")[0]):
            return [pattern]
        try:
            found = self.remote.matching(pattern)
        except ConfigError as error:
            self.problems += (one._replace(origin=origin) for one in error.problems)
            return []
        if not found:
            message = f'no file matches "{without_credentials(pattern)}"'
            self.problems.append(Problem(origin, message))
        return [one for one in found if one != importer]

    def _decode(
        self, document: Document, data: Data, told: Container[Origin], *, is_root: bool
    ) -> None:
        """Turn a file's data into a part; where a problem is `told`, no second one is."""
        context = Context(
            document.directory,
            document.origin,
            _VARIANTS,
            self.secrets,
            is_filled=self.is_filled,
        )
        part: Config = INVALID
        if isinstance(data, dict):
            if is_root and data.get("version") is None:
                message = 'the key "version" is missing'
                context.problem((), message, f"A config starts with: version: {VERSION}")
            part = decode(Config, data, (), context)
            if part is not INVALID and part.version != VERSION:
                message = f"version {part.version} is not supported"
                remedy = f"This duckalog reads version {VERSION}."
                context.problem(("version",), message, remedy)
        else:
            context.problem((), "a config is a map", f"It starts with: version: {VERSION}")
        self.problems += (one for one in context.problems if one.origin not in told)
        if part is not INVALID:
            self.parts.append(self._with_sql_files(part, document))

    def _hide_credentials(self, found: list[str], origin: Origin) -> None:
        """Remember the credentials of a text's URLs as secrets; a view cannot have them."""
        self.secrets += map(Secret, found)
        if origin.path[:1] == ("views",):
            message = "a URL has a credential, and views are stored in the catalog file in clear"
            remedy = "Put it in a secret under duckdb.secrets, which DuckDB finds by its scope."
            self.problems.append(Problem(origin, message, remedy))

    def _with_sql_files(self, part: Config, document: Document) -> Config:
        views: list[View] = []
        for view in part.views:
            if isinstance(view, SelectView) and view.sql_file:
                view = self._with_sql(view, document)
            if any(isinstance(check, SqlCheck) and check.sql_file for check in view.checks):
                checks = tuple(
                    self._with_sql(check, document)
                    if isinstance(check, SqlCheck) and check.sql_file
                    else check
                    for check in view.checks
                )
                view = msgspec.structs.replace(view, checks=checks)
            views.append(view)
        return msgspec.structs.replace(part, views=tuple(views))

    def _with_sql(self, view: Query, document: Document) -> Query:
        origin = document.origin((*view.origin.path, "sql_file"))
        file = view.sql_file or ""
        if not self.is_filled and is_unfilled(file):  # which file it is, nobody knows yet
            return msgspec.structs.replace(view, sql=file)
        try:
            text = self.remote.text(file) if is_remote(file) else read_text(file)
        except ConfigError as error:
            problem = error.problems[0]
            message = f"{problem.origin.location}: {problem.message}"
            self.problems.append(Problem(origin, message))
            return view
        if found := credentials_in_urls(text):
            self._hide_credentials(found, origin)
        text, uses, problems = fill_text(text, origin, self.environment)
        self.uses += uses
        self.problems += problems
        unfit = unfit_text(text) or ("" if text.strip() else "the file of the query is empty")
        if unfit:
            self.problems.append(Problem(origin, unfit))
            return view
        return msgspec.structs.replace(view, sql=text)

    def config(self) -> Config:
        """Return the merged config, and find what does not go together in it."""
        config, secrets, problems = merged(self.parts, self.documents)
        self.secrets += secrets
        self.problems += problems
        redact = redactor_for(self.uses, self.secrets)
        config = msgspec.structs.replace(config, documents=self.documents, redact=redact)
        self.problems += check(config, doubts(self.documents.values(), self.problems))
        self.problems += secrets_in_views(config, self.uses, self.secrets)
        return config


def _imports_of(data: Data) -> list[tuple[int, str]]:
    imports = data.get("imports") if isinstance(data, dict) else None
    if not isinstance(imports, list):
        return []
    return [(index, one) for index, one in enumerate(imports) if isinstance(one, str) and one]
