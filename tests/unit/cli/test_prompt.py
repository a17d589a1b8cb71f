"""Forms in a terminal: what they display, and how typed answers are read."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from mcp_types import ElicitResult
from rich.console import Console

from dagcall.cli.prompt import fill_in

TITLED: dict[str, Any] = {
    "type": "string",
    "oneOf": [{"const": "p", "title": "Pay it"}, {"const": "r", "title": "Refuse"}],
}
CHOICE = {"type": "string", "title": "Answer", "enum": ["Approve", "Reject", "Retry"]}


def ask(typed: list[str | type[BaseException]], required: tuple[str, ...] = (), **fields: Any) -> tuple[Any, str]:
    """Fill in a form; return the result and everything that was displayed."""
    console = Console(file=io.StringIO(), width=80)
    answers: Iterator[str | type[BaseException]] = iter(typed)

    def read(prompt: str) -> str:
        console.print(prompt, markup=False)
        answer = next(answers)
        if isinstance(answer, str):
            return answer
        raise answer

    schema = {"type": "object", "properties": fields, "required": list(required)}
    result = fill_in("The dag asks.\u202e", schema, console, read=read)
    assert next(answers, None) is None
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


def accepted(**content: Any) -> ElicitResult:
    return ElicitResult(action="accept", content=content)


def test_form_is_displayed_and_filled_in() -> None:
    result, shown = ask(
        ["1", "", "late", "yes"],
        ("answer", "note"),
        answer=CHOICE,
        pay_only={"type": "number", "title": "Pay only", "description": "In EUR."},
        note={"type": "string"},
        urgent={"type": "boolean", "default": False},
    )
    assert result == accepted(answer="Approve", note="late", urgent=True)
    assert shown == (
        "\nThe dag asks.\n(Ctrl-C leaves this unanswered)\n"
        "\nAnswer\n  1  Approve\n  2  Reject\n  3  Retry\n[number] > \n"
        "\nPay only\nIn EUR.\n[a number; Enter leaves it empty] > \n"
        "\nnote\n> \n"
        "\nurgent\n[yes or no; Enter for no] > \n"
    )


@pytest.mark.parametrize(
    ("typed", "field", "value"),
    [
        ("2", CHOICE, "Reject"),
        ("Reject", CHOICE, "Reject"),
        ("ap", CHOICE, "Approve"),
        ("", CHOICE | {"default": "Retry"}, "Retry"),
        ("1, 3", {"type": "array", "items": {"enum": ["a", "b", "c"]}}, ["a", "c"]),
        ("", {"type": "array", "items": {"enum": ["a", "b"]}, "default": ["a", "b"]}, ["a", "b"]),
        ("2", TITLED, "r"),
        ("r", TITLED, "r"),
        ("refu", TITLED, "r"),
        ("Refuse", TITLED, "r"),
        ("2, Pay it", {"type": "array", "items": {"anyOf": TITLED["oneOf"]}}, ["r", "p"]),
        ("refuse", {"type": "string", "enum": ["p", "r"], "enumNames": ["Pay it", "Refuse"]}, "r"),
        ("p", {"type": "string", "enum": ["p", "r"], "enumNames": ["Pay it"]}, "p"),
        ("-3", {"type": "integer"}, -3),
        ("3", {"type": "number"}, 3),
        ("1.5", {"type": "number"}, 1.5),
        ("N", {"type": "boolean"}, False),
        ("  text ", {"type": "string"}, "text"),
        ("", {"type": "string"}, ""),
    ],
)
def test_typed_answer_is_converted_to_a_value(typed: str, field: dict[str, Any], value: Any) -> None:
    result, _ = ask([typed], ("x",), x=field)
    assert result == accepted(x=value)


@pytest.mark.parametrize(
    ("typed", "field", "complaint"),
    [
        ("4", CHOICE, "Type a number from 1 to 3."),
        ("re", CHOICE, "Type a number from 1 to 3."),
        ("", CHOICE, "Type a number from 1 to 3."),
        ("1,", {"type": "array", "items": {"enum": ["a", "b", "c"]}}, "Type a number from 1 to 3."),
        ("1.5", {"type": "integer"}, "Type a whole number."),
        ("much", {"type": "number"}, "Type a number, such as 12.5."),
        ("nan", {"type": "number"}, "Type a number, such as 12.5."),
        ("maybe", {"type": "boolean"}, "Type yes or no."),
    ],
)
def test_invalid_answer_is_asked_for_again(typed: str, field: dict[str, Any], complaint: str) -> None:
    good = {"boolean": "no"}.get(field["type"], "1")
    result, shown = ask([typed, good], ("x",), x=field)
    assert complaint in shown
    assert result.action == "accept"


@pytest.mark.parametrize("end", [KeyboardInterrupt, EOFError])
def test_end_of_input_cancels_the_form(end: type[BaseException]) -> None:
    result, _ = ask(["1", end], answer=CHOICE, note={"type": "string"})
    assert result == ElicitResult(action="cancel")


def test_form_without_fields_is_accepted_with_enter() -> None:
    assert ask([""])[0] == accepted()
    assert ask(["no"])[0] == ElicitResult(action="cancel")


def test_titles_are_shown_and_values_are_sent() -> None:
    several = {"type": "array", "items": {"anyOf": TITLED["oneOf"]}, "default": ["p", "r"]}
    result, shown = ask(["", ""], one=TITLED | {"default": "r"}, some=several)
    assert result == accepted(one="r", some=["p", "r"])
    assert "  1  Pay it\n  2  Refuse\n[number; Enter for Refuse] > " in shown
    assert "[numbers, with commas between them; Enter for Pay it, Refuse] > " in shown
