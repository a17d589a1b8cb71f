"""Plain text from Markdown, without invisible characters."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.text import (
    cut,
    did_you_mean,
    escaped,
    has_hidden,
    in_one_line,
    last_line,
    shortened,
    text_length,
    visible,
    without_hidden,
)
from dagcall.tools.markdown import Fence, fences, first_paragraph, plain_text


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("One two.", 8, "One two."),
        ("One two. Three four. Five", 24, "One two. Three four. …"),
        ("One. Two three four five six", 20, "One. Two three…"),
        ("Word", 3, "W…"),
        ("\N{GRINNING FACE}" * 4, 6, "\N{GRINNING FACE}" * 2 + "…"),
        ("   x", 3, "…"),
        ("a\N{GRINNING FACE}" * 3, 6, "a\N{GRINNING FACE}a…"),
        ("a\ud800 b c d", 6, "a…"),
        ("Word", 0, "…"),
    ],
)
def test_a_long_text_ends_at_a_sentence_or_a_word(text: str, most: int, kept: str) -> None:
    assert cut(text, most) == kept


@given(st.text(max_size=60), st.integers(2, 60))
def test_cut_text_is_no_longer_than_the_limit(text: str, most: int) -> None:
    assert text_length(cut(text, most)) <= most


@pytest.mark.parametrize(
    ("markdown", "paragraph"),
    [
        ("", ""),
        ("# Only a title", ""),
        ("- a list\n- of things\n\nThen `code` and [a link](http://x).", "Then code and a link."),
        ("```\ncode\n```\nText", "Text"),
        ("one  \ntwo\nthree", "one two three"),
        pytest.param(
            "\n    # Title\n\n    The docstring\n    of a function.\n", "The docstring of a function.", id="def"
        ),
    ],
)
def test_the_first_paragraph_is_plain_text(markdown: str, paragraph: str) -> None:
    assert first_paragraph(markdown) == paragraph


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("", ""),
        ("Where **to**", "Where to"),
        (
            "# Region\n\nOne of\n\n* `north`\n* [south](http://x)\n\n```\nor both\n```\n",
            "Region One of north south or both",
        ),
    ],
)
def test_plain_text_drops_the_markup(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text


def test_fences_have_their_line_numbers() -> None:
    markdown = (
        "\n    Text.\n\n    ```toml dagcall\n    a = 1\n    b = 2\n    ```\n\n    > ~~~\n    > quoted\n    > ~~~\n"
    )

    assert list(fences(markdown)) == [
        Fence(("toml", "dagcall"), 5, "a = 1\nb = 2\n"),
        Fence((), 10, "quoted\n"),
    ]


@given(st.text())
def test_visible_text_is_stable_and_encodable(text: str) -> None:
    shown = visible(text)

    assert visible(shown) == shown
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb\u202ec\U000e0041d\x1b[31me\x9bf\rg", "abcd[31mefg"),
        ("a\ufe0fb\U000e0100c\u3164d\u034fe", "abcde"),
        ("a\u2028b\u2029c\u0085d", "a\nb\ncd"),
        ("é e\u0301 \u4e2d \U0001f600\n\t", "é e\u0301 \u4e2d \U0001f600\n\t"),
    ],
)
def test_invisible_characters_are_removed(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_in_one_line_replaces_line_breaks_and_tabs() -> None:
    assert in_one_line("a\n2026-01-01 INFO\u2028b\tc") == "a 2026-01-01 INFO b c"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_escaped_json_is_equivalent_and_hides_nothing(value: Any) -> None:
    text = escaped(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert not {unicodedata.category(c) for c in text if c != "\n"} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_only_hidden_characters_are_removed_from_json() -> None:
    assert without_hidden({"a\u200b": ["b\u200b", {"c": "d\u200b"}, 1, None, True]}) == {
        "a": ["b", {"c": "d"}, 1, None, True]
    }


@given(JSON)
def test_cleaned_json_has_no_hidden_characters(value: Any) -> None:
    assert not has_hidden(without_hidden(value))


@pytest.mark.parametrize("value", ["\u200b", ["\u200b"], {"\u200b": 1}, {"a": [{"b": "\u200b"}]}])
def test_hidden_characters_are_found_at_any_depth(value: Any) -> None:
    assert has_hidden(value)
    assert not has_hidden(["C:\\users", "a\r\nb", 1, None, {}])


@pytest.mark.parametrize(
    ("name", "known", "clause"),
    [
        ("ad", ["add", "adder", "other"], "; did you mean 'add'?"),
        ("quite different", ["add", "held"], "; there are add, held"),
        ("add", [], "; there are none"),
    ],
)
def test_unknown_name_gets_a_suggestion_or_a_list(name: str, known: list[str], clause: str) -> None:
    assert did_you_mean(name, known) == clause
    assert did_you_mean(name, iter(known)) == clause


def test_unknown_name_among_none_gets_the_callers_words() -> None:
    assert did_you_mean("add", [], nothing="no dag is published") == "; no dag is published"


def test_long_text_keeps_both_ends() -> None:
    text = "a" * 150 + "b" * 150
    assert shortened(text) == text
    assert shortened(text + "c") == "a" * 150 + "b" * 47 + " … " + "b" * 99 + "c"
    assert len(shortened(text + "c")) == 300
    assert shortened(text, 120) == "a" * 17 + " … " + "b" * 100


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("One. Two three four", 9, "One. …"),  # the sentence is more than half of what fits
        ("One. Two three four", 10, "One.…"),  # it is half of it, so whole words are kept
        ("One. Two three four", 12, "One. Two…"),
    ],
)
def test_cut_text_ends_with_a_long_sentence_or_a_word(text: str, most: int, kept: str) -> None:
    assert cut(text, most) == kept


@pytest.mark.parametrize(("text", "last"), [("a\n  b \n\n \n", "  b "), ("a", "a"), ("\n \n", ""), ("", "")])
def test_last_line_is_the_last_that_is_not_blank(text: str, last: str) -> None:
    assert last_line(text) == last
