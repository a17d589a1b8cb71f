import json
import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dagcall.pins import difference, differences, pin_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TOOLS = st.dictionaries(st.text(max_size=8), JSON, max_size=4)


@given(TOOLS)
def test_a_pin_reads_back_as_what_was_pinned(tool: dict[str, Any]) -> None:
    assert json.loads(pin_text(tool)) == tool


@given(TOOLS)
def test_nothing_invisible_stands_in_a_pin(tool: dict[str, Any]) -> None:
    categories = {unicodedata.category(character) for character in pin_text(tool) if character not in "\n "}
    assert not categories & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn", "Me"}


def test_the_canonical_text() -> None:
    assert pin_text({"name": "é", "description": "a\u200bb\U000e0041"}) == (
        '{\n  "description": "a\\u200bb\\udb40\\udc41",\n  "name": "é"\n}\n'
    )


def test_the_order_of_keys_does_not_matter_and_that_of_arrays_does() -> None:
    before = {"t": {"a": {"x": 1, "y": [1, 2]}}}
    assert differences(before, {"t": {"a": {"y": [1, 2], "x": 1}}}) == {}
    assert list(differences(before, {"t": {"a": {"x": 1, "y": [2, 1]}}})) == ["t"]


def test_tools_that_come_and_go_are_told() -> None:
    assert differences({"old": {}, "same": {}}, {"new": {}, "same": {}}) == {
        "new": "published, but not pinned",
        "old": "pinned, but not published any more",
    }


def test_the_description_comes_first_and_shows_what_is_hidden() -> None:
    pinned = {"annotations": {"a": 1}, "description": "Adds.\nKindly.", "title": "Add"}
    published = {"annotations": {"a": 2}, "description": "Adds.\nAnd\u200b sends it off.", "title": "Add", "x": [1]}

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
        "x:",
        "  +[",
        "  +  1",
        "  +]",
    ]
