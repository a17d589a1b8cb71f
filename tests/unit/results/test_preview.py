"""Previews of large values, the lists of what they omit, and reading a value completely, part by part."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagcall.errors import Unreadable
from dagcall.results.preview import (
    LONGEST_NAME,
    MAX_PATH,
    Excerpt,
    Page,
    exact_numbers,
    json_size,
    json_text,
    part,
    preview_of,
)

LIMIT = 10_000
"""The smallest limit that an operator may set."""
ROWS = [{"id": number, "note": "ä" * 50} for number in range(1000)]
LONG = "n" * (LONGEST_NAME + 1)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(), inner, max_size=30),
    max_leaves=100,
)


def nested(levels: int) -> Any:
    value: Any = "deep"
    for _ in range(levels):
        value = {"down": value}
    return value


def shape_fits(shown: Any, value: Any) -> bool:
    """Say whether `shown` is `value` with some of it omitted."""
    if isinstance(shown, str) and isinstance(value, str):
        return value.startswith(shown)
    if isinstance(shown, list) and isinstance(value, list):
        return len(shown) <= len(value) and all(map(shape_fits, shown, value))
    if isinstance(shown, dict) and isinstance(value, dict):
        return all(name in value and shape_fits(item, value[name]) for name, item in shown.items())
    return type(shown) is type(value) and shown == value


# Previews


@pytest.mark.parametrize(
    ("value", "excerpt"),
    [
        pytest.param({"a": [1, "x", None]}, Excerpt({"a": [1, "x", None]}), id="a value that fits"),
        pytest.param(
            {"t": ROWS},
            Excerpt({"t": ROWS[:10]}, ({"path": "/t", "what": "items 10 to 999 of 1,000"},)),
            id="a list",
        ),
        pytest.param(
            {"t": "x" * 1001},
            Excerpt({"t": "x" * 1000}, ({"path": "/t", "what": "character 1,000 of 1,001"},)),
            id="a string that lacks one character",
        ),
        pytest.param(
            {"a/b~c": "x" * 2000},
            Excerpt({"a/b~c": "x" * 1000}, ({"path": "/a~1b~0c", "what": "characters 1,000 to 1,999 of 2,000"},)),
            id="a name that a path has to escape",
        ),
        pytest.param(
            {str(number): number for number in range(101)},
            Excerpt({str(number): number for number in range(100)}, ({"path": "", "what": "key 100 of 101"},)),
            id="an object",
        ),
        pytest.param(
            nested(11),
            Excerpt(json.loads('{"down":' * 10 + "{}" + "}" * 10), ({"path": "/down" * 10, "what": "the only key"},)),
            id="a deep key",
        ),
        pytest.param(
            json.loads('{"down":' * 10 + '{"a": 1, "b": 2}' + "}" * 10),
            Excerpt(json.loads('{"down":' * 10 + "{}" + "}" * 10), ({"path": "/down" * 10, "what": "all 2 keys"},)),
            id="two deep keys",
        ),
        pytest.param({LONG[1:]: 1}, Excerpt({LONG[1:]: 1}), id="a key of the longest length"),
        pytest.param(
            {LONG: 1, "b": 2},
            Excerpt({"b": 2}, ({"path": "", "what": "key 0, whose name alone is 201 characters"},)),
            id="a key that is too long",
        ),
        pytest.param(
            {"wide": {str(number): "x" * 100 for number in range(90)} | {"inner": [["y" * 1000] * 30] * 3}},
            Excerpt(
                {
                    "wide": {str(number): "x" * 60 for number in range(10)},
                },
                (
                    {"path": "/wide", "what": "keys 10 to 90 of 91"},
                    *({"path": f"/wide/{number}", "what": "characters 60 to 99 of 100"} for number in range(10)),
                ),
            ),
            id="several at once, the outer first",
        ),
    ],
)
def test_preview_shows_the_beginning_and_lists_what_is_omitted(value: Any, excerpt: Excerpt) -> None:
    assert preview_of(value, max_bytes=2000) == excerpt


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (list(range(20)), None),
        (list(range(30)), "items 20 to 29 of 30"),
        ({str(number): number for number in range(100)}, None),
        ({str(number): number for number in range(102)}, "keys 100 to 101 of 102"),
        ("x" * 1000, None),
    ],
)
def test_preview_limits_items_keys_and_characters(value: Any, what: str | None) -> None:
    shown = preview_of(value, max_bytes=100_000)

    assert shown.omitted == (({"path": "", "what": what},) if what else ())
    assert shape_fits(shown.value, value)


def test_preview_may_use_all_bytes() -> None:
    value = {"t": "x" * 1000}
    whole = json_size([value, [], {}])

    assert preview_of(value, max_bytes=whole).value == value
    assert preview_of(value, max_bytes=whole - 1).value == {"t": "x" * 500}


def test_a_preview_leaves_room_for_its_exact_numbers() -> None:
    value = {"t": [2**60 + number for number in range(20)]}

    assert preview_of(value, max_bytes=1200).omitted == ()
    assert preview_of(value, max_bytes=1000).omitted == ({"path": "/t", "what": "items 10 to 19 of 20"},)


def test_value_too_large_for_a_preview_is_listed_as_omitted() -> None:
    names = {f"{number:0150}": {f"{number:0150}": "x"} for number in range(1000)}

    assert preview_of(names, path="/t", max_bytes=100) == Excerpt({}, ({"path": "/t", "what": "all 1,000 keys"},))
    assert preview_of("long", path="/t", max_bytes=1) == Excerpt("", ({"path": "/t", "what": "all 4 characters"},))


@settings(deadline=None, max_examples=40)
@given(json_values, st.integers(300, 3000))
def test_preview_keeps_the_shape_of_the_value_and_the_size_limit(value: Any, max_bytes: int) -> None:
    shown = preview_of(value, max_bytes=max_bytes)

    assert shape_fits(shown.value, value)
    assert bool(shown.omitted) == (shown.value != value)
    assert json_size([shown.value, shown.omitted]) <= max_bytes or shown.value in ([], {}, "", value)


# Parts


RESULTS = {"rows": ROWS, "text": "é\n" * 20_000, "n": 7, "a/b~c": {"k": [None]}, "none": [], "nothing": {}}


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        pytest.param("/n", {}, Page(7), id="a number"),
        pytest.param("/a~1b~0c/k/0", {}, Page(None), id="null, below escaped names"),
        pytest.param("/a~1b~0c", {}, Page({"k": [None]}, 0, 1), id="an object"),
        pytest.param("/none", {}, Page([], 0, 0), id="an empty list"),
        pytest.param("/rows", {"limit": 2}, Page(ROWS[:2], 0, 1000, 2), id="the first items"),
        pytest.param("/rows", {"offset": 998, "limit": 5}, Page(ROWS[998:], 998, 1000), id="the last items"),
        pytest.param("/rows", {"offset": 1000}, Page([], 1000, 1000), id="the end"),
        pytest.param("/text", {"offset": 3, "limit": 2}, Page("\né", 3, 40_000, 5), id="characters"),
        pytest.param("", {"offset": 2, "limit": 1}, Page({"n": 7}, 2, 6, 3), id="keys"),
        pytest.param(
            "",
            {"limit": 1},
            Page({"rows": ROWS[:10]}, 0, 6, 1, ({"path": "/rows", "what": "items 10 to 999 of 1,000"},)),
            id="a piece that does not fit by itself",
        ),
    ],
)
def test_part_is_read_by_path_offset_and_limit(path: str, options: dict[str, int], expected: Page) -> None:
    assert part(RESULTS, path, **options, max_bytes=LIMIT) == expected


def test_part_omits_fields_that_do_not_apply() -> None:
    assert part(RESULTS, "/n", max_bytes=LIMIT).as_json() == {"value": 7}
    assert part(RESULTS, "", limit=1, max_bytes=LIMIT).as_json() == {
        "value": {"rows": ROWS[:10]},
        "offset": 0,
        "total": 6,
        "next_offset": 1,
        "omitted": [{"path": "/rows", "what": "items 10 to 999 of 1,000"}],
    }


def test_omitted_piece_is_named_by_its_path_in_the_whole_value() -> None:
    value = [1, 2, "x" * 20_000, 4]

    assert part(value, "/2", offset=0, max_bytes=LIMIT).total == 20_000
    assert part(value, "", offset=2, max_bytes=LIMIT) == Page(
        ["x" * 1000], 2, 4, 3, ({"path": "/2", "what": "characters 1,000 to 19,999 of 20,000"},)
    )


# Numbers that JavaScript rounds


def test_integers_that_javascript_rounds_are_listed_exactly() -> None:
    value = {"a": 2**53, "b": 2**53 + 1, "c/d": [-(2**60), 2**60 + 0.0, "9" * 20, True], "e": {"f": 10**16}}

    assert exact_numbers(value) == {
        "/b": "9007199254740993",
        "/c~1d/0": "-1152921504606846976",
        "/e/f": "10000000000000000",
    }
    assert exact_numbers([2**60], path="/t") == {"/t/0": "1152921504606846976"}
    assert exact_numbers(2**60, text=json_text([2**60])) == {"": "1152921504606846976"}
    assert exact_numbers({"a": 2**53 - 1}) == {}
    assert exact_numbers([2**60], text="no digits") == {}


def test_part_lists_exact_numbers() -> None:
    assert part({"n": [7, 2**60]}, "/n", max_bytes=LIMIT).as_json() == {
        "value": [7, 2**60],
        "offset": 0,
        "total": 2,
        "exact_numbers": {"/1": "1152921504606846976"},
    }


@pytest.mark.parametrize("value", [[2**60] * 3000, {f"{number:0100}": 2**60 for number in range(300)}])
def test_parts_leave_room_for_exact_numbers_and_use_the_rest(value: Any) -> None:
    offset: int | None = 0
    while offset is not None:
        found = part(value, "", offset=offset, max_bytes=LIMIT)
        assert json_size(found.as_json()) <= LIMIT
        assert found.next_offset is None or json_size(found.as_json()) > 0.9 * LIMIT
        offset = found.next_offset


def test_entry_with_an_overlong_name_is_skipped_and_listed() -> None:
    value = {"a": 1, LONG: 2, "b": 3}

    assert part(value, "", max_bytes=LIMIT) == Page(
        {"a": 1, "b": 3}, 0, 3, None, ({"path": "", "what": "key 1, whose name alone is 201 characters"},)
    )


def test_many_entries_with_overlong_names_are_split_into_parts() -> None:
    value = {f"{LONG}{number}": number for number in range(1000)}
    first = part(value, "", max_bytes=LIMIT)

    assert json_size(first.as_json()) <= LIMIT
    assert first.next_offset == len(first.omitted)
    assert first.value == {}


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("rows", {}, "path: 'rows' does not begin with /; did you mean '/rows'?"),
        ("/row", {}, "path: there is no 'row' at the top; did you mean 'rows'?"),
        ("/a~1b~0c/z", {}, "path: there is no 'z' at '/a~1b~0c'; there are k"),
        ("/nothing/z", {}, "path: there is no 'z' at '/nothing'; it is empty"),
        ("/rows/1000", {}, "path: '/rows' is a list and has no item '1000'; its items are 0 to 999."),
        ("/rows/01", {}, "path: '/rows' is a list and has no item '01'; its items are 0 to 999."),
        ("/none/0", {}, "path: '/none' is a list and has no item '0'; it is empty."),
        ("/n/0", {}, "path: '/n' has no parts; read it as a whole."),
        ("/n", {"offset": 1}, "offset: the value at '/n' cannot be read in parts; omit offset."),
        ("/rows", {"offset": 1001}, "offset: 1,001 is beyond the end; '/rows' has 1,000 items."),
        (
            "/" + "x" * (MAX_PATH - 1),
            {},
            f"path: there is no '{'x' * (MAX_PATH - 1)}' at the top; there are rows, text, n",
        ),
        ("/" + "x" * MAX_PATH, {}, "path: longer than 1,000 characters; read a value above it."),
    ],
)
def test_invalid_path_or_offset_is_refused_with_what_exists(path: str, options: dict[str, int], said: str) -> None:
    with pytest.raises(Unreadable) as refused:
        part(RESULTS, path, **options, max_bytes=LIMIT)

    assert str(refused.value).startswith(said) if len(path) == MAX_PATH else str(refused.value) == said


def test_error_names_only_a_few_of_many_keys() -> None:
    with pytest.raises(Unreadable) as refused:
        part({str(number): number for number in range(30)}, "/x", max_bytes=LIMIT)

    assert str(refused.value) == "path: there is no 'x' at the top; it has 30 keys, such as 0, 1, 2"

    with pytest.raises(Unreadable) as refused:
        part({LONG: 0, LONG[1:]: 1} | {str(number): 0 for number in range(18)}, "/x", max_bytes=LIMIT)

    names = ", ".join([LONG[1:], *map(str, range(18))])
    assert str(refused.value) == f"path: there is no 'x' at the top; there are {names}"


large_values = (
    st.text(min_size=1).map(lambda text: text * 5000)
    | st.lists(json_values, max_size=30).map(lambda items: items * 30)
    | st.dictionaries(st.text(max_size=LONGEST_NAME), st.text().map(lambda text: text * 300), max_size=60)
)


@settings(deadline=None, max_examples=40)
@given(large_values)
def test_reading_all_parts_gives_the_whole_value(value: Any) -> None:
    """Except for pieces that are too large by themselves: these are listed, and read by their path."""
    parts = [part(value, "", max_bytes=LIMIT)]
    while parts[-1].next_offset is not None:
        assert parts[-1].next_offset > parts[-1].offset
        parts.append(part(value, "", offset=parts[-1].next_offset, max_bytes=LIMIT))

    assert all(json_size(found.as_json()) <= LIMIT for found in parts)
    if any(found.omitted for found in parts):
        return
    if isinstance(value, str):
        assert "".join(found.value for found in parts) == value
    elif isinstance(value, list):
        assert [item for found in parts for item in found.value] == value
    else:
        assert {name: item for found in parts for name, item in found.value.items()} == value
