"""The JSON schema of a config, made from the models: `json_schema`.

Draft 7, which every version of the YAML language server behind editors reads.
What it says of types is what `decode` does with them; a key without a value is
as good as a key that is not there.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from duckalog.catalogs import CATALOG_TYPES
from duckalog.checks import CHECK_TYPES
from duckalog.config import VERSION, Config
from duckalog.decode import Derived, OneOrMany, ShortForm
from duckalog.document import parse_document
from duckalog.entry import Catalog, Check, View
from duckalog.environment import Secret
from duckalog.field_docs import class_doc, field_doc
from duckalog.locations import DatabasePath, LocalPath, TextFile, Uri
from duckalog.secrets import SECRET_TYPES, DuckdbSecret
from duckalog.views import SQL_KEYS, VIEW_TYPES
from duckalog.views.select import SelectView

Schema = dict[str, Any]

_FILLED_TEXT: Schema = {
    "pattern": r"(^|[^$])\$\{env:[A-Za-z_][A-Za-z0-9_]*(:[^}]*)?\}",
    "patternErrorMessage": "Text has to be a placeholder here: ${env:NAME}",
}
"""A text that the environment fills, where something else than text is expected."""

_NOT_EMPTY: Schema = {"type": "string", "minLength": 1}
_LEAVES: dict[Any, Schema] = {
    str: {"type": "string"},
    Secret: {"type": ["string", "integer"]},
    LocalPath: _NOT_EMPTY,
    TextFile: _NOT_EMPTY,
    DatabasePath: _NOT_EMPTY,
    Uri: _NOT_EMPTY,
}
_CHECKS = ("type", "minLength", "pattern", "patternErrorMessage", "anyOf")
_FILLED_LEAVES = {int: "integer", float: "number", bool: "boolean"}


class _Union(NamedTuple):
    """A struct whose other keys depend on the value of `key`; each choice is a struct."""

    key: str
    choices: Mapping[str, type[msgspec.Struct]]


_UNIONS: dict[Any, _Union] = {
    View: _Union("source", VIEW_TYPES),
    Catalog: _Union("catalog_type", CATALOG_TYPES),
    DuckdbSecret: _Union("type", SECRET_TYPES),
    Check: _Union("type", CHECK_TYPES),
}


def json_schema() -> Schema:
    """Return the JSON schema of a config, as plain data.

    It holds for imported files too, and so does not ask for a `version`.
    """
    maker = _Maker()
    root = maker.struct(Config)
    version = root["properties"]["version"]
    root["properties"]["version"] = {"description": version["description"], "const": VERSION}
    del root["required"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **root,
        "definitions": dict(sorted(maker.definitions.items())),
    }


class _Maker:
    """Makes schemas of types; each struct is made once, among `definitions`."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """Return the schema of a type, as `decode` reads it."""
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._annotated(self.of(arguments[0]), arguments[1])
        if origin is Literal:
            return _literal(arguments)
        if origin in (Union, types.UnionType):
            return self._union(arguments)
        if origin is tuple:
            return {"type": "array", "items": self.of(arguments[0])}
        if origin is dict:
            return self._map(arguments[1])
        if kind is Any:
            return {}
        if kind in _LEAVES:
            return dict(_LEAVES[kind])
        if kind in _FILLED_LEAVES:
            return {"type": [_FILLED_LEAVES[kind], "string"], **_FILLED_TEXT}
        return self._reference(kind)

    def _annotated(self, schema: Schema, mark: Any) -> Schema:
        if mark is OneOrMany:
            return _either("array", {**schema, "minItems": 1}, schema["items"])
        if isinstance(mark, ShortForm):
            struct = self.definitions[_name_in(schema)]
            short = struct["properties"][mark.key]
            return _either("object", schema, {key: short[key] for key in _CHECKS if key in short})
        bounds = {"minimum": mark.ge, "maximum": mark.le, "minLength": mark.min_length}
        return {**schema, **{name: bound for name, bound in bounds.items() if bound is not None}}

    def _union(self, arguments: tuple[Any, ...]) -> Schema:
        schemas = [self.of(one) for one in arguments if one is not type(None)]
        if len(schemas) == 1:
            return schemas[0]
        # `str | int | bool`: text is text, whatever the environment fills in.
        kinds = [kind for schema in schemas for kind in _as_list(schema["type"])]
        return {"type": list(dict.fromkeys(kinds))}

    def _map(self, value: Any) -> Schema:
        if value is Any:
            return {"type": "object"}
        return {
            "type": "object",
            "additionalProperties": self.of(value),
            "propertyNames": {"minLength": 1},
        }

    def _reference(self, kind: type[msgspec.Struct]) -> Schema:
        if kind.__name__ not in self.definitions:
            self.definitions[kind.__name__] = {}  # its place, before those that it names
            union = _UNIONS.get(kind)
            made = self._tagged(kind, union) if union else self.struct(kind)
            self.definitions[kind.__name__] = made
        return {"$ref": f"#/definitions/{kind.__name__}"}

    def struct(self, kind: type[msgspec.Struct]) -> Schema:
        """Return the schema of a struct: the keys that it knows, and no others."""
        fields = _fields_of(kind)
        return {
            "description": class_doc(kind),
            "type": "object",
            "properties": {
                field.encode_name: self._property(kind, field, hint) for field, hint in fields
            },
            "required": [field.encode_name for field, _ in fields if field.required],
            "additionalProperties": False,
        }

    def _property(
        self, kind: type[msgspec.Struct], field: msgspec.structs.FieldInfo, hint: Any
    ) -> Schema:
        schema = self.of(hint)
        if get_origin(hint) is Literal and field.required:
            return {"description": class_doc(kind), **schema}
        if not field.required:
            schema = _or_nothing(schema)
        doc = field_doc(kind, field.name)
        texts: Schema = {"description": doc.description}
        if field.default not in (msgspec.NODEFAULT, None, ()) and not isinstance(
            field.default, msgspec.Struct
        ):
            texts["default"] = field.default
        if doc.examples:
            texts["examples"] = [parse_document(one, "example.yaml").data for one in doc.examples]
        return {**texts, **schema}

    def _tagged(self, kind: type[msgspec.Struct], union: _Union) -> Schema:
        """Return the schema of a struct whose keys depend on another key's value."""
        key, choices = union
        cases = [
            {
                "if": {
                    "type": "object",
                    "properties": {key: {"const": choice}},
                    "required": [key],
                },
                "then": self._reference(struct),
            }
            for choice, struct in choices.items()
        ]
        schema: Schema = {
            "description": class_doc(kind),
            "type": "object",
            "properties": {
                **{
                    field.encode_name: {"description": field_doc(kind, field.name).description}
                    for field, _ in _fields_of(kind)
                    if field.required
                },
                key: {"description": "Decides which keys go with it.", "enum": list(choices)},
            },
        }
        if kind is not View:
            return {**schema, "required": [key], "allOf": cases}
        # Raw SQL has no source: that it is SQL, its own key says.
        is_select = {"type": "object", "anyOf": [{"required": [one]} for one in SQL_KEYS]}
        states = {"anyOf": [_states(one) for one in SQL_KEYS]}
        select = {"allOf": [self._reference(SelectView), states]}
        schema["properties"] |= {one: {} for one in SQL_KEYS}  # so that editors offer them
        return {
            **schema,
            "anyOf": [{"required": [key]}, *is_select["anyOf"]],
            "allOf": [*cases, {"if": is_select, "then": select}],
        }


def _fields_of(kind: type[msgspec.Struct]) -> list[tuple[msgspec.structs.FieldInfo, Any]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return [
        (field, hints[field.name])
        for field in msgspec.structs.fields(kind)
        if Derived not in get_args(hints[field.name])
    ]


def _literal(choices: tuple[Any, ...]) -> Schema:
    if len(choices) == 1 and isinstance(choices[0], str):
        return {"const": choices[0]}
    return {"anyOf": [{"enum": list(choices)}, {"type": "string", **_FILLED_TEXT}]}


def _either(kind: str, schema: Schema, other: Schema) -> Schema:
    """Return a schema by the type of the value; of an `anyOf` editors tell the wrong branch."""
    return {"if": {"type": kind}, "then": schema, "else": other}


def _states(key: str) -> Schema:
    return {"properties": {key: {"type": "string"}}, "required": [key]}


def _or_nothing(schema: Schema) -> Schema:
    """Return a schema that takes a key without a value too."""
    if "else" in schema:
        return {**schema, "else": _or_nothing(schema["else"])}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "type" in schema:
        return {**schema, "type": [*_as_list(schema["type"]), "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _name_in(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]
