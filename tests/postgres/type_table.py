"""The types of PostgreSQL, a value of each, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Interface, IPv4Network, IPv6Address
from typing import Any
from uuid import UUID

from psycopg.types.json import Json, Jsonb
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

UNSET: Any = object()
ID = UUID("0b5d5f5e-8c9a-4f0e-9c53-7f4f7f0a1b2c")
PLUS_2 = timezone(timedelta(hours=2))
BOUNDS = "struct<lower: {0}, upper: {0}, lower_inc: bool, upper_inc: bool, is_empty: bool>"

DDL = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE pair AS (i integer, t text);
"""


@dataclass(frozen=True)
class Type:
    """A type, a literal of it, and the value that a query returns for it.

    `given` is a parameter that means the same, and `arrow_value` what Arrow
    returns; both are `value` unless they are told.
    """

    name: str
    literal: str
    value: Any
    arrow: str
    given: Any = UNSET
    arrow_value: Any = UNSET
    since: int = 12

    @property
    def parameter(self) -> Any:
        return self.value if self.given is UNSET else self.given

    @property
    def from_arrow(self) -> Any:
        return self.value if self.arrow_value is UNSET else self.arrow_value


TYPES = [
    Type("boolean", "true", True, "bool"),
    Type("smallint", "-32768", -32768, "int16"),
    Type("integer", "2147483647", 2147483647, "int32"),
    Type("bigint", "-9223372036854775808", -(2**63), "int64"),
    Type("oid", "4294967295", 4294967295, "uint32"),
    Type("real", "0.1", 0.1, "float", arrow_value=0.10000000149011612),
    Type("double precision", "0.1", 0.1, "double"),
    Type("double precision", "NaN", float("nan"), "double"),
    Type("double precision", "-Infinity", float("-inf"), "double"),
    Type("numeric(10,2)", "-12345.60", Decimal("-12345.60"), "decimal128(10, 2)"),
    Type("numeric(50,10)", "1.5", Decimal("1.5000000000"), "decimal256(50, 10)"),
    Type("numeric", "1.10", Decimal("1.10"), "string", arrow_value="1.10"),
    Type("numeric", "NaN", Decimal("NaN"), "string", arrow_value="NaN"),
    Type("money", "1234.5", "$1,234.50", "string"),
    Type("text", "a'b\\\"{}ö", "a'b\\\"{}ö", "string"),
    Type("varchar(5)", "ab", "ab", "string"),
    Type("char(5)", "ab", "ab   ", "string"),
    Type("name", "ab", "ab", "string"),
    Type('"char"', "a", "a", "string"),
    Type("bytea", "\\x00ff27", b"\x00\xff'", "binary"),
    Type("date", "2024-02-29", date(2024, 2, 29), "date32[day]"),
    Type("time", "23:59:59.999999", time(23, 59, 59, 999999), "time64[us]"),
    Type("time with time zone", "12:00:00+02", time(12, tzinfo=PLUS_2), "string",
         arrow_value="12:00:00+02"),
    Type("timestamp", "2024-02-29 12:00:00.000001", datetime(2024, 2, 29, 12, 0, 0, 1),
         "timestamp[us]"),
    Type("timestamp with time zone", "2024-02-29 12:00:00+02",
         datetime(2024, 2, 29, 12, tzinfo=PLUS_2), "timestamp[us, tz=UTC]"),
    Type("interval", "1 day 02:03:04.5", timedelta(1, 7384, 500000), "string",
         arrow_value="1 day 02:03:04.5"),
    Type("uuid", str(ID), ID, "extension<arrow.uuid>"),
    Type("json", '{"a": [1, null]}', {"a": [1, None]}, "extension<arrow.json>",
         given=Json({"a": [1, None]}), arrow_value='{"a": [1, null]}'),
    Type("jsonb", '{"a": [1, null]}', {"a": [1, None]}, "extension<arrow.json>",
         given=Jsonb({"a": [1, None]}), arrow_value='{"a": [1, null]}'),
    Type("inet", "192.168.1.7/24", IPv4Interface("192.168.1.7/24"), "string",
         arrow_value="192.168.1.7/24"),
    Type("inet", "::1", IPv6Address("::1"), "string", arrow_value="::1"),
    Type("cidr", "10.0.0.0/8", IPv4Network("10.0.0.0/8"), "string", arrow_value="10.0.0.0/8"),
    Type("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:03", "string"),
    Type("macaddr8", "08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:05", "string"),
    Type("bit(3)", "101", "101", "string"),
    Type("bit varying", "10", "10", "string"),
    Type("xml", "<a/>", "<a/>", "string"),
    Type("tsvector", "'a':1 'b'", "'a':1 'b'", "string"),
    Type("tsquery", "'a' & 'b'", "'a' & 'b'", "string"),
    Type("point", "(1,2)", "(1,2)", "string"),
    Type("pg_lsn", "16/B374D848", "16/B374D848", "string"),
    Type("int4range", "[1,5)", Range(1, 5), BOUNDS.format("int32"),
         arrow_value={"lower": 1, "upper": 5, "lower_inc": True, "upper_inc": False,
                      "is_empty": False}),
    Type("int8range", "empty", Range(empty=True), BOUNDS.format("int64"),
         arrow_value={"lower": None, "upper": None, "lower_inc": False, "upper_inc": False,
                      "is_empty": True}),
    Type("numrange", "(1.5,)", Range(Decimal("1.5"), None, "()"), BOUNDS.format("string"),
         arrow_value={"lower": "1.5", "upper": None, "lower_inc": False, "upper_inc": False,
                      "is_empty": False}),
    Type("daterange", "[2024-01-01,2024-02-01)", Range(date(2024, 1, 1), date(2024, 2, 1)),
         BOUNDS.format("date32[day]"),
         arrow_value={"lower": date(2024, 1, 1), "upper": date(2024, 2, 1), "lower_inc": True,
                      "upper_inc": False, "is_empty": False}),
    Type("int4multirange", "{[1,2),[5,7)}", Multirange([Range(1, 2), Range(5, 7)]),
         f"list<item: {BOUNDS.format('int32')}>",
         arrow_value=[{"lower": one, "upper": two, "lower_inc": True, "upper_inc": False,
                       "is_empty": False} for one, two in ((1, 2), (5, 7))], since=14),
    Type("mood (an enum)", "ok", "ok", "string"),
    Type("positive (a domain)", "7", 7, "int32"),
    Type("pair (a composite type)", '(1,"a b")', '(1,"a b")', "string"),
    Type("integer[]", "{1,NULL,3}", [1, None, 3], "list<item: int32>"),
    Type("text[]", '{a,"b,c",NULL,"NULL"}', ["a", "b,c", None, "NULL"], "list<item: string>"),
    Type("uuid[]", f"{{{ID}}}", [ID], "list<item: extension<arrow.uuid>>"),
    Type("numeric(5,1)[]", "{1.5,NULL}", [Decimal("1.5"), None],
         "list<item: decimal128(5, 1)>"),
    Type("mood[] (of an enum)", "{sad,ok}", "{sad,ok}", "string"),
]  # fmt: skip
"""One value of each type, and more where they say more."""

