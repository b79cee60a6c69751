"""Credentials in text that somebody wrote: found by what they look like, and never told."""

from __future__ import annotations

import os
import re

from duckalog.redaction import looks_secret
from duckalog.user_sql import regions_of, replace_literals

MIN_VALUE = 8
"""Characters of a variable of the environment that is searched for: shorter ones are words."""

_FOLDERS = ("PWD", "OLDPWD")
_LOGIN = re.compile(r"://[^/\s'\"@:]*:[^/\s'\"@]+@")
_ASSIGNED = re.compile(r"([A-Za-z][\w-]*)\s*[=:]\s*(?=[^\s&;,)]|\Z)")
_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\beyJ[\w-]{8,}\.[\w-]+\."
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|\bBearer\s+\S|\bxox[abprs]-\w|\bmotherduck_token\b",
)
_EQUALS = re.compile(r"(\w+)[\"\s]*(?:=|:=|=>|:)\s*\Z")
_MAP = re.compile(r"\bmap\b", re.IGNORECASE)
_ALIAS = re.compile(r"\s*AS\s+\"?(\w+)", re.IGNORECASE)


def credential_in(text: str) -> str:
    """Return what in a text looks like a credential, without its value; empty if nothing does."""
    if _LOGIN.search(text):
        return "a URL with a password"
    if _KNOWN.search(text):
        return "a token or key"
    for name in _ASSIGNED.findall(text):
        if looks_secret(name.replace("-", "_")):
            return f'a value for "{name}"'
    for name, value in os.environ.items():
        if (
            len(value) >= MIN_VALUE
            and name not in _FOLDERS
            and looks_secret(name)
            and value in text
        ):
            return f"the value of the environment variable {name}"
    return ""


def credential_in_sql(query: str) -> str:
    """Return what in a query looks like a credential: in a literal, or by the name it is given."""
    found = ""

    def look(_: str, content: str) -> None:
        nonlocal found
        found = found or credential_in(content)

    replace_literals(query, look)
    if found:
        return found
    pieces = list(regions_of(query))
    for number, (kind, piece) in enumerate(pieces):
        if kind != "string" or len(piece) <= 2:
            continue
        before = "".join(text for _, text in pieces[max(0, number - 2) : number])
        after = "".join(text for _, text in pieces[number + 1 : number + 3])
        names = _EQUALS.findall(before)
        if alias := _ALIAS.match(after):
            names.append(alias[1])
        if _MAP.search(before):
            names.append(re.sub(r"\W", "_", piece.strip("'")))
        for name in names:
            if looks_secret(name):
                return f'a value for "{name}"'
    return ""
