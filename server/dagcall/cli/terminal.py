"""The output of commands: tables, JSON and messages, without terminal control sequences.

Answers go to stdout, everything else to stderr.
"""

import json
import sys
from collections.abc import Collection, Mapping
from typing import Any

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

from dagcall.auth import EVERYBODY
from dagcall.text import escaped, visible
from dagcall.tools import Snapshot


def show(snapshot: Snapshot, callers: Mapping[str, Collection[str]]) -> None:
    """Print a table of published tools with their callers, and one of withheld dags with the reasons."""
    console = Console()
    if snapshot.tools:
        is_told_apart = any(EVERYBODY not in meant for meant in callers.values())
        columns = ("tool", "dag", "arguments (* required)", *(["callers"] if is_told_apart else []))
        table = Table(*columns, title="published", title_justify="left", show_lines=False)
        table.columns[0].no_wrap = True  # a name broken over two lines cannot be copied
        for name, tool in snapshot.tools.items():
            required = tool.wire.input_schema["required"]
            arguments = ", ".join(f"{key}*" if key in required else key for key in tool.input.properties)
            meant = ["everybody"] if EVERYBODY in callers[name] else callers[name]
            row = [name, tool.dag_id, arguments or "none", *([", ".join(meant)] if is_told_apart else [])]
            table.add_row(*(Text(visible(cell)) for cell in row))
        console.print(table)
    else:
        console.print("Nothing is published.")
    if snapshot.withheld:
        table = Table("dag or selector", "reason", title="not published", title_justify="left")
        for item in snapshot.withheld:
            table.add_row(Text(visible(item.what)), Text(visible(item.reason)))
        console.print(table)


def show_answer(text: str) -> None:
    """Print a tool's answer: JSON from dagcall, anything from another server."""
    try:
        answer = readable(json.loads(text))
    except ValueError:
        print(visible(text))
        return
    if sys.stdout.isatty():
        Console().print(JSONHighlighter()(answer), soft_wrap=True)
    else:
        print(answer)


def readable(content: Any) -> str:
    """Return JSON for a terminal, with invisible characters escaped, so that it cannot control the terminal."""
    return escaped(json.dumps(content, indent=2, ensure_ascii=False))


def indented(text: str) -> str:
    """Return a text with its lines indented."""
    return "\n".join(f"  {line}" for line in text.splitlines())


def say(text: str) -> None:
    """Print a message that is not an answer, to stderr."""
    print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Print an error to stderr; text from elsewhere cannot control the terminal."""
    print(visible(text), file=sys.stderr, flush=True)
