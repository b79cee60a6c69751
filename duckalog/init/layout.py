"""SQL laid out for readers: a line for each clause, nothing but white space changed."""

from __future__ import annotations

import itertools
import re

from duckalog.user_sql import regions_of

MAX_LINE = 80

_EDGES = re.compile(
    r"[()\[\]{}]|, "
    r"|\b(?:SELECT|FROM|WHERE|GROUP BY|HAVING|QUALIFY|WINDOW|ORDER BY|LIMIT|OFFSET|PIVOT|UNPIVOT"
    r"|(?:UNION|INTERSECT|EXCEPT)(?: ALL)?(?: BY NAME)?"
    r"|(?:(?:NATURAL|ASOF|POSITIONAL|CROSS|INNER|SEMI|ANTI|LEFT|RIGHT|FULL|OUTER) )*JOIN)\b"
)


def laid_out(query: str) -> str:
    """Return a query on lines of its clauses, and of its columns, where one line would be long."""
    if len(query) <= MAX_LINE or "\n" in query:
        return query
    clauses, commas = _breaks(query)
    lines: list[str] = []
    for start, end in zip([0, *clauses], [*clauses, len(query)], strict=True):
        line = query[start:end].rstrip()
        if len(line) <= MAX_LINE:
            lines.append(line)
            continue
        inside = [position for position in commas if start < position < end]
        edges = [start, *inside, start + len(line)]
        pieces = [query[one:other].strip() for one, other in itertools.pairwise(edges)]
        lines += [pieces[0], *(f"    {piece}" for piece in pieces[1:])]
    return "\n".join(lines)


def _breaks(query: str) -> tuple[list[int], list[int]]:
    """Return where clauses begin, and what follows commas, those in brackets left out."""
    clauses: list[int] = []
    commas: list[int] = []
    depth = position = 0
    for kind, piece in regions_of(query):
        for edge in _EDGES.finditer(piece) if kind == "" else ():
            word = edge.group()
            if word in "([{":
                depth += 1
            elif word in ")]}":
                depth -= 1
            elif depth == 0 and word == ", ":
                commas.append(position + edge.end())
            elif depth == 0 and position + edge.start() and _may_break(piece, edge.start()):
                clauses.append(position + edge.start())
        position += len(piece)
    return clauses, commas


def _may_break(piece: str, start: int) -> bool:
    """Say whether a clause may start here: after a space or bracket, and not in an expression."""
    before = piece[:start]
    return before.endswith((" ", ")")) and not before.rstrip().endswith("DISTINCT")
