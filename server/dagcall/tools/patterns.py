r"""Regular expressions that mean the same to every client.

Pure. Airflow reads `pattern` with Python's `re`; clients read it as ECMA-262 with the `u` flag (ajv), with RE2 (Go) or
with Rust's `regex` (pydantic). A pattern that a client cannot compile can cost it its whole list of tools. Only syntax
common to all four is published, spelt so that it means the same to all: `.` becomes `[^\n]`. Clients are then stricter
than Airflow in two cases: `$`, because Python's allows a line break after it, and `\d`, which becomes `[0-9]` as in
ECMA-262, while Python's matches the digits of every script.
"""

import re

from dagcall.text import is_visible

MAX_LENGTH = 1000
MAX_DEPTH = 50
"""Maximum depth of nested groups."""
MAX_REPEATS = 1000
"""Maximum repetitions, with nested repetitions multiplied: the limit of RE2."""

_CONTROLS = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_LETTERS = {code: letter for letter, code in _CONTROLS.items() if letter not in "ab"}
_SYNTAX = frozenset(r"^$\.*+?()[]{}|")
_SYNTAX_IN_SET = frozenset(r"^\[]-")
_OPERATORS_OF_RUST = frozenset("&~")
"""Doubled within a set, these are operators in Rust. ECMA-262 has no `\\&`, but every engine has `\\x26`."""
_GROUP = re.compile(r"\((?:(\?:)|\?P<\w+>|(?!\?))")
_REPEAT = re.compile(r"(?:([*+?])|\{([0-9]+)\}|\{([0-9]*),([0-9]*)\})(\??)")
_CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")


class _NotCommon(Exception):
    """Some engine lacks this syntax or interprets it differently."""


def common_pattern(pattern: str) -> str | None:
    """Return the expression spelt so that every engine interprets it alike; None if there is no such spelling.

    Args:
        pattern: an expression that Python's `re` accepts.
    """
    try:
        return _Reader(pattern).whole() if len(pattern) <= MAX_LENGTH else None
    except _NotCommon:
        return None


class _Reader:
    """Reads an expression from left to right and rewrites it."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def whole(self) -> str:
        return self._alternatives()[0]

    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._next()
        self._at += 1
        return character

    def _match(self, expression: re.Pattern[str]) -> re.Match[str]:
        found = expression.match(self._pattern, self._at)
        if found is None:
            raise _NotCommon
        self._at = found.end()
        return found

    def _alternatives(self) -> tuple[str, int]:
        """Read up to the end of a group, or of all. Return also how often the most repeated part is repeated."""
        written, most = "", 1
        while self._next() not in {"", ")"}:
            if self._next() in "^$|":
                written += self._take()
                continue
            if self._pattern.startswith(("\\A", "\\Z"), self._at):
                self._take()
                written += "^" if self._take() == "A" else "$"
                continue
            piece, repeats = self._piece()
            text, times = self._repeat()
            written += piece + text
            most = max(most, repeats * times)
        if most > MAX_REPEATS:
            raise _NotCommon
        return written, most

    def _piece(self) -> tuple[str, int]:
        match self._next():
            case "(":
                return self._group()
            case "[":
                return self._set(), 1
            case ".":
                self._take()
                return r"[^\n]", 1
            case "\\":
                self._take()
                return self._escape(), 1
            case "*" | "+" | "?":  # after an anchor
                raise _NotCommon
            case _:
                return _literal(ord(self._take()), _SYNTAX), 1

    def _group(self) -> tuple[str, int]:
        opening = self._match(_GROUP)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _NotCommon
        inner, repeats = self._alternatives()
        self._depth -= 1
        self._take()
        return f"({opening[1] or ''}{inner})", repeats

    def _repeat(self) -> tuple[str, int]:
        if not _REPEAT.match(self._pattern, self._at):
            return "", 1
        sign, exactly, least, greatest, lazy = self._match(_REPEAT).groups()
        if self._next() == "+":  # possessive
            raise _NotCommon
        if sign:
            return f"{sign}{lazy}", 1
        if exactly:
            return f"{{{exactly}}}{lazy}", int(exactly)
        return f"{{{least or 0},{greatest}}}{lazy}", int(greatest or least or 1)

    def _escape(self) -> str:
        match self._next():
            case "d":
                self._take()
                return "[0-9]"
            case "b":  # within a set it is a backspace
                raise _NotCommon
            case _:
                return _literal(self._code(), _SYNTAX)

    def _code(self) -> int:
        """Read what follows a backslash, for one character."""
        letter = self._next()
        if letter in "xuU" and letter:
            return int(next(filter(None, self._match(_CODE).groups())), 16)
        self._take()
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter.isascii() and letter.isalnum():
            raise _NotCommon
        return ord(letter)

    def _set(self) -> str:
        self._take()
        written = "["
        if self._next() == "^":
            written += self._take()
        is_first = True
        while is_first or self._next() != "]":
            written += self._member()
            is_first = False
        return written + self._take()

    def _member(self) -> str:
        if self._pattern.startswith("\\d", self._at):
            self._at += 2
            return "0-9"
        written = self._character_of_set()
        if self._next() == "-" and self._pattern[self._at + 1 : self._at + 2] != "]":
            self._take()
            written += f"-{self._character_of_set()}"
        return written

    def _character_of_set(self) -> str:
        character = self._take()
        return _literal(self._code() if character == "\\" else ord(character), _SYNTAX_IN_SET)


def _literal(code: int, syntax: frozenset[str]) -> str:
    character = chr(code)
    if character in syntax:
        return f"\\{character}"
    if not character.isascii():
        if not is_visible(character):
            raise _NotCommon
        return character
    if letter := _LETTERS.get(code):
        return f"\\{letter}"
    return f"\\x{code:02X}" if not character.isprintable() or character in _OPERATORS_OF_RUST else character
