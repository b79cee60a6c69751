"""Plain data to typed structs, with every problem told and none echoing a value.

Types are msgspec Structs. A decoder is made for each type once: of structs, lists and
maps here, of what holds no other values in `leaves`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from duckalog.decode.context import INVALID, Choice, Context, Decoder, wrong
from duckalog.decode.leaves import OWN_TYPES, anything, leaf
from duckalog.decode.marks import Derived, OneOrMany, ShortForm, Unfit
from duckalog.document import Data
from duckalog.environment import Filled
from duckalog.errors import NOWHERE, KeyPath, Problem, nearest, sentences, shown

__all__ = [
    "INVALID",
    "Choice",
    "Context",
    "Derived",
    "OneOrMany",
    "ShortForm",
    "Unfit",
    "chosen_by",
    "decode",
]

S = TypeVar("S", bound=msgspec.Struct)


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
        return leaf(kind)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) == 1:
            return _optional(_decoder(inner[0]))
        return leaf(kind)
    if origin is tuple:
        return _list_of(_decoder(arguments[0]))
    if origin is dict:
        return _map_of(_decoder(arguments[1]), are_names=arguments[1] is not Any)
    if kind in OWN_TYPES:
        return OWN_TYPES[kind]
    if kind is Any:
        return anything
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind)
    return leaf(kind)


class _Field(NamedTuple):
    """A field of a struct, and how its values are decoded."""

    name: str
    decoder: Decoder
    is_required: bool


class _Fields(NamedTuple):
    """The fields of a struct by their keys, and the names of the required ones by theirs."""

    known: Mapping[str, _Field]
    required: Mapping[str, str]


@cache
def _fields_of(struct: type[msgspec.Struct]) -> _Fields:
    hints = typing.get_type_hints(struct, include_extras=True)
    known = {
        field.encode_name: _Field(field.name, _decoder(hints[field.name]), field.required)
        for field in msgspec.structs.fields(struct)
        if not _is_derived(hints[field.name])
    }
    required = {key: field.name for key, field in known.items() if field.is_required}
    return _Fields(known, required)


def _struct(struct: type[msgspec.Struct]) -> Decoder:
    """Return the decoder of a struct: of the one that a map's own keys choose, where they do."""
    has_origin = "origin" in struct.__struct_fields__
    is_section = getattr(struct, "is_section", False)

    def decode_struct(data: Data, path: KeyPath, context: Context) -> Any:
        if not isinstance(data, dict):
            return wrong(data, "a map", path, context)
        choose = context.variants.get(struct)
        if choose:
            chosen = choose(data)
            if isinstance(chosen, Problem):
                context.problem((*path, *chosen.origin.path), chosen.message, chosen.remedy)
                return INVALID
            return _decoder(chosen)(data, path, context)
        known, required = _fields_of(struct)
        values: dict[str, Any] = {}
        before = len(context.problems)
        for key, value in data.items():
            field = known.get(key)
            if field is None:
                message = f'unknown key "{shown(key)}"'
                context.problem((*path, key), message, _known_keys(key, known, struct))
            elif value is not None or field.is_required:
                decoded = field.decoder(value, (*path, key), context)
                if decoded is not INVALID:
                    values[field.name] = decoded
        for key in required:
            if key not in data:
                context.problem(path, f'the key "{key}" is missing')
        is_wrong = len(context.problems) > before
        if (is_wrong and not is_section) or not values.keys() >= set(required.values()):
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


def _known_keys(key: str, known: Mapping[str, _Field], struct: type[msgspec.Struct]) -> str:
    section = next((name for name, keys in _sections_of(struct).items() if key in keys), "")
    hint = f'it goes under "{section}".' if section else nearest(key, known)
    return sentences(hint, f"keys here: {', '.join(sorted(known))}")


def _sections_of(struct: type[msgspec.Struct]) -> dict[str, tuple[str, ...]]:
    """Return the sections that a struct holds, and the keys of each."""
    found = {}
    for name, hint in typing.get_type_hints(struct).items():
        for kind in (hint, *get_args(hint)):
            if isinstance(kind, type) and getattr(kind, "is_section", False):
                found[name] = tuple(one.encode_name for one in msgspec.structs.fields(kind))
    return found


def _list_of(item: Decoder) -> Decoder:
    def decode_list(data: Data, path: KeyPath, context: Context) -> Any:
        if not isinstance(data, list):
            return wrong(data, "a list", path, context)
        items = [item(value, (*path, index), context) for index, value in enumerate(data)]
        return tuple([one for one in items if one is not INVALID])

    return decode_list


def _one_or_many(items: Decoder) -> Decoder:
    def decode_one_or_many(data: Data, path: KeyPath, context: Context) -> Any:
        if isinstance(data, list):
            return items(data, path, context) if data else wrong(data, "items", path, context)
        first = len(context.problems)
        decoded = items([data], path, context)
        _move_problems(path, context, first)
        return decoded

    return decode_one_or_many


def _short_form(decoder: Decoder, key: str) -> Decoder:
    def decode_short_form(data: Data, path: KeyPath, context: Context) -> Any:
        if isinstance(data, dict):
            return decoder(data, path, context)
        first = len(context.problems)
        decoded = decoder({key: data}, path, context)
        _move_problems(path, context, first)
        return decoded

    return decode_short_form


def _move_problems(path: KeyPath, context: Context, first: int) -> None:
    """Move the problems from the `first` on to `path`: the file has no keys below it."""
    if len(context.problems) > first:
        origin = context.locate(path)
        context.problems[first:] = [
            problem._replace(origin=origin) for problem in context.problems[first:]
        ]


def _map_of(value_decoder: Decoder, *, are_names: bool) -> Decoder:
    def decode_map(data: Data, path: KeyPath, context: Context) -> Any:
        if not isinstance(data, dict):
            return wrong(data, "a map", path, context)
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
