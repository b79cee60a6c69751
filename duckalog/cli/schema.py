"""`duckalog schema`."""

from __future__ import annotations

import json

import click

from duckalog.cli.group import write_output


@click.command()
@click.option(
    "-o", "--output", default="-", type=click.Path(), help="Write to this file; - is stdout."
)
def schema(output: str) -> None:
    """Print the JSON schema of a config, by which editors complete and check it."""
    from duckalog.json_schema import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if output == "-":
        click.echo(text, nl=False)
    else:
        write_output(output, text)
