"""Values that hold no others: text and numbers by msgspec, secrets, paths and URIs."""

from __future__ import annotations

import glob
import os
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from duckalog.decode.context import INVALID, Context, Decoder, wrong
from duckalog.document import Data
from duckalog.environment import PLACEHOLDER, Filled, Secret
from duckalog.errors import KeyPath, nearest, shown
from duckalog.locations import (
    DatabasePath,
    LocalPath,
    TextFile,
    Uri,
    absolute_path,
    is_relative,
    is_remote,
)


def leaf(kind: Any) -> Decoder:
    """Return the decoder of a type that msgspec converts."""
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
                    return wrong(data, expected, path, context)
                remedy = nearest(data, (str(choice) for choice in choices))
                context.problem(path, f'expected {expected}, got "{shown(data)}"', remedy)
                return INVALID
            return wrong(data, expected, path, context)

    return decode_leaf


def anything(data: Data, _path: KeyPath, _context: Context) -> Any:
    """Return the data as it is."""
    return data


def _secret(data: Data, path: KeyPath, context: Context) -> Any:
    if isinstance(data, bool) or not isinstance(data, str | int):
        return wrong(data, "text", path, context)
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
        return wrong(data, "a path", path, context)
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
        return wrong(data, "a path or URL", path, context)
    return TextFile(data if is_remote(data) else absolute_path(data, context.directory))


def _uri(data: Data, path: KeyPath, context: Context) -> Any:
    if not isinstance(data, str) or not data:
        return wrong(data, "a path or URL", path, context)
    if is_remote(data) or (not context.is_filled and data.startswith("${")):
        return data  # which may be Filled: a URL can hold a credential
    is_pattern = path[:1] == ("views",)
    is_local = not (os.path.isabs(data) or is_remote(context.directory))
    if is_pattern and is_local and glob.has_magic(context.directory):
        message = "DuckDB takes the name of the config's folder for a pattern"
        context.problem(path, message, "Rename the folder, without *, ? and [.")
        return INVALID
    return Uri(absolute_path(data, context.directory))


OWN_TYPES: dict[Any, Decoder] = {
    Secret: _secret,
    LocalPath: _local_path,
    TextFile: _text_file,
    DatabasePath: _database_path,
    Uri: _uri,
}
"""The decoders of the types that are duckalog's own."""


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
