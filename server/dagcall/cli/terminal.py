"""What people see of the commands: tables, JSON and messages, in which nothing steers the terminal.

Answers go to stdout, everything else to stderr.
"""

import json
import logging
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
    """Print tables of what is published, to which callers (by tool), and of what is not and why."""
    console = Console()
    if snapshot.tools:
        is_told_apart = any(EVERYBODY not in meant for meant in callers.values())
        columns = ("tool", "dag", "arguments (* required)", *(["callers"] if is_told_apart else []))
        table = Table(*columns, title="published", title_justify="left", show_lines=False)
        table.columns[0].no_wrap = True  # a name that is broken over two lines cannot be copied
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
    """Print what a tool answered: JSON, from dagcall; from another server it may be anything."""
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
    """Return JSON for a terminal: what cannot be seen is escaped, so that nothing in it can steer the terminal."""
    return escaped(json.dumps(content, indent=2, ensure_ascii=False))


def indented(text: str) -> str:
    """Return a text whose lines stand below another."""
    return "\n".join(f"  {line}" for line in text.splitlines())


def say(text: str) -> None:
    """Print what is no answer."""
    print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Print an error; text from elsewhere cannot steer the terminal."""
    print(visible(text), file=sys.stderr, flush=True)


class LogFormatter(logging.Formatter):
    """Keeps to text: what stands in a message cannot steer the terminal, nor begin a line that looks like a message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message with its traceback, all lines but the first indented."""
        return visible(super().format(record)).replace("\n", "\n    ")


def set_up_logging(*, verbose: bool) -> None:
    """Say what goes on, on stderr: on stdio, stdout belongs to the protocol. Other commands print what matters."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("stamina").setLevel(logging.WARNING if verbose else logging.ERROR)
    logging.getLogger("dagcall").setLevel(logging.DEBUG if verbose else logging.INFO)
