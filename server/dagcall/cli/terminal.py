"""The output of commands: JSON, messages and logs, without terminal control sequences.

Answers go to stdout, everything else to stderr.
"""

import json
import sys
from typing import Any

from rich.console import Console
from rich.highlighter import JSONHighlighter

from dagcall.text import escaped, visible


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


def readable(content: Any, *, indent: int | None = 2) -> str:
    """Return JSON for a terminal, with invisible characters escaped, so that it cannot control the terminal."""
    return escaped(json.dumps(content, indent=indent, ensure_ascii=False))


def indented(text: str) -> str:
    """Return a text with its lines indented."""
    return "\n".join(f"  {line}" for line in text.splitlines())


def say(text: str) -> None:
    """Print a message that is not an answer, to stderr."""
    print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Print an error to stderr; text from elsewhere cannot control the terminal."""
    print(visible(text), file=sys.stderr, flush=True)
