"""Plain data to typed structs, with every problem told and none echoing a value.

Types are msgspec Structs; what is theirs alone (secrets, paths, one-or-many
lists, variants chosen by a key) is decided here, by the type of the field.
"""

from __future__ import annotations

import glob
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from duckalog.document import Data
from duckalog.environment import PLACEHOLDER, Filled, Secret
from duckalog.errors import (
    NOWHERE,
    KeyPath,
    Origin,
    Problem,
    Problems,
    nearest,
    sentences,
    shown,
)
from duckalog.locations import (
    DatabasePath,
    LocalPath,
    TextFile,
    Uri,
    absolute_path,
    is_relative,
    is_remote,
)

S = TypeVar("S", bound=msgspec.Struct)


class OneOrMany:
    """Marks a list that may be written as its only item."""


class Derived:
    """Marks a field that no file states: it is set when the config is loaded."""


class ShortForm(NamedTuple):
    """Marks a struct that may be written as the value of its field `key` alone."""

    key: str


class Unfit(ValueError):
    """Raised by a struct whose fields do not go together; `keys` lead from it to the place."""

    def __init__(self, message: str, remedy: str = "", keys: KeyPath = ()) -> None:
        self.remedy = remedy
        self.keys = keys
        super().__init__(message)


Choice = Callable[[Mapping[str, Data]], "type[msgspec.Struct] | Problem"]
"""How a map's own keys choose its struct."""


class Context:
    """What decoding needs besides the data, and where it puts problems and secrets."""

    def __init__(
        self,
        directory: str,
        locate: Callable[[KeyPath], Origin],
        variants: Mapping[type, Choice],
        secrets: list[Secret],
        *,
        is_filled: bool = True,
    ) -> None:
        self.directory = directory
        self.locate = locate
        self.variants = variants
        self.is_filled = is_filled
        self.problems = Problems()
        self.secrets = secrets

    def problem(self, path: KeyPath, message: str, remedy: str = "") -> None:
        """Note something wrong at `path`."""
        self.problems.append(Problem(self.locate(path), message, remedy))


def chosen_by(
    key: str, choices: Mapping[str, type[S]], noun: str, data: Mapping[str, Data]
) -> type[S] | Problem:
    """Return the struct that the value of `key` names, or what is wrong with it."""
    stated = data.get(key)
    known = f"{noun[0].upper()}{noun[1:]}s: {', '.join(choices)}"
    if stated is None:
        return Problem(NOWHERE, f'the key "{key}" is missing', known)
    if isinstance(stated, str) and stated in choices:
        return choices[stated]
    named, suggestion = "", ""
    if isinstance(stated, str) and not isinstance(stated, Filled):
        named, suggestion = f' "{shown(stated)}"', nearest(stated, choices)
    origin = NOWHERE._replace(path=(key,))
    return Problem(origin, f"there is no {noun}{named}", sentences(suggestion, known))


INVALID: Any = object()
"""Stands for a value that could not be decoded; the problem is noted in the context."""

Decoder = Callable[[Data, KeyPath, Context], Any]


def decode(struct: type[S], data: Data, path: KeyPath, context: Context) -> S:
    """Return `data` as a `struct`, or INVALID after noting every problem in `context`.

    A struct with `is_section` holds others, and comes back with what is right in it.
    """
    decoded: S = _decoder(struct)(data, path, context)
    return decoded


