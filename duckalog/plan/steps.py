"""What a plan is made of: one kind of step for each thing to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from duckalog.check_sql import aggregate, first_row
from duckalog.entry import MAIN_SCHEMA, Check, Column, Pin, Scan, Severity, Source
from duckalog.errors import NOWHERE, Origin
from duckalog.redaction import Redactor
from duckalog.sql import Statement, qualified, select_all
from duckalog.statements import describe

Kind = Literal["extension", "setting", "pragma", "secret", "attachment", "catalog", "view"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do: its statements in order, the steps it needs, and where it is stated."""

    kind: Kind
    name: str
    statements: tuple[Statement, ...]
    needs: tuple[str, ...] = ()
    origin: Origin = NOWHERE

    @property
    def key(self) -> str:
        """The step's name among all steps."""
        return f"{self.kind}:{self.name}"

    def shown_by(self, redact: Callable[[str], str]) -> Step:
        """Return the step whose scripts are without what `redact` takes out of them."""
        statements = tuple(one.shown_by(redact) for one in self.statements)
        return msgspec.structs.replace(self, statements=statements)


class ExtensionStep(Step, frozen=True, kw_only=True):
    """An extension to have, and unless `is_loaded` is false to load."""

    repository: str = ""
    is_loaded: bool = True


class DatabaseStep(Step, frozen=True, kw_only=True):
    """A database to attach: its secret first, then ATTACH; `file` must exist before.

    `attach_keeping` is the ATTACH of an Iceberg catalog that keeps what it hears of tables,
    and `keeps_tables` says that it is the one that is run.
    `default_schema` is where a table is whose name has no schema, if there is such a place.
    """

    database_type: str
    attach_keeping: Statement | None = None
    keeps_tables: bool = False
    file: str | None = None
    default_schema: str | None = None

    def shown_by(self, redact: Callable[[str], str]) -> DatabaseStep:
        """Return the step whose scripts are without what `redact` takes out of them."""
        statements = tuple(one.shown_by(redact) for one in self.statements)
        keeping = self.attach_keeping and self.attach_keeping.shown_by(redact)
        return msgspec.structs.replace(self, statements=statements, attach_keeping=keeping)

    def keeping(self) -> DatabaseStep:
        """Return the step that has an Iceberg catalog keep what it hears of tables."""
        if self.attach_keeping is None:
            return self
        statements = (*self.statements[:-1], self.attach_keeping)
        return msgspec.structs.replace(self, statements=statements, keeps_tables=True)


class CheckStep(msgspec.Struct, frozen=True, kw_only=True):
    """A check of a view, ready to run; `needs` are the steps of what else it reads.

    Rows of a view that `is_sensitive` are never shown, nor are its `sensitive_columns`.
    """

    schema: str
    view: str
    name: str
    check: Check
    needs: tuple[str, ...] = ()
    is_sensitive: bool = False
    sensitive_columns: frozenset[str] = frozenset()
    origin: Origin = NOWHERE
    redact: Redactor = Redactor()

    @property
    def key(self) -> str:
        """The check's name among all checks."""
        return f"{self.schema}.{self.view}:{self.name}"

    @property
    def kind(self) -> str:
        """The type of check."""
        return self.check.kind

    @property
    def severity(self) -> Severity:
        """Whether a failure is an error, or is only told."""
        return self.check.severity

    @property
    def description(self) -> str | None:
        """What the config says of the check."""
        return self.check.description

    @property
    def relation(self) -> str:
        """The quoted name of the view, its schema always with it."""
        return qualified(self.schema, self.view)

    @property
    def sql(self) -> str:
        """The query that shows what fails, or that finds whether anything does."""
        check = self.check
        if failing := check.failing(self.relation):
            return failing
        if aggregates := check.aggregates():
            return aggregate(aggregates, check.scanned(self.relation))
        if check.kind == "answers":
            return first_row(self.relation)
        return describe(select_all(self.relation)).text


class ViewStep(Step, frozen=True, kw_only=True):
    """A view to create: `statements` are CREATE VIEW and its comments.

    `looked_for` are the schemas and names, in lower case, of views that its query may mean.
    `stated_files` are the paths and URLs that raw SQL reads; `reads_unknown_files`
    says that it reads what only DuckDB knows.
    With a `pin`, a build replaces the query by one over what it finds there.
    """

    schema: str
    view: str
    query: str
    source: str
    scan: Scan | None = None
    pin: Pin | None = None
    looked_for: frozenset[tuple[str, str]] = frozenset()
    stated_files: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    reads_unknown_files: bool = False
    description: str | None = None
    columns: dict[str, Column] = {}
    tags: tuple[str, ...] = ()
    meta: dict[str, Any] = {}
    checks: tuple[CheckStep, ...] = ()

    @property
    def relation(self) -> str:
        """The quoted name of the view; the schema `main` goes without saying."""
        return relation_of(self.schema, self.view)

    @property
    def fingerprint(self) -> str:
        """A hash of all that the catalog stores of the view."""
        import hashlib  # it loads OpenSSL, and only a build asks

        texts = [one.text for one in self.statements]
        text = "\0".join([*texts, "pinned"] if self.pin else texts)
        return hashlib.sha256(text.encode()).hexdigest()


def view_key(schema: str, name: str) -> str:
    """Return the key of a view's step."""
    return f"view:{schema}.{name}"


def relation_of(schema: str, name: str) -> str:
    """Return the quoted name of a relation of the catalog; `main` goes without saying."""
    return qualified(name) if schema == MAIN_SCHEMA else qualified(schema, name)
