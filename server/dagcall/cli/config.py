"""`dagcall config`: the settings as they take effect."""

import os
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dagcall.cli.options import ConfigOption, settings_file
from dagcall.cli.terminal import readable
from dagcall.plain_json import Json
from dagcall.settings import Origin, Setting, load_settings, settings_with_origins
from dagcall.text import visible


def show_config(
    *,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Show every setting, its value, and where it comes from.

    Secrets are masked. The options of `dagcall serve` override what is shown.
    """
    path = settings_file(config)
    found = settings_with_origins(load_settings(path), path, os.environ)  # noqa: TID251 - to show where a value comes from
    if as_json:
        content = [
            {"name": item.name, "value": item.value, "from": _where(item, str(path)), "variable": item.variable}
            for item in found
        ]
        print(readable(content))
        return
    _show(found, str(path))


def _show(found: Sequence[Setting], path: str) -> None:
    table = Table("setting", "value", "from")
    table.columns[0].no_wrap = True
    for item in found:
        style = "dim" if item.origin is Origin.DEFAULT else ""
        row = (item.name, _text(item.value), _where(item, path))
        table.add_row(*(Text(visible(cell), style=style) for cell in row))
    Console().print(table)


def _where(item: Setting, path: str) -> str:
    return {Origin.FILE: path, Origin.VARIABLE: str(item.variable), Origin.DEFAULT: "default"}[item.origin]


def _text(value: Json) -> str:
    if value is None:
        return "not set"
    return value if isinstance(value, str) else readable(value, indent=None)
