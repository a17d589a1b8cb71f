"""Validation as by jsonschema, but in bounded time: values that take too long to validate are refused."""

import re
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator

from dagcall.tools.validation import Checker, Uncheckable, one_budget

FORMATS = FormatChecker(("regex",))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, 0.0, -1, 1.5, 10**20, 1e20, "", "a", "b", "0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
ALIKE = st.lists(
    st.sampled_from([0, False, "a", 1, True, [0], [False], [1], [True], {"a": 0}, {"a": False}]), max_size=5
)
PIECES = [
    "a",
    "b",
    "[",
    "]",
    "[:alpha:]",
    "[a-c]",
    "{e}",
    "{1}",
    "{,2}",
    "{e<=1}",
    "(",
    ")",
    "|",
    "*",
    "?",
    "\\{",
    "^",
    "$",
]
PIECES += ["(?=a)", "(?i)", "\\w", "\\d", "\\Z", "||", "--", "&&", "[[", "\\[", "\\b", "\\]", "(?P<x>", "(?P=x)", "."]


@pytest.mark.untraced
@settings(max_examples=400, deadline=None)
@given(st.lists(VALUES, max_size=5) | ALIKE, VALUES)
@example([[0], [False], [0]], None)
def test_equality_of_values_matches_jsonschema(values: list[Any], value: Any) -> None:
    for schema in ({"uniqueItems": True}, {"enum": values}, {"const": value}, {"contains": {"const": value}}):
        for instance in (values, value):
            theirs = Draft202012Validator(schema).is_valid(instance)
            ours = Checker.of(schema, Draft202012Validator).is_valid(instance)
            assert ours is theirs, (schema, instance)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join), st.text(st.sampled_from("ab[]:{}e&-|\n"), max_size=6)
)
@example("a{e}", "a{e}")
@example("[[:alpha:]]", ":]")
@example("[\\[:a:]", "[")
@pytest.mark.filterwarnings("ignore:Possible")
def test_pattern_matches_as_in_re(pattern: str, text: str) -> None:
    try:
        found = re.search(pattern, text) is not None
    except (re.error, OverflowError):
        assume(False)  # noqa: FBT003 - tells hypothesis to try another example
    assert Checker.of({"pattern": pattern}, Draft202012Validator).is_valid(text) is found


NAMES: dict[str, Any] = {"properties": {"a": {"type": "integer"}}, "patternProperties": {"^b": {"type": "string"}}}


@pytest.mark.parametrize("dialect", [Draft202012Validator, Draft7Validator, Draft4Validator])
@pytest.mark.parametrize("others", [True, False, {"type": "null"}])
@pytest.mark.parametrize("value", [{"a": 1, "bc": "x", "d": None}, {"bc": 1}, {"d": 1, "e": 2}, {"a": "x"}, {}, 3])
def test_errors_about_keys_match_jsonschema(dialect: type[Validator], others: Any, value: Any) -> None:
    schema = {**NAMES, "additionalProperties": others}

    theirs = sorted(error.message for error in dialect(schema).iter_errors(value))

    assert sorted(error.message for error in Checker.of(schema, dialect).errors(value, most=9)) == theirs


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": "string"}, None, ": null is not of type 'string'"),
        ({"enum": ["a", None, True]}, "b", ": 'b' is not one of ['a', null, true]"),
        ({"const": None}, "b", ": null was expected"),
        ({"items": {"anyOf": [{"type": "null"}]}}, [True], "[0]: true is not valid under any of the given schemas"),
        ({"minItems": 3}, [None, "é"], ': [null, "é"] is too short'),
        ({"format": "regex"}, "(", ": '(' is not a 'regex'"),
        ({"pattern": "b"}, "a", ": 'a' does not match 'b'"),
    ],
)
def test_a_problem_is_reported_in_json_notation(schema: dict[str, Any], value: Any, problem: str) -> None:
    assert Checker.of(schema, Draft202012Validator, FORMATS).problems(value, most=1) == [problem]


def twice(levels: int) -> dict[str, Any]:
    """Return a schema in which each level refers to the next one twice, which doubles the work."""
    both = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**both, f"d{levels}": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        pytest.param({"pattern": r"(a|a)*$"}, "a" * 60 + "b", "takes too long to match", id="pattern"),
        pytest.param(
            {"patternProperties": {r"(a|a)*$": {}}}, {"a" * 60 + "b": 1}, "takes too long to match", id="keys"
        ),
        pytest.param(
            {"patternProperties": {r"(a|a)*$": {}}, "additionalProperties": False},
            {"a" * 60 + "b": 1},
            "takes too long to match",
            id="other keys",
        ),
        pytest.param(twice(40), 1, "takes too long to validate", id="references"),
        pytest.param({"items": {"enum": [1]}}, [1] * 300_000, "takes too long to validate", id="many values"),
        pytest.param({"format": "regex"}, "a" * 1001, "is longer than 1,000 characters", id="long regex"),
        pytest.param({"$ref": "#"}, 1, "cannot be validated against its schema; send a simpler value", id="endless"),
        pytest.param({"$ref": "#/$defs/x"}, 1, "cannot be validated against its schema: ", id="nowhere"),
        pytest.param({"$ref": "http://127.0.0.1:1/x"}, 1, "cannot be validated against its schema: ", id="elsewhere"),
    ],
)
def test_validation_that_takes_too_long_is_uncheckable(schema: dict[str, Any], value: Any, reason: str) -> None:
    checker = Checker.of(schema, Draft202012Validator, FORMATS)

    with pytest.raises(Uncheckable, match=reason):
        checker.errors(value, most=1)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param({"uniqueItems": True}, [{"a": n} for n in range(20_000)], id="objects, each different"),
        pytest.param({"items": {"enum": list(range(10_000))}}, list(range(10_000)), id="one of many"),
        pytest.param({"items": {"pattern": "^a+$"}}, ["a" * 50] * 10_000, id="many short matches"),
    ],
)
def test_large_value_can_be_validated(schema: dict[str, Any], value: Any) -> None:
    assert Checker.of(schema, Draft202012Validator).is_valid(value)


@pytest.mark.untraced
def test_checks_within_one_budget_share_it() -> None:
    checker = Checker.of({"items": {"type": "integer"}}, Draft202012Validator)
    values = [1] * 150_000

    assert checker.is_valid(values)
    assert checker.is_valid(values)
    with one_budget():
        assert checker.is_valid(values)
        with pytest.raises(Uncheckable):
            checker.is_valid(values)