@cache
def _decoder(kind: Any) -> Decoder:
    """Return the decoder of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if OneOrMany in arguments[1:]:
            return _one_or_many(_decoder(arguments[0]))
        if isinstance(arguments[1], ShortForm):
            return _short_form(_decoder(arguments[0]), arguments[1].key)
        return _leaf(kind)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) == 1:
            return _optional(_decoder(inner[0]))
        return _leaf(kind)
    if origin is tuple:
        return _list_of(_decoder(arguments[0]))
    if origin is dict:
        return _map_of(_decoder(arguments[1]), are_names=arguments[1] is not Any)
    if kind in _SPECIAL:
        return _SPECIAL[kind]
    if kind is Any:
        return _anything
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind)
    return _leaf(kind)


class _Field(NamedTuple):
    name: str
    decoder: Decoder
    is_required: bool


def _struct(struct: type[msgspec.Struct]) -> Decoder:
    @cache
    def own_fields() -> tuple[dict[str, _Field], list[tuple[str, str]], dict[str, tuple[str, ...]]]:
        """Return the fields by their keys, the keys and names of those required, and sections."""
        hints = typing.get_type_hints(struct, include_extras=True)
        known = {
            field.encode_name: _Field(field.name, _decoder(hints[field.name]), field.required)
            for field in msgspec.structs.fields(struct)
            if not _is_derived(hints[field.name])
        }
        required = [(key, field.name) for key, field in known.items() if field.is_required]
        return known, required, _keys_of_sections(hints)

    has_origin = "origin" in struct.__struct_fields__
    is_section = getattr(struct, "is_section", False)

    def decode_struct(data: Data, path: KeyPath, context: Context) -> Any:
        if not isinstance(data, dict):
            return _wrong(data, "a map", path, context)
        choose = context.variants.get(struct)
        if choose:
            chosen = choose(data)
            if isinstance(chosen, Problem):
                context.problem((*path, *chosen.origin.path), chosen.message, chosen.remedy)
                return INVALID
            return _decoder(chosen)(data, path, context)
        known, required, sections = own_fields()
        values: dict[str, Any] = {}
        told = len(context.problems)
        for key, value in data.items():
            field = known.get(key)
            if field is None:
                message = f'unknown key "{shown(key)}"'
                context.problem((*path, key), message, _known_keys(key, known, sections))
            elif value is not None or field.is_required:
                decoded = field.decoder(value, (*path, key), context)
                if decoded is not INVALID:
                    values[field.name] = decoded
        for key, _ in required:
            if key not in data:
                context.problem(path, f'the key "{key}" is missing')
        if len(context.problems) > told and not is_section:
            return INVALID
        if not all(name in values for _, name in required):
            return INVALID
        if has_origin:
            values["origin"] = context.locate(path)
        try:
            return struct(**values)
        except Unfit as error:
            context.problem((*path, *error.keys), str(error), error.remedy)
            return INVALID

    return decode_struct


def _is_derived(hint: Any) -> bool:
    return get_origin(hint) is Annotated and Derived in get_args(hint)


def _known_keys(
    key: str, known: Mapping[str, _Field], sections: Mapping[str, Collection[str]]
) -> str:
    section = next((name for name, keys in sections.items() if key in keys), "")
    hint = f'it goes under "{section}".' if section else nearest(key, known)
    return sentences(hint, f"keys here: {', '.join(sorted(known))}")


def _keys_of_sections(hints: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the keys of each section that a struct holds."""
    found = {}
    for name, hint in hints.items():
        for kind in (hint, *get_args(hint)):
            if isinstance(kind, type) and getattr(kind, "is_section", False):
                found[name] = tuple(one.encode_name for one in msgspec.structs.fields(kind))
    return found


def _list_of(item: Decoder) -> Decoder:
    def decode_list(data: Data, path: KeyPath, context: Context) -> Any:
        if not isinstance(data, list):
            return _wrong(data, "a list", path, context)
        items = [item(value, (*path, index), context) for index, value in enumerate(data)]
        return tuple([one for one in items if one is not INVALID])

    return decode_list


def _one_or_many(items: Decoder) -> Decoder:
    def decode_one_or_many(data: Data, path: KeyPath, context: Context) -> Any:
        if isinstance(data, list):
            return items(data, path, context) if data else _wrong(data, "items", path, context)
        told = len(context.problems)
        decoded = items([data], path, context)
        _tell_at(path, context, told)
        return decoded

    return decode_one_or_many


def _short_form(decoder: Decoder, key: str) -> Decoder:
    def decode_short_form(data: Data, path: KeyPath, context: Context) -> Any:
        if isinstance(data, dict):
            return decoder(data, path, context)
        told = len(context.problems)
        decoded = decoder({key: data}, path, context)
        _tell_at(path, context, told)
        return decoded

    return decode_short_form


def _tell_at(path: KeyPath, context: Context, first: int) -> None:
    """Move the problems from the `first` on to `path`: the file has no keys below it."""
    if len(context.problems) > first:
        origin = context.locate(path)
        context.problems[first:] = [
            problem._replace(origin=origin) for problem in context.problems[first:]
        ]


def _map_of(value_decoder: Decoder, *, are_names: bool) -> Decoder:
    def decode_map(data: Data, path: KeyPath, context: Context) -> Any:
        if not isinstance(data, dict):
            return _wrong(data, "a map", path, context)
        if are_names:
            _check_names(data, path, context)
        decoded = {key: value_decoder(value, (*path, key), context) for key, value in data.items()}
        return {key: value for key, value in decoded.items() if value is not INVALID}

    return decode_map


def _check_names(names: Iterable[str], path: KeyPath, context: Context) -> None:
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.lower(), name)
        if not name:
            context.problem((*path, name), "a name cannot be empty")
        elif first is not name:
            message = f'"{shown(first)}" and "{shown(name)}" differ in case only'
            context.problem((*path, name), message, "Keep one of them.")


def _optional(inner: Decoder) -> Decoder:
    def decode_optional(data: Data, path: KeyPath, context: Context) -> Any:
        return None if data is None else inner(data, path, context)

    return decode_optional


