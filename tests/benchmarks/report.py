"""Measured seconds as ratios: a document for machines, a Markdown table for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

import duckalog
from tests.benchmarks.cases import Case, Goal
from tests.benchmarks.peer import VERSION
from tests.benchmarks.processes import Cost

Costs = dict[str, Cost | None]
Seconds = dict[str, float | None]


def document(cases: Sequence[Case], costs: Sequence[Costs], rounds: int) -> dict[str, Any]:
    """Return the measurements, their ratios and goals, and the machine, ready for JSON."""
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "duckdb": duckdb.__version__,
            "duckalog": duckalog.__version__,
            "peer": VERSION if any("peer" in one for one in costs) else None,
        },
        "rounds": rounds,
        "cases": [_row(*pair) for pair in zip(cases, costs, strict=True)],
    }


def _row(case: Case, costs: Costs) -> dict[str, Any]:
    seconds: Seconds = {name: one and one.seconds for name, one in costs.items()}
    own = costs["duckalog"]
    ratios = {name: _ratio(seconds["duckalog"], seconds.get(name)) for name in ("peer", "duckdb")}
    return {
        "action": case.action,
        "catalog": case.catalog,
        "views": case.views,
        "seconds": seconds,
        "mebibytes": own and own.mebibytes,
        "ratios": {name: ratio for name, ratio in ratios.items() if ratio is not None},
        "goal": _judged(case.goal, ratios),
        "later": _judged(case.later, ratios),
    }


def _ratio(own: float | None, other: float | None) -> float | None:
    return own / other if own and other else None


def _judged(goal: Goal | None, ratios: Seconds) -> dict[str, Any] | None:
    if goal is None:
        return None
    ratio = ratios[goal.against]
    return {**goal._asdict(), "is_met": None if ratio is None else ratio <= goal.at_most}


_HEAD = (
    "catalog", "views", "action", "duckalog s", "MiB", "peer s", "DuckDB s", "÷ peer", "÷ DuckDB",
    "goal", "later",
)  # fmt: skip


def table(measured: dict[str, Any]) -> str:
    """Return the Markdown table of a document, and the line that says where it was measured."""
    rows = [_HEAD, *(_cells(row) for row in measured["cases"])]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    rule = tuple("-" * width for width in widths)
    lines = [_line(row, widths) for row in (rows[0], rule, *rows[1:])]
    machine = measured["machine"]
    where = (
        "Processor seconds (user + system) and most memory of whole processes, medians of"
        f" {measured['rounds']} interleaved runs; {machine['cpus']} cores, {machine['system']},"
        f" Python {machine['python']}, DuckDB {machine['duckdb']}."
    )
    if machine["peer"]:
        where += f" The peer is duckalog {machine['peer']} of PyPI."
    return "\n".join([*lines, "", where, *_growth(measured["cases"])]) + "\n"


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    seconds, ratios = row["seconds"], row["ratios"]
    return (
        row["catalog"],
        f"{row['views']:,}" if row["views"] else "",
        row["action"],
        _shown(seconds, "duckalog", 3),
        _shown(row, "mebibytes", 0),
        *(_shown(seconds, name, 3) for name in ("peer", "duckdb")),
        *(_shown(ratios, name, 2) for name in ("peer", "duckdb")),
        _shown_goal(row["goal"]),
        _shown_goal(row["later"]),
    )


def _shown(figures: Mapping[str, float | None], name: str, digits: int) -> str:
    if name not in figures:
        return ""
    figure = figures[name]
    return "fails" if figure is None else f"{figure:.{digits}f}"


def _shown_goal(goal: dict[str, Any] | None) -> str:
    if goal is None:
        return ""
    against = {"peer": "peer", "duckdb": "DuckDB"}[goal["against"]]
    verdict = {True: " met", False: " missed", None: ""}[goal["is_met"]]
    return f"≤ {goal['at_most']:.2f} {against}{verdict}"


def _growth(rows: list[dict[str, Any]]) -> Iterable[str]:
    """Yield how much more the largest catalog costs than the one before it, by action."""
    by_action: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["catalog"] == "parquet":
            by_action.setdefault(row["action"], []).append(row)
    for action, found in by_action.items():
        if len(found) < 2:
            continue
        less, more = found[-2:]
        shown = [
            f"{name} {ratio:.1f}"
            for name in more["seconds"]
            if (ratio := _ratio(more["seconds"][name], less["seconds"].get(name)))
        ]
        yield f"{action}, {more['views']:,} views ÷ {less['views']:,} views: {', '.join(shown)}"
