"""Text for models, terminals and logs: without invisible characters, and of limited length.

Pure.
"""

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_HIDDEN_LETTERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Fillers and variation selectors: letters and marks to Unicode, but invisible. Selectors can carry any text, one byte
each."""
_SENTENCE = re.compile(r".*[.!?。](?=\s)", re.DOTALL)
_LINE_ENDS = str.maketrans({"\u2028": "\n", "\u2029": "\n"})


def visible(text: str) -> str:
    """Drop characters that a reviewer cannot see but a model can read: controls, direction marks, tags.

    Drops Unicode's categories Cc (except line breaks and tabs), Cf, Cs, Co and Cn, fillers and variation selectors.
    Unicode's own line ends become line breaks.
    """
    if text.isascii() and text.isprintable():  # most lines of a log, of which each call has one
        return text
    return "".join(c for c in text.translate(_LINE_ENDS) if c in "\n\t" or is_visible(c))


def is_visible(character: str) -> bool:
    """Return whether a character is visible."""
    return unicodedata.category(character) not in _HIDDEN_CATEGORIES and not _HIDDEN_LETTERS.match(character)


def without_hidden(value: Any) -> Any:
    """Return JSON without invisible characters in any text, including keys."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [without_hidden(item) for item in value]
    if isinstance(value, dict):
        return {visible(name): without_hidden(item) for name, item in value.items()}
    return value


def has_hidden(value: Any) -> bool:
    """Return whether a text in this JSON contains invisible characters; carriage returns do not count."""
    if isinstance(value, str):
        text = value.replace("\r", "")
        return visible(text) != text
    if isinstance(value, dict):
        return any(has_hidden(name) or has_hidden(item) for name, item in value.items())
    return isinstance(value, list) and any(map(has_hidden, value))


def text_length(text: str) -> int:
    """Return the length of a text in UTF-16 units, as JavaScript counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, most: int) -> str:
    """Return a text, or its beginning up to the end of a sentence or at least a word, with `…`.

    Args:
        text: the text.
        most: its maximum length, as `text_length` counts.
    """
    if text_length(text) <= most:
        return text
    units = text.encode("utf-16-le", "surrogatepass")[: max(most - 2, 0) * 2]
    kept = units.decode("utf-16-le", "ignore")
    if (sentence := _SENTENCE.match(kept)) and len(sentence[0]) > len(kept) // 2:
        return f"{sentence[0]} …"
    return f"{kept.rsplit(maxsplit=1)[0] if kept.strip() else ''}…"


def in_one_line(text: str) -> str:
    """Return visible text without line breaks, for line-based formats."""
    return " ".join(visible(text).split())


def escaped(text: str) -> str:
    r"""Return JSON text, or any line, with invisible characters as JSON escapes: `\u200b`.

    The JSON value stays the same. Line breaks stay.
    """
    return "".join(
        c if c == "\n" or (is_visible(c) and ord(c) not in _LINE_ENDS) else json.dumps(c)[1:-1] for c in text
    )


def did_you_mean(name: str, known: Iterable[str], *, nothing: str = "there are none") -> str:
    """Return a clause for the end of a sentence about an unknown name: the nearest known name, or all of them."""
    names = list(known)
    if close := difflib.get_close_matches(name, names, n=1):
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(names)}" if names else f"; {nothing}"


def last_line(text: str) -> str:
    """Return the last line that is not blank, which names the exception of a traceback; empty without one."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def shortened(text: str, length: int = 300) -> str:
    """Keep both ends of a long text: a validator's message starts with the whole value and ends with the reason."""
    return text if len(text) <= length else f"{text[: length - 103]} … {text[-100:]}"