def _leaf(kind: Any) -> Decoder:
    expected = _in_words(kind)
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    is_text = kind is str

    def decode_leaf(data: Data, path: KeyPath, context: Context) -> Any:
        if (is_text and isinstance(data, str)) or (type(data) is str and data in choices):
            return data
        if isinstance(data, str) and not context.is_filled and PLACEHOLDER.search(data):
            return data
        try:
            return msgspec.convert(data, kind, strict=not isinstance(data, Filled))
        except msgspec.ValidationError:
            if choices and isinstance(data, str):
                if isinstance(data, Filled):
                    return _wrong(data, expected, path, context)
                remedy = nearest(data, (str(choice) for choice in choices))
                context.problem(path, f'expected {expected}, got "{shown(data)}"', remedy)
                return INVALID
            return _wrong(data, expected, path, context)

    return decode_leaf


def _anything(data: Data, _path: KeyPath, _context: Context) -> Any:
    return data


def _secret(data: Data, path: KeyPath, context: Context) -> Any:
    if isinstance(data, bool) or not isinstance(data, str | int):
        return _wrong(data, "text", path, context)
    template = ""
    if isinstance(data, Filled):
        template = data.template
    elif not context.is_filled and isinstance(data, str) and PLACEHOLDER.search(data):
        template = data
    secret = Secret(str(data), template)
    context.secrets.append(secret)
    return secret


def _local_path(data: Data, path: KeyPath, context: Context) -> Any:
    if not isinstance(data, str) or not data:
        return _wrong(data, "a path", path, context)
    if is_remote(context.directory) and is_relative(data):
        message = "this has to be a file of this machine, and the config is not on it"
        context.problem(path, message, "Write the whole path, ${env:NAME} in it where it differs.")
        return INVALID
    local = absolute_path(data, context.directory)
    return Filled(local, data.template) if isinstance(data, Filled) else LocalPath(local)


def _database_path(data: Data, path: KeyPath, context: Context) -> Any:
    if data == ":memory:":
        return DatabasePath(data)
    if isinstance(data, str) and (is_remote(data) or data.startswith("md:")):
        context.problem(path, "the catalog is built in a local file", "Write a path.")
        return INVALID
    if isinstance(data, str) and data and is_remote(context.directory) and is_relative(data):
        return DatabasePath(data)  # whoever builds has to say where
    local = _local_path(data, path, context)
    return local if local is INVALID else DatabasePath(local)


def _text_file(data: Data, path: KeyPath, context: Context) -> Any:
    if not isinstance(data, str) or not data:
        return _wrong(data, "a path or URL", path, context)
    return TextFile(data if is_remote(data) else absolute_path(data, context.directory))


def _uri(data: Data, path: KeyPath, context: Context) -> Any:
    if not isinstance(data, str) or not data:
        return _wrong(data, "a path or URL", path, context)
    if is_remote(data) or (not context.is_filled and data.startswith("${")):
        return data  # which may be Filled: a URL can hold a credential
    is_pattern = path[:1] == ("views",)
    is_local = not (os.path.isabs(data) or is_remote(context.directory))
    if is_pattern and is_local and glob.has_magic(context.directory):
        message = "DuckDB takes the name of the config's folder for a pattern"
        context.problem(path, message, "Rename the folder, without *, ? and [.")
        return INVALID
    return Uri(absolute_path(data, context.directory))


_SPECIAL: dict[Any, Decoder] = {
    Secret: _secret,
    LocalPath: _local_path,
    TextFile: _text_file,
    DatabasePath: _database_path,
    Uri: _uri,
}


def _in_words(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        shown = [f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in arguments]
        return "one of " + ", ".join(shown) if len(shown) > 1 else shown[0]
    if origin is Annotated:
        return next(
            (one.description for one in arguments[1:] if getattr(one, "description", None)),
            _in_words(arguments[0]),
        )
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(argument) for argument in arguments)
    return {
        str: "text",
        int: "a whole number",
        bool: "true or false",
        float: "a number",
        type(None): "nothing",
    }.get(kind, "another type")


def _wrong(data: Data, expected: str, path: KeyPath, context: Context) -> Any:
    got = {
        str: "text",
        int: "a whole number",
        bool: "true or false",
        float: "a number",
        list: "a list" if data else "an empty list",
        dict: "a map",
        type(None): "nothing",
    }.get(type(data), "something else")
    if isinstance(data, Filled):
        got = f"the value of {shown(data.template)}"
    if isinstance(data, str) and not data:
        got = "empty text"
    remedy = "Put it in quotes." if expected == "text" and got in _NEEDS_QUOTES else ""
    context.problem(path, f"expected {expected}, got {got}", remedy)
    return INVALID


_NEEDS_QUOTES = ("a whole number", "a number", "true or false")
