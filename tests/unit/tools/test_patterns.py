"""A published `pattern` means the same to Python, ECMA-262 with its `u` flag (V8), RE2 and Rust (pydantic)."""

import json
import re
from typing import Annotated, Any

import pytest
import re2  # type: ignore[import-untyped]
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from py_mini_racer import MiniRacer
from pydantic import StringConstraints, TypeAdapter, ValidationError

from dagcall.tools.patterns import common_pattern

PIECES = [
    *(
        "a",
        "b",
        "1",
        " ",
        "-",
        "/",
        "&",
        "~",
        "ü",
        "日",
        "]",
        "}",
        "{",
        ",",
        "\n",
        '"',
        "\\.",
        "\\-",
        "\\/",
        "\\d",
        ".",
    ),
    *("\\x41", "\\u0042", "\\t", "\\\\", "^", "$", "|", "(", ")", "(?:", "(?P<n>", "\\A", "\\Z", "*", "+", "?", "{2}"),
    *("{0,2}", "{,2}", "{1,}", "*?", "[", "[^", "[]a]", "[a-c]", "[\\d-]", "[&&~~--[]", "\\w", "\\s", "(?i)", "(?=a)"),
]
patterns = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
texts = st.text(st.sampled_from('ab1 -/&~ü日]}{,\n\t\\.B"['), max_size=8)


@pytest.mark.parametrize(
    ("pattern", "common"),
    [
        pytest.param("^SO-[0-9]{4}$", "^SO-[0-9]{4}$", id="as it is"),
        pytest.param(r"^\d{4}-[\d.]+$", "^[0-9]{4}-[0-9.]+$", id="digits"),
        pytest.param(r"\A.*\Z", r"^[^\n]*$", id="ends, and anything but a line break"),
        pytest.param(r"(?P<year>a)(?:b)", "(a)(?:b)", id="names of groups"),
        pytest.param("a{,3}b{2,}?{x}", r"a{0,3}b{2,}?\{x\}", id="braces"),
        pytest.param(
            r"[]a^-][^\b&~]\-\@\/", r"[\]a\^\-][^\x08\x26\x7E]-@/", id="other characters that need a backslash"
        ),
        pytest.param("[\\u0400-\\u04FF]\\x41ü", "[Ѐ-ӿ]Aü", id="characters by number"),
        pytest.param("(|a)", "(|a)", id="nothing"),
    ],
)
def test_common_syntax_is_rewritten_for_all_engines(pattern: str, common: str) -> None:
    assert common_pattern(pattern) == common


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            r"^(?=.*\d)",
            r"(?!a)",
            r"(?<=a)b",
            "(?i)a",
            "(?>a)",
            "a++",
            "a{0,2}+",
            "a{2}+",
            r"(a)\1",
            "(?P<n>a)(?P=n)",
            "(?#hi)",
        ),
        *(r"\w", r"\W", r"[\w-]", r"\s", r"\S", r"\D", r"\b", r"\B", r"\N{BULLET}", r"\0", r"(a)\g", "(?s:.)"),
        *("a{1001}", "(a{100}){11}", "a" * 1001, "(" * 51 + ")" * 51, "[\u200b]", "\ud800", r"\u200b", "(?a)x", "^*"),
    ],
)
def test_syntax_that_engines_do_not_share_has_no_common_pattern(pattern: str) -> None:
    assert common_pattern(pattern) is None


def is_found_in_rust(pattern: str, text: str) -> bool:
    try:
        TypeAdapter[Any](Annotated[str, StringConstraints(pattern=pattern)]).validate_python(text)
    except ValidationError:
        return False
    return True


@pytest.fixture(scope="module")
def v8() -> MiniRacer:
    return MiniRacer()


@pytest.mark.untraced
@settings(max_examples=600, deadline=None)
@given(patterns, st.lists(texts, min_size=1, max_size=4))
@example("[&&~~--[]", ["&", "-", "["])
@example("a{2}{", ["aa{"])
@pytest.mark.filterwarnings("ignore:Possible")
def test_every_engine_finds_what_python_finds(v8: MiniRacer, pattern: str, texts: list[str]) -> None:
    try:
        in_python = re.compile(pattern)
    except (re.error, OverflowError):
        assume(False)  # noqa: FBT003 - tells hypothesis to try another example
    common = common_pattern(pattern)
    assume(common is not None)
    assert common is not None
    assert common_pattern(common) == common

    for text in texts:
        if text.endswith("\n"):  # where Python's `$` also matches before the end
            continue
        found = in_python.search(text) is not None
        assert v8.eval(f"new RegExp({json.dumps(common)}, 'u').test({json.dumps(text)})") is found
        assert (re2.search(common, text) is not None) is found
        assert is_found_in_rust(common, text) is found
