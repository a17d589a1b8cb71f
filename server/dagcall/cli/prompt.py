"""Shows a server's elicitation in a terminal: a message and a form of plain fields.

Knows MCP's forms and nothing of dags, like any client with a terminal. Ending the input (Ctrl-C, Ctrl-D) leaves the
form unanswered.
"""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import isfinite
from typing import Any

from mcp_types import ElicitResult
from rich.console import Console
from rich.text import Text

from dagcall.text import visible

Field = Mapping[str, Any]
"""One property of a form."""
Options = Mapping[str, str]
"""The options: value -> title."""
Read = Callable[[str], str]
"""Shows a prompt and returns the input."""

_YES = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}


def fill_in(message: str, schema: Mapping[str, Any], console: Console, *, read: Read | None = None) -> ElicitResult:
    """Show a message, ask for each field, and return the completed form.

    Args:
        message: the server's message.
        schema: the form's `requestedSchema`.
        console: the terminal.
        read: replaces the console's input in tests.
    """
    console.print()
    console.print(Text(visible(message)))
    console.print(Text("(Ctrl-C leaves this unanswered)", style="dim"))
    content: dict[str, Any] = {}
    required = schema.get("required", [])
    reading = read or (lambda prompt: console.input(Text(prompt)))
    with _ctrl_c_ends_input():
        try:
            for name, field in schema.get("properties", {}).items():
                value = _ask(name, field, console, reading, is_required=name in required)
                if value is not None:
                    content[name] = value
            if not schema.get("properties") and reading("Enter sends the answer: "):
                return ElicitResult(action="cancel")
        except (KeyboardInterrupt, EOFError):
            console.print()
            return ElicitResult(action="cancel")
    return ElicitResult(action="accept", content=content)


@contextmanager
def _ctrl_c_ends_input() -> Iterator[None]:
    """Let Ctrl-C interrupt the input: asyncio's own handler would only act after Enter is pressed."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _ask(name: str, field: Field, console: Console, read: Read, *, is_required: bool) -> Any:
    """Ask until the answer is valid; None means a field left empty."""
    console.print()
    console.print(Text(visible(str(field.get("title") or name)), style="bold"))
    if field.get("description"):
        console.print(Text(visible(str(field["description"]))))
    options = _options(field)
    for number, title in enumerate(options.values(), 1):
        console.print(Text(f"  {number}  {visible(title)}"))
    while True:
        typed = read(_prompt(field, options, is_required=is_required)).strip()
        if not typed:
            if "default" in field:
                return field["default"]
            if not is_required:
                return None
            if field.get("type") == "string" and not options and not field.get("minLength"):
                return ""
        try:
            return _value(field, options, typed)
        except ValueError as error:
            console.print(Text(str(error), style="red"))


def _options(field: Field) -> Options:
    choice = field.get("items", {}) if field.get("type") == "array" else field
    if titled := choice.get("oneOf") or choice.get("anyOf"):
        return {str(one["const"]): str(one.get("title") or one["const"]) for one in titled}
    options = [str(option) for option in choice.get("enum", [])]
    titles = choice.get("enumNames", [])
    return (
        dict(zip(options, map(str, titles), strict=True))
        if len(titles) == len(options)
        else dict(zip(options, options, strict=True))
    )


def _prompt(field: Field, options: Options, *, is_required: bool) -> str:
    hint = {"boolean": "yes or no", "integer": "a whole number", "number": "a number"}.get(field.get("type", ""), "")
    if options:
        hint = "number" if field.get("type") != "array" else "numbers, with commas between them"
    if "default" in field:
        shown = field["default"]
        if isinstance(shown, bool):
            shown = "yes" if shown else "no"
        elif isinstance(shown, list):
            shown = ", ".join(options.get(str(one), str(one)) for one in shown)
        else:
            shown = options.get(str(shown), shown)
        hint = f"{hint}; Enter for {shown}" if hint else f"Enter for {shown}"
    elif not is_required:
        hint = f"{hint}; Enter leaves it empty" if hint else "Enter leaves it empty"
    return f"[{visible(hint)}] > " if hint else "> "


def _value(field: Field, options: Options, typed: str) -> Any:
    """Parse the input.

    Raises:
        ValueError: it is invalid; the message says what is valid.
    """
    match field.get("type"):
        case "array":
            return [_option(options, part.strip()) for part in typed.split(",")]
        case "boolean":
            if typed.lower() not in _YES:
                raise ValueError("Type yes or no.")
            return _YES[typed.lower()]
        case "integer" | "number" as kind:
            return _number(typed, is_whole=kind == "integer")
        case _:
            return _option(options, typed) if options else typed


def _option(options: Options, typed: str) -> str:
    if typed in options:
        return typed
    if typed.isdecimal() and 0 < int(typed) <= len(options):
        return list(options)[int(typed) - 1]
    alike = [option for option, title in options.items() if title.lower().startswith(typed.lower())]
    if typed and len(alike) == 1:
        return alike[0]
    raise ValueError(f"Type a number from 1 to {len(options)}.")


def _number(typed: str, *, is_whole: bool) -> float:
    with suppress(ValueError):
        return int(typed)
    with suppress(ValueError):
        if not is_whole and isfinite(value := float(typed)):
            return value
    raise ValueError("Type a whole number." if is_whole else "Type a number, such as 12.5.")
