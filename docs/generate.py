"""The pages that are made from the code: `python -m docs.generate` writes them anew.

`config.md` comes from the models' docstrings and types, `commands.md` from the
command line; a test compares both with what they come from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from duckalog.cli.group import cli
from duckalog.json_schema import Schema, json_schema

FOLDER = Path(__file__).parent

NOTE = "<!-- Made by `python -m docs.generate` from {source}; edits belong there. -->"
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "map",
}


def config_page() -> str:
    """Return the reference of every key of a config."""
    schema = json_schema()
    return "\n".join([NOTE.format(source="the models"), "", *_ConfigPage(schema).lines()])


class _ConfigPage:
    def __init__(self, schema: Schema) -> None:
        self.root = schema
        self.definitions: dict[str, Schema] = schema["definitions"]

    def lines(self) -> Iterator[str]:
        yield "# The config"
        yield ""
        yield (
            "A config is one map, in YAML or JSON, in UTF-8. Paths start from the folder of the\n"
            "file that states them. Wherever a value stands, `${env:NAME}` or\n"
            "`${env:NAME:default}` may stand too. A key without a value is as good as none.\n"
            "An editor shows all this where it is needed: see `duckalog schema`."
        )
        yield from self._struct("The file", {**self.root, "required": ["version"]}, 2)
        yield from self._struct("`duckdb`", self.definitions["DuckdbSection"], 2)
        yield from self._struct("`duckdb.install_extensions`", self.definitions["Extension"], 3)
        yield from self._union("`duckdb.secrets`", "DuckdbSecret", 3)
        yield from self._attachments()
        yield from self._union("`iceberg_catalogs`", "Catalog", 2)
        yield from self._union("`views`", "View", 2)
        yield from self._struct("`views[].columns`", self.definitions["Column"], 3)

    def _attachments(self) -> Iterator[str]:
        struct = self.definitions["Attachments"]
        yield from self._struct("`attachments`", struct, 2)
        for name, one in struct["properties"].items():
            attachment = self.definitions[_name(one["items"]["$ref"])]
            yield from self._struct(f"`attachments.{name}`", attachment, 3)

    def _union(self, title: str, name: str, level: int) -> Iterator[str]:
        """Yield a struct whose keys depend on one of them: what all have, then each kind's own."""
        union = self.definitions[name]
        tag = next(key for key, one in union["properties"].items() if "enum" in one)
        structs = [
            self.definitions[one] for one in dict.fromkeys(map(_name, _references(union["allOf"])))
        ]
        common = {
            key: one
            for key, one in structs[0]["properties"].items()
            if all(struct["properties"].get(key) == one for struct in structs)
        }
        required = [
            *union.get("required", ()),
            *(one for one in structs[0]["required"] if one != tag),
        ]
        properties = {tag: union["properties"][tag], **common}
        yield from self._struct(
            title, {**union, "properties": properties, "required": required}, level
        )
        alike: list[tuple[Schema, list[Schema]]] = []
        for struct in structs:
            own = _without(struct["properties"], *properties)
            same = next((kinds for keys, kinds in alike if keys == own), None)
            if same is None:
                alike.append((own, [struct]))
            else:
                same.append(struct)
        for own, kinds in alike:
            yield from self._kinds(tag, own, kinds, level + 1)

    def _kinds(self, tag: str, own: Schema, kinds: list[Schema], level: int) -> Iterator[str]:
        """Yield structs with the same keys, and what those keys lead to."""
        values = [one["properties"].get(tag, {}).get("const") for one in kinds]
        heading = ", ".join(f"`{tag}: {one}`" for one in values) if values[0] else "SQL"
        told = "\n".join(one["description"] for one in kinds)
        struct = {**kinds[0], "properties": own, "description": told}
        yield from self._struct(heading, struct, level)
        for key, one in own.items():
            for reference in _references(one):
                inner = self.definitions[_name(reference)]
                yield from self._struct(f"{heading}: `{key}`", inner, level + 1)

    def _struct(self, title: str, struct: Schema, level: int) -> Iterator[str]:
        yield from ("", f"{'#' * level} {title}", "")
        if struct.get("description"):
            yield from (struct["description"], "")
        if not struct["properties"]:
            return
        yield from ("| key | type | default | what it is |", "|---|---|---|---|")
        for key, one in struct["properties"].items():
            is_required = key in struct.get("required", ())
            default = "**required**" if is_required else _code(one.get("default"))
            cells = (f"`{key}`", self._type(one), default, _described(one))
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    def _type(self, one: Schema) -> str:
        if "const" in one:
            return _code(one["const"])
        if "enum" in one:
            return ", ".join(map(_code, one["enum"]))
        if "else" in one:
            kinds = [self._type(one["else"]), self._type(one["then"])]
            return "anything" if kinds[0] == "anything" else " or ".join(kinds)
        if "anyOf" in one:
            kinds = [self._type(each) for each in one["anyOf"] if each.get("type") != "null"]
            return next(kind for kind in kinds if kind)
        if "$ref" in one:
            return "map"
        if one.get("type") is None:
            return "anything"
        return self._plain_type(one)

    def _plain_type(self, one: Schema) -> str:
        kinds = [one["type"]] if isinstance(one["type"], str) else one["type"]
        if "array" in kinds:
            item = self._type(one["items"])
            return f"list of {item if item != 'map' else 'maps'}"
        if "object" in kinds and isinstance(one.get("additionalProperties"), dict):
            return f"map of {self._type(one['additionalProperties'])}"
        if "pattern" in one:  # text only where it is a placeholder
            kinds = [kind for kind in kinds if kind != "string"]
        words = " or ".join(TYPES[kind] for kind in kinds if kind != "null")
        if "minimum" in one:
            words += f", from {one['minimum']}"
        if "maximum" in one:
            words += f" to {one['maximum']}"
        return words


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _without(properties: Schema, *keys: str) -> Schema:
    return {key: one for key, one in properties.items() if key not in keys}


