"""What people wrote, as a model should read it: plain text without Markdown's marks, and nothing invisible.

Pure. Airflow renders `doc_md` and `description_md` for people; to a model the marks are noise.
"""

import json
import re
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_HIDDEN_LETTERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Fillers and variation selectors: letters and marks to Unicode, nothing at all on a screen. The selectors can carry
any text, one byte each."""
_SENTENCE = re.compile(r".*[.!?。](?=\s)", re.DOTALL)
_LINE_ENDS = str.maketrans({"\u2028": "\n", "\u2029": "\n"})


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced code block."""

    words: tuple[str, ...]
    """Its info string: what stands behind the opening fence."""
    first_line: int
    """The number of its first line of content in the whole text; the text begins with line 1."""
    content: str


def first_paragraph(markdown: str) -> str:
    """Return the first paragraph as plain text; headings, lists and code before it are skipped."""
    tokens = _parsed(markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "paragraph_open" and opening.level == 0:
            return _plain(inline)
    return ""


def plain_text(markdown: str) -> str:
    """Return the whole text without Markdown's marks, on one line."""
    tokens = (token for token in _parsed(markdown) if token.content)
    parts = (_plain(token) if token.type == "inline" else token.content for token in tokens)
    return " ".join(" ".join(parts).split())


def fences(markdown: str) -> Iterator[Fence]:
    """Yield the fenced code blocks, those within lists and quotations included."""
    for token in _parsed(markdown):
        if token.type == "fence" and token.map is not None:
            yield Fence(tuple(token.info.split()), token.map[0] + 2, token.content)


def visible(text: str) -> str:
    """Drop the characters that a reviewer cannot see and a model can read: controls, direction marks, tags.

    Unicode's categories Cc (but for line breaks and tabs), Cf, Cs, Co and Cn, fillers and variation selectors.
    Unicode's own line ends become line breaks.
    """
    return "".join(c for c in text.translate(_LINE_ENDS) if c in "\n\t" or is_visible(c))


def is_visible(character: str) -> bool:
    """Say whether something is seen where this character stands."""
    return unicodedata.category(character) not in _HIDDEN_CATEGORIES and not _HIDDEN_LETTERS.match(character)


def without_hidden(value: Any) -> Any:
    """Return JSON with every text in it visible, names of objects included."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [without_hidden(item) for item in value]
    if isinstance(value, dict):
        return {visible(name): without_hidden(item) for name, item in value.items()}
    return value


def has_hidden(value: Any) -> bool:
    """Say whether a text in this JSON holds what cannot be seen; carriage returns do not count."""
    if isinstance(value, str):
        text = value.replace("\r", "")
        return visible(text) != text
    if isinstance(value, dict):
        return any(has_hidden(name) or has_hidden(item) for name, item in value.items())
    return isinstance(value, list) and any(map(has_hidden, value))


def text_length(text: str) -> int:
    """Return how long a text is to JavaScript: in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, most: int) -> str:
    """Return a text, or its beginning up to the end of a sentence or at least of a word, with `…`.

    Args:
        text: what somebody wrote.
        most: how long it may be, as `text_length` counts.
    """
    if text_length(text) <= most:
        return text
    units = text.encode("utf-16-le", "surrogatepass")[: max(most - 2, 0) * 2]
    kept = units.decode("utf-16-le", "ignore")
    if (sentence := _SENTENCE.match(kept)) and len(sentence[0]) > len(kept) // 2:
        return f"{sentence[0]} …"
    return f"{kept.rsplit(maxsplit=1)[0] if kept.strip() else ''}…"


def in_one_line(text: str) -> str:
    """Return visible text without line breaks, for where one line is one statement."""
    return " ".join(visible(text).split())


def escaped(text: str) -> str:
    r"""Return JSON text, or a line of anything, with what cannot be seen as JSON's escapes: `\u200b`.

    In JSON it means the same as before. Line breaks stay.
    """
    return "".join(
        c if c == "\n" or (is_visible(c) and ord(c) not in _LINE_ENDS) else json.dumps(c)[1:-1] for c in text
    )


def _parsed(markdown: str) -> list[Token]:
    # A docstring's lines are indented from the second one on, which Markdown would take for code.
    first, *rest = markdown.splitlines() or [""]
    return MarkdownIt().parse("\n".join([first, textwrap.dedent("\n".join(rest))]))


def _plain(inline: Token) -> str:
    parts = ("\n" if child.type in {"softbreak", "hardbreak"} else child.content for child in inline.children or ())
    return " ".join("".join(parts).split())
