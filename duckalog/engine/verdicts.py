"""What checks found: a verdict for each, and the report of all of them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from duckalog.entry import Severity
from duckalog.errors import NOWHERE, Origin, Problem

Status = Literal["passed", "failed", "not run"]


class Sample(NamedTuple):
    """Some of the rows that fail, each value as the text that DuckDB shows, None for NULL."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


class Verdict(NamedTuple):
    """What a check found of its `subject`, a step's key: `view:main.orders`, `attachment:crm`.

    A check that could not be run has a `problem`. `message` says what fails, and
    `withheld` why there is no sample of it. `seconds` are those of the query that
    answered, which checks of one view may share; `sql` is the check's own.
    """

    subject: str
    name: str
    kind: str
    severity: Severity
    status: Status
    message: str = ""
    failing_rows: int | None = None
    sample: Sample | None = None
    withheld: str = ""
    problem: Problem | None = None
    seconds: float = 0.0
    sql: str = ""
    origin: Origin = NOWHERE
    description: str | None = None

    @property
    def passed(self) -> bool:
        """Say whether what the check claims is so."""
        return self.status == "passed"


class CheckReport(NamedTuple):
    """The verdicts of a catalog: databases first, then views in build order.

    `problems` are those of the session that are no database's: settings,
    extensions, secrets.
    """

    database: str
    verdicts: tuple[Verdict, ...]
    problems: tuple[Problem, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Say whether every check passed, apart from those whose severity is `warn`."""
        failed = self.count("failed", "error") + self.count("not run", "error")
        return not failed and not self.problems

    def count(self, status: Status, severity: Severity | None = None) -> int:
        """Return how many verdicts have a status, and a severity where one is given."""
        return sum(
            one.status == status and severity in (None, one.severity) for one in self.verdicts
        )
