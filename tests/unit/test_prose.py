"""What is left of Markdown, and of characters that nobody sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.prose import Fence, fences, first_paragraph, plain_text, visible


@pytest.mark.parametrize(
    ("markdown", "paragraph"),
    [
        ("", ""),
        ("# Only a title", ""),
        ("- a list\n- of things\n\nThen `code` and [a link](http://x).", "Then code and a link."),
        ("```\ncode\n```\nText", "Text"),
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
def test_plain_text_keeps_the_words_and_no_marks(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text


def test_fences_know_their_lines() -> None:
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
