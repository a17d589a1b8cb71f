"""Hypothesis strategies for all kinds of arguments that a program in any language can send."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

ODD_NUMBERS = [2**31, 2**53 + 1, 2**63, -(2**64), 10**400, 1e308, -0.0, float("nan"), float("inf")]
ODD_TEXTS = [
    *("", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\u202e\u200b\U000e0041", "\x1b[2J", "\r\n", "x" * 70_000),
    *("null", "NaN", "{{ 1/0 }}", "'; DROP TABLE dag_run; --", "../../etc/passwd", "http://127.0.0.1:1/", "$ref"),
    *("2026-01-01", "2026-01-01T00:00:00", "2026-02-30T25:61:00Z", "0000-00-00", "9999999-01-01T00:00:00Z", "24:00:00"),
    *("a@b", "a@b.example", "::1", "1.2.3.4", "(", "(a+)+$", "0" * 40),
]
LIKE_DEFAULTS = [0, 1, -1, 3, 1.0, 2.5, True, None, [], {}, [1], ["a"], {"a": 1}, "x", "one", "two"]


@dataclass(frozen=True)
class Large:
    """A placeholder for a value that cannot be printed, replaced by `grown`."""

    digits: int = 0
    """The number of digits of an integer."""
    levels: int = 0
    """The nesting depth of arrays and objects."""


LARGE = [Large(digits=5000), Large(levels=90), Large(levels=150), Large(levels=5000)]


def grown(value: Any) -> Any:
    """Return a value with its placeholders replaced by large values."""
    if isinstance(value, Large):
        return 10**value.digits if value.digits else _deep(value.levels)
    if isinstance(value, dict):
        return {name: grown(item) for name, item in value.items()}
    return [grown(item) for item in value] if isinstance(value, list) else value


def _deep(levels: int) -> Any:
    value: Any = 0
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def any_json() -> st.SearchStrategy[Any]:
    """Return a strategy for JSON values and values that resemble JSON, with `Large` placeholders."""
    plain: st.SearchStrategy[Any] = st.one_of(
        st.sampled_from([*LIKE_DEFAULTS, *ODD_NUMBERS, *ODD_TEXTS]),
        st.text(st.characters(), max_size=20),
        st.integers(),
        st.floats(),
        st.sampled_from(LARGE),
    )
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner),
        max_leaves=6,
    )


def any_arguments(names: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for arguments with some or all of these names, and sometimes others; apply `grown` to them."""
    values = any_json()
    known = st.fixed_dictionaries({}, optional=dict.fromkeys(names, values))
    others: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.dictionaries(
        st.text(st.characters(), max_size=8), values, max_size=2
    )
    return st.builds(lambda more, given: {**more, **given}, others, known)
