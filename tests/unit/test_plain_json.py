from typing import Any

import pytest

from dagcall.cli.words import arguments_from_words
from dagcall.plain_json import MAX_BYTES, MAX_DEPTH, json_within, transport_problems, with_whole_numbers


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"p": value}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param(
            {"p": "x" * (MAX_BYTES - 8)},
            f"the arguments are {MAX_BYTES + 1:,} bytes of JSON; at most {MAX_BYTES:,} are taken here; pass "
            "large values as a name or an address from which the dag can read them",
            id="too large",
        ),
        pytest.param(nested(MAX_DEPTH), "nested more than 100 levels deep", id="one level too deep"),
        pytest.param(nested(200), "nested more than 100 levels deep", id="far too deep"),
        pytest.param({"p": float("nan")}, "a number that JSON cannot carry", id="NaN"),
        pytest.param({"p": [float("-inf")]}, "a number that JSON cannot carry", id="infinity"),
        pytest.param({"p": 10**5000}, "a number that JSON cannot carry", id="5,000 digits"),
        pytest.param(
            {"p": "\ud800"}, "the arguments contain half of a surrogate pair, which is not valid text", id="surrogate"
        ),
        pytest.param({"p": [{"a\0": 1}]}, "NUL", id="NUL in a key"),
        pytest.param(
            {"p": [{"a": 2**64}]},
            "the arguments contain the number 18446744073709551616, which does not fit into 64 bits; a run with it "
            "would fail in Airflow before any task starts",
            id="beyond 64 bits",
        ),
        pytest.param(
            {"p": -(2**63) - 1}, "the number -9223372036854775809, which does", id="beyond 64 bits, below zero"
        ),
        pytest.param({"p": 1e20}, "the number 1e+20, which does not fit into 64 bits", id="the same as a float"),
    ],
)
def test_arguments_that_airflow_cannot_store_are_refused(arguments: dict[str, Any], problem: str) -> None:
    (found,) = transport_problems(arguments)

    assert problem in found
    assert problem == found or not problem.startswith("the arguments")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(nested(MAX_DEPTH - 1), id="the maximum depth"),
        pytest.param({"p": "x" * (MAX_BYTES - 9)}, id="the maximum size"),
        pytest.param({"p": ["the text \\u0000, spelled out"]}, id="NUL as six characters"),
        pytest.param({"p": [2**64 - 1, -(2**63), True, 1.5]}, id="numbers that fit into 64 bits"),
        pytest.param({}, id="no arguments"),
    ],
)
def test_other_arguments_are_accepted(arguments: dict[str, Any]) -> None:
    assert list(transport_problems(arguments)) == []


def test_whole_floats_become_integers() -> None:
    assert repr(with_whole_numbers({"a": [3.0, -0.0, 2.5, 2, True, None, "3.0"]})) == (
        "{'a': [3, 0, 2.5, 2, True, None, '3.0']}"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (" [1, 2.0] ", [1, 2]),
        ('{"a": null}', {"a": None}),
        ("9007199254740993", 2**53 + 1),
        ("-9007199254740993", -(2**53) - 1),
        ("9007199254740992", None),
        ("0009007199254740993", None),
        ("99999999999999999999", None),
        ("3", None),
        ("true", None),
        ('"text"', None),
        ("[1", None),
        ("[NaN]", None),
        ('["\\u0000"]', None),
        ("[" * 200 + "]" * 200, None),
        ("[" * 50_000, None),
        ("", None),
    ],
)
def test_only_lists_objects_and_large_numbers_are_parsed_from_strings(text: str, value: Any) -> None:
    assert json_within(text) == value


SCHEMA = {
    "properties": {
        "text": {"type": "string"},
        "n": {"type": "integer"},
        "maybe": {"type": ["null", "string"]},
        "kind": {"enum": ["1", "2"]},
        "size": {"enum": [1, 2]},
        "told": {"type": "integer", "enum": ["1"]},
    }
}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("text=3", {"text": "3"}),
        ("text=a=b", {"text": "a=b"}),
        ("text=@story.txt", {"text": "once"}),
        ("n=3", {"n": 3}),
        ("n=three", {"n": "three"}),
        ("maybe=null", {"maybe": None}),
        ("maybe=word", {"maybe": "word"}),
        ("kind=1", {"kind": "1"}),
        ("size=1", {"size": 1}),
        ("told=1", {"told": 1}),
        ('other=["a"]', {"other": ["a"]}),
    ],
)
def test_command_line_words_are_parsed_by_the_schema(word: str, value: dict[str, Any]) -> None:
    assert arguments_from_words([word], SCHEMA, read_file={"story.txt": "once"}.__getitem__) == value


def test_words_without_a_schema_are_parsed_as_json_or_text() -> None:
    assert arguments_from_words(["n=3", "text=a b"], {}, read_file=str) == {"n": 3, "text": "a b"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["text"], "'text' is not of the form key=value"),
        (["=x"], "'=x' is not of the form key=value"),
        (["n=1", "n=2"], "n is given twice"),
    ],
)
def test_malformed_words_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        arguments_from_words(words, SCHEMA, read_file=str)