TWO_DIMENSIONS = ("integer[]", "{{1,2},{3,NULL}}", [[1, 2], [3, None]])

OUTSIDE = [
    ("date", "infinity", "infinity"),
    ("date", "0044-03-15 BC", "a year before 1"),
    ("date", "10000-01-01", "a year after 9999, or more days than it counts"),
    ("timestamp", "-infinity", "infinity"),
    ("timestamp with time zone", "infinity", "infinity"),
    ("timestamp", "294276-12-31", "a year after 9999, or more days than it counts"),
    ("time", "24:00", "24:00"),
    ("time with time zone", "24:00+00", "24:00"),
    ("daterange", "[2024-01-01,infinity)", "infinity"),
    ("date[]", "{2024-01-01,infinity}", "infinity"),
]
"""Values that Python has none for, and how the error calls them."""


def sql_name(name: str) -> str:
    """Return a type's name as SQL has it."""
    return name.partition(" (")[0]


def markdown(types: Iterable[Type]) -> str:
    """Return the table of the documentation."""
    lines = ["| PostgreSQL | Python, from a query | as a parameter | Arrow |", "|---|---|---|---|"]
    seen = set()
    for one in types:
        if one.name not in seen:
            seen.add(one.name)
            value, given = python_name(one.value), python_name(one.parameter)
            given = "the same" if value == given else f"`{given}`"
            lines.append(f"| `{one.name}` | `{value}` | {given} | `{one.arrow}` |")
    return "\n".join(lines) + "\n"


def python_name(value: Any) -> str:
    """Return the name of a value's type."""
    if isinstance(value, list):
        return f"list of {python_name(value[0])}"
    return type(value).__name__
