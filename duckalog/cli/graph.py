"""`duckalog graph`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from duckalog.cli.group import (
    config_argument,
    echo_json,
    env_file_option,
    json_option,
    select_option,
    write_output,
)

if TYPE_CHECKING:
    from duckalog.diagram import Format
    from duckalog.lineage import Lineage

MAX_TOLD = 10


@click.command()
@config_argument
@click.option(
    "-f",
    "--format",
    "format_",
    type=click.Choice(["mermaid", "dot", "json"]),
    default="mermaid",
    help="mermaid (the default) shows in Markdown, dot is for Graphviz, json for machines.",
)
@select_option("Only what this view comes from, and what is made of it")
@click.option("--columns", is_flag=True, help="Draw where each column comes from; json has it.")
@click.option("--connect", is_flag=True, help="Ask the sources for their columns.")
@click.option(
    "-o", "--output", default="-", type=click.Path(), help="Write to this file; - is stdout."
)
@env_file_option
@json_option
def graph(
    config: str,
    format_: Format,
    select: tuple[str, ...],
    columns: bool,
    connect: bool,
    output: str,
    env_file: str | None,
    as_json: bool,
) -> None:
    """Print which view of CONFIG reads what: files, tables and other views.

    The columns are those that the last build found; no source is asked, unless
    by --connect.
    """
    from duckalog import api
    from duckalog.diagram import around, graph_of, render

    has_columns = columns or format_ == "json"
    if connect and not has_columns:
        raise click.UsageError("--connect is for --columns, or for --format json.")
    plan = api.load_plan(config, env_file=env_file, is_lenient=not connect)
    lineage = api.column_lineage(plan, connect=connect) if has_columns else None
    drawn = graph_of(plan, lineage)
    if select:
        drawn = around(drawn, plan.chosen(select).views)
    text = render(drawn, format_)
    if output != "-":
        write_output(output, text)
    if as_json:
        place = None if output == "-" else os.path.abspath(output)
        found = json.loads(text) if format_ == "json" else text
        echo_json({"ok": True, "output": place, "graph": found})
        return
    if output == "-":
        click.echo(text, nl=False)
    if drawn.lineage and format_ != "json":
        _tell_unknown(drawn.lineage)


def _tell_unknown(lineage: Lineage) -> None:
    unknown = [view for view in lineage.views if view.unknown]
    for view in unknown[:MAX_TOLD]:
        click.echo(f"{view.relation.label}: lineage unknown: {view.unknown}", err=True)
    if unknown:
        rest = f"{len(unknown) - MAX_TOLD} more are unknown. " if len(unknown) > MAX_TOLD else ""
        click.echo(f"{rest}Columns are known of a built catalog, or by --connect.", err=True)