def _references(schema: Any) -> list[str]:
    """Return the references in a schema, in order."""
    if isinstance(schema, dict):
        own = [schema["$ref"]] if "$ref" in schema else []
        return own + [one for value in schema.values() for one in _references(value)]
    if isinstance(schema, list):
        return [one for value in schema for one in _references(value)]
    return []


def _described(one: Schema) -> str:
    examples = ", ".join(map(_code, one.get("examples", ())))
    return (
        f"{one.get('description', '')} For example {examples}" if examples else one["description"]
    )


def _code(value: object) -> str:
    """Return a value as YAML has it on one line."""
    if value in (None, {}, []):
        return ""
    return f"`{_flow(value)}`"


def _flow(value: object, is_inside: bool = False) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one, True)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(one, True) for one in value) + "]"
    if isinstance(value, str):
        needs_quotes = is_inside and any(one in value for one in "{}[],:#&*!|>'\"%@`")
        return json.dumps(value, ensure_ascii=False) if needs_quotes else value
    return json.dumps(value)


def commands_page() -> str:
    """Return the reference of every command and option."""
    return "\n".join([NOTE.format(source="the command line"), "", *_command_lines()])


def _command_lines() -> Iterator[str]:
    yield from ("# The commands", "")
    yield (
        "Exit status: 0; 1 where the config, a source or the catalog is at fault; 2 for wrong\n"
        "arguments; 130 for Ctrl-C. Every command has `--help`."
    )
    with click.Context(cli, info_name="duckalog", **cli.context_settings) as context:
        for name in sorted(cli.list_commands(context)):
            command = cli.get_command(context, name)
            assert command is not None
            yield from _command(command, click.Context(command, context, name))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from ("", f"## {context.info_name}", "", f"`{usage}`", "")
    yield from (_unwrapped(command.help or ""), "")
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    yield from ("| option | default | what it does |", "|---|---|---|")
    for option in options:
        if not option.hidden:
            names = ", ".join(f"`{one}`" for one in (*option.opts, *option.secondary_opts))
            cells = (f"{names}{_value_of(option)}", _default_of(option), option.help or "")
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _unwrapped(text: str) -> str:
    paragraphs = text.replace("\b", "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _value_of(option: click.Option) -> str:
    if option.is_flag or option.count:
        return ""
    if isinstance(option.type, click.Choice):
        return f" `{'|'.join(map(str, option.type.choices))}`"
    kinds = {click.IntRange: "INTEGER", click.FloatRange: "NUMBER"}
    kind = kinds.get(type(option.type), option.type.name.upper())
    return f" `{option.metavar or kind}`"


def _default_of(option: click.Option) -> str:
    default = option.default
    is_told = isinstance(default, str | int | float) and not isinstance(default, bool)
    return f"`{default}`" if is_told else ""


PAGES: dict[str, Callable[[], str]] = {"config.md": config_page, "commands.md": commands_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
