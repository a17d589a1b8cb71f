"""Markdown -> plain text without markup, and its fenced blocks.

Pure. Airflow renders `doc_md` and `description_md` for people; for a model, the markup is noise.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt()


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced code block."""

    words: tuple[str, ...]
    """Its info string: the words after the opening fence."""
    first_line: int
    """The line number of its first line of content; the text begins with line 1."""
    content: str


def first_paragraph(markdown: str) -> str:
    """Return the first paragraph as plain text; headings, lists and code before it are skipped."""
    tokens = _parsed(markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "paragraph_open" and opening.level == 0:
            return _plain(inline)
    return ""


def plain_text(markdown: str) -> str:
    """Return the whole text without Markdown's markup, on one line."""
    tokens = (token for token in _parsed(markdown) if token.content)
    parts = (_plain(token) if token.type == "inline" else token.content for token in tokens)
    return " ".join(" ".join(parts).split())


def fences(markdown: str) -> Iterator[Fence]:
    """Yield the fenced code blocks, including those in lists and quotations."""
    for token in _parsed(markdown):
        if token.type == "fence" and token.map is not None:
            yield Fence(tuple(token.info.split()), token.map[0] + 2, token.content)


def _parsed(markdown: str) -> list[Token]:
    # A docstring is indented from its second line on, which Markdown would read as code.
    first, *rest = markdown.splitlines() or [""]
    return _PARSER.parse("\n".join([first, textwrap.dedent("\n".join(rest))]))


def _plain(inline: Token) -> str:
    parts = ("\n" if child.type in {"softbreak", "hardbreak"} else child.content for child in inline.children or ())
    return " ".join("".join(parts).split())
