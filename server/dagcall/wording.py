"""Turns of phrase that several messages share."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], *, nothing: str = "there are none") -> str:
    """Return a clause to end a sentence about an unknown name with: the nearest known one, else all of them."""
    names = list(known)
    if close := difflib.get_close_matches(name, names, n=1):
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(names)}" if names else f"; {nothing}"


def shortened(text: str, length: int = 300) -> str:
    """Keep both ends of a long text: a validator's message starts with the whole value and ends with the reason."""
    return text if len(text) <= length else f"{text[: length - 103]} … {text[-100:]}"
