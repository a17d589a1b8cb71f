import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.tools.pins import Pins, difference, differences, names_alike, pin_text, pins_from_texts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TOOLS = st.dictionaries(st.text(max_size=8), JSON, max_size=4)


@given(TOOLS)
def test_pin_text_parses_back_to_the_pinned_tool(tool: dict[str, Any]) -> None:
    assert json.loads(pin_text(tool)) == tool


@given(TOOLS)
def test_pin_contains_no_invisible_characters(tool: dict[str, Any]) -> None:
    categories = {unicodedata.category(character) for character in pin_text(tool) if character not in "\n "}
    assert not categories & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn", "Me"}


def test_pin_text_is_canonical() -> None:
    assert pin_text({"name": "é", "description": "a\u200bb\U000e0041"}) == (
        '{\n  "description": "a\\u200bb\\udb40\\udc41",\n  "name": "é"\n}\n'
    )


@pytest.mark.parametrize("hidden", ["\u2028", "\u2029", "\u00a0", "\u0301", "\u20dd", "\u200b", "\u202e", "\t"])
def test_characters_that_could_hide_in_a_review_are_escaped(hidden: str) -> None:
    assert json.dumps(hidden)[1:-1] in pin_text({"a": f"b{hidden}c"})


def test_order_of_keys_does_not_matter_but_order_of_arrays_does() -> None:
    before = Pins({"t": {"a": {"x": 1, "y": [1, 2]}}})
    assert differences(before, {"t": {"a": {"y": [1, 2], "x": 1}}}) == {}
    assert list(differences(before, {"t": {"a": {"x": 1, "y": [2, 1]}}})) == ["t"]


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, 1.0), ([0, 1], [False, True])])
def test_values_that_only_python_calls_equal_differ(before: Any, after: Any) -> None:
    pins = pins_from_texts({"t": pin_text({"name": "t", "inputSchema": {"enum": before}})})
    published = {"name": "t", "inputSchema": {"enum": after}}
    assert "tool t differs from its pin:\ninputSchema:\n" in (pins.objection(published) or "")
    assert differences(pins, {"t": published})["t"].startswith("inputSchema:\n")


def test_names_that_differ_only_in_case_are_found() -> None:
    assert names_alike(["sales", "Sales", "other", "SALES"]) == [["SALES", "Sales", "sales"]]
    assert names_alike(["a", "b", "B"]) == [["B", "b"]]


def test_missing_tool_is_reported_with_the_reason() -> None:
    meta = {"_meta": {"dagcall/dag_id": "some.dag"}}
    assert differences(Pins({"t": meta}), {}, withheld={"some.dag": "it is paused"}) == {
        "t": "pinned, but no longer published: it is paused"
    }


def test_added_and_removed_tools_are_reported() -> None:
    pins = Pins({"old": {}, "same": {}, "odd": {"_meta": 1}}, {"bad": "it is not JSON"})
    assert differences(pins, {"bad": {}, "new": {}, "same": {}}) == {
        "bad": "its pin is unusable: it is not JSON",
        "new": "published, but not pinned",
        "odd": "pinned, but no longer published",
        "old": "pinned, but no longer published",
    }


def test_renamed_tool_is_reported_with_both_names() -> None:
    meta = {"_meta": {"dagcall/dag_id": "some.dag"}}
    assert differences(Pins({"old": meta, "both": meta}), {"new": meta, "both": meta}) == {
        "new": "published, but not pinned; its dag was pinned as old",
        "old": "pinned, but no longer published; its dag is published as new",
    }


def test_tool_that_became_several_is_reported_with_all_names() -> None:
    meta = {"_meta": {"dagcall/dag_id": "some.dag"}}
    assert differences(Pins({"old": meta}), {"one": meta, "two": meta})["old"] == (
        "pinned, but no longer published; its dag is published as one, two"
    )


def test_difference_shows_one_line_of_context() -> None:
    lines = ["one", "two", "three", "four", "five", "six", "seven"]
    pinned = {"description": "\n".join(lines)}
    published = {"description": "\n".join(line.replace("four", "4") for line in lines)}

    assert difference(pinned, published).splitlines() == ["description:", "   three", "  -four", "  +4", "   five"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "it cannot be read"),
        ("{", "it is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ("[" * 100_000, None),
        ("[1]", "it does not contain a tool"),
        ("{}", "it contains the tool None"),
        ('{"name": "u"}', "it contains the tool 'u'"),
        (
            '{"name": "t", "description": "Kind.", "description": "E"}',
            "it contains the key 'description' twice in one object",
        ),
        ('{"name": "t", "a": {"\\u0062": 1, "b": 1}}', "it contains the key 'b' twice in one object"),
    ],
)
def test_unusable_pin_withholds_only_its_tool(text: str | None, reason: str | None) -> None:
    pins = pins_from_texts({"t": text, "good": '{"name": "good"}'})
    assert pins.tools == {"good": {"name": "good"}}
    assert list(pins.broken) == ["t"]
    assert reason is None or pins.broken["t"] == reason
    assert pins.objection({"name": "good"}) is None
    assert (pins.objection({"name": "t"}) or "").startswith("the pin of tool t is unusable: ")
    assert pins.objection({"name": "x"}) == "tool x is not pinned; review it and run: dagcall pin x"
    assert (pins.objection({"name": "good", "title": "x"}) or "").startswith("tool good differs from its pin:\ntitle:")


def test_difference_shows_the_description_first_and_hidden_characters() -> None:
    pinned = {"annotations": {"a": 1}, "description": "Adds.\nKindly.", "title": "Add", "inputSchema": {"--a": 1}}
    published = {
        "annotations": {"a": 2},
        "description": "Adds.\nAnd\u200b sends it off.",
        "title": "Add",
        "inputSchema": {},
        "_x": [1],
    }

    assert difference(pinned, published).splitlines() == [
        "description:",
        "   Adds.",
        "  -Kindly.",
        "  +And\\u200b sends it off.",
        "annotations:",
        "   {",
        '  -  "a": 1',
        '  +  "a": 2',
        "   }",
        "inputSchema:",
        "  -{",
        '  -  "--a": 1',
        "  -}",
        "  +{}",
        "_x:",
        "  +[",
        "  +  1",
        "  +]",
    ]
