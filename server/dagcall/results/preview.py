"""Previews and parts of values that are too large for one answer.

Pure. Knows JSON and JSON Pointers (RFC 6901), nothing of runs or MCP. A value is only shortened: nothing is added, and
lists stay lists, objects objects, strings strings. `omitted` lists what was left out, as
`{"path": "/rows", "what": "items 20 to 9,999 of 10,000"}`, counted from 0 like `offset`.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from pydantic_core import to_json

from dagcall.errors import Unreadable
from dagcall.plain_json import Json
from dagcall.text import did_you_mean

MAX_PATH = 1000
"""Maximum characters of a requested path. With `LONGEST_NAME`, it limits the size of `omitted`."""
LONGEST_NAME = 200
"""Maximum characters of a key; an entry with a longer one is omitted, and listed as omitted."""
PREVIEW_SHARE = 5
"""An excerpt may take a fifth of an answer's limit: it only shows the structure, and costs context."""

MAX_EXACT_NUMBER = 2**53
"""JavaScript rounds integers beyond it."""
_MANY_DIGITS = re.compile("[0-9]{16}")

_FRAME_BYTES = 200
"""Room for the other keys of a part, and three numbers."""
_MANY_NAMES = 20
_UNITS = {str: "characters", list: "items", dict: "keys"}


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A shortened value, and what it omits."""

    value: Json
    omitted: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a list (counted in items), of a string (in characters) or of an object (in keys)."""

    value: Json
    offset: int = 0
    total: int | None = None
    """The length of the whole; None for a value without a length."""
    next_offset: int | None = None
    """The offset of the next part; None in the last one."""
    omitted: tuple[dict[str, str], ...] = ()
    """What the part omits, because one element alone is too large."""

    def as_json(self) -> dict[str, Json]:
        """Return the part as callers get it."""
        shown: dict[str, Json] = {"value": self.value}
        if self.total is not None:
            shown |= {"offset": self.offset, "total": self.total}
        if self.next_offset is not None:
            shown["next_offset"] = self.next_offset
        if self.omitted:
            shown["omitted"] = list(self.omitted)
        if exact := exact_numbers(self.value):
            shown["exact_numbers"] = exact
        return shown


class _Measure(NamedTuple):
    """How much of a value to keep."""

    items: int
    keys: int
    characters: int
    levels: int


_MEASURES = (
    _Measure(20, 100, 1000, 10),
    _Measure(10, 60, 500, 8),
    _Measure(5, 40, 200, 6),
    _Measure(3, 20, 100, 5),
    _Measure(2, 10, 60, 4),
    _Measure(1, 5, 40, 3),
    _Measure(0, 0, 0, 0),  # an empty list, string or object, which always fits
)


def json_text(value: Json) -> str:
    """Return the value as JSON text."""
    return to_json(value).decode()


def json_size(value: Json) -> int:
    """Return the size of the value as JSON text, in bytes."""
    return len(to_json(value))


def exact_numbers(value: Json, *, text: str | None = None, path: str = "") -> dict[str, str]:
    """Return the integers that JavaScript would round, as text, by JSON Pointer.

    Args:
        value: the value to search.
        text: the value's JSON text, or a text that contains it, if already known.
        path: the prefix of the JSON Pointers.
    """
    if _MANY_DIGITS.search(json_text(value) if text is None else text) is None:
        return {}
    return dict(_rounded_by_javascript(value, path))


def _rounded_by_javascript(value: Json, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, int) and abs(value) > MAX_EXACT_NUMBER:
        yield path, str(value)
    elif isinstance(value, list | dict):
        for name, item in _entries(value, 0, len(value)):
            yield from _rounded_by_javascript(item, _below(path, name))


def preview_of(value: Json, *, path: str = "", max_bytes: int) -> Excerpt:
    """Return the largest excerpt that fits, including its `omitted`.

    Args:
        value: the value.
        path: its path, the prefix of the paths in `omitted`.
        max_bytes: maximum size of JSON. If not even an empty list with its one `omitted` fits, that is returned.
    """
    for measure in _MEASURES:
        omitted: list[dict[str, str]] = []
        shown = _shortened(value, path, measure, 0, omitted)
        if json_size([shown, omitted, exact_numbers(shown)]) <= max_bytes:
            break
    return Excerpt(shown, tuple(omitted))


def part(results: Json, path: str, *, offset: int = 0, limit: int | None = None, max_bytes: int) -> Page:
    """Return the requested part of the value at a path, as far as it fits.

    Args:
        results: the whole.
        path: a JSON Pointer into it; "" for the whole.
        offset: the first item, character or key.
        limit: maximum number of them; None for as many as fit.
        max_bytes: maximum size of the part with all its keys, as JSON; at least 10,000.

    Raises:
        Unreadable: there is nothing at this path, or the offset is beyond its end.
    """
    value = _at(results, path)
    if not isinstance(value, str | list | dict):
        if offset:
            raise Unreadable(f"offset: the value at {_place(path)} cannot be read in parts; omit offset.")
        return Page(value)
    total = len(value)
    if offset > total:
        raise Unreadable(f"offset: {offset:,} is beyond the end; {_place(path)} has {total:,} {_UNITS[type(value)]}.")
    end = total if limit is None else min(total, offset + limit)
    spare = max_bytes - _FRAME_BYTES
    if isinstance(value, str):
        found = value[offset : offset + _fitting_characters(value[offset : min(end, offset + spare)], spare)]
        return _part(found, offset, total, offset + len(found))
    found, reached, omitted = _fitting_entries(value, path, offset, end, spare)
    return _part(found, offset, total, reached, omitted)


def _part(value: Json, offset: int, total: int, reached: int, omitted: tuple[dict[str, str], ...] = ()) -> Page:
    return Page(value, offset, total, reached if reached < total else None, omitted)


def _fitting_characters(text: str, max_bytes: int) -> int:
    return bisect_right(range(1, len(text) + 1), max_bytes, key=lambda length: json_size(text[:length]))


def _fitting_entries(
    value: list[Json] | dict[str, Json], path: str, offset: int, end: int, max_bytes: int
) -> tuple[Json, int, tuple[dict[str, str], ...]]:
    """Return the entries that fit, the offset after them, and what they omit.

    The first entry is always included, so that reading makes progress: as a preview, if it is too large.
    """
    kept: list[tuple[str, Json]] = []
    omitted: list[dict[str, str]] = []
    spent, reached = 0, offset
    for name, item in _entries(value, offset, end):
        left_out = _long_name(path, reached, name) if len(name) > LONGEST_NAME else None
        spent += json_size(left_out or (item if isinstance(value, list) else {name: item})) + len(", ")
        shown_as = str(reached - offset) if isinstance(value, list) else name
        if not left_out and (exact := exact_numbers(item, path=_below("", shown_as))):
            spent += json_size(exact)
        if spent > max_bytes:
            if not kept and not omitted:
                shown = preview_of(item, path=_below(path, name), max_bytes=max_bytes // PREVIEW_SHARE)
                kept, omitted, reached = [(name, shown.value)], list(shown.omitted), reached + 1
            break
        if left_out:
            omitted.append(left_out)
        else:
            kept.append((name, item))
        reached += 1
    found: Json = [item for _, item in kept] if isinstance(value, list) else dict(kept)
    return found, reached, tuple(omitted)


def _entries(value: list[Json] | dict[str, Json], start: int, stop: int) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict):
        return islice(value.items(), start, stop)
    return ((str(at), item) for at, item in enumerate(value[start:stop], start))


# Previews


def _shortened(value: Json, path: str, measure: _Measure, level: int, omitted: list[dict[str, str]]) -> Json:
    if isinstance(value, str):
        _note_rest(path, value, measure.characters, omitted)
        return value[: measure.characters]
    if not isinstance(value, list | dict):
        return value
    count = (measure.items if isinstance(value, list) else measure.keys) if level < measure.levels else 0
    _note_rest(path, value, count, omitted)
    kept: dict[str, Json] = {}
    for at, (name, item) in enumerate(_entries(value, 0, count)):
        if len(name) > LONGEST_NAME:
            omitted.append(_long_name(path, at, name))
        else:
            kept[name] = _shortened(item, _below(path, name), measure, level + 1, omitted)
    return list(kept.values()) if isinstance(value, list) else kept


def _note_rest(path: str, value: str | list[Json] | dict[str, Json], count: int, omitted: list[dict[str, str]]) -> None:
    total, unit = len(value), _UNITS[type(value)]
    if not count < total:
        return
    if not count:
        rest = f"all {total:,} {unit}" if total > 1 else f"the only {unit.removesuffix('s')}"
    elif count == total - 1:
        rest = f"{unit.removesuffix('s')} {count:,} of {total:,}"
    else:
        rest = f"{unit} {count:,} to {total - 1:,} of {total:,}"
    omitted.append({"path": path, "what": rest})


def _long_name(path: str, at: int, name: str) -> dict[str, str]:
    return {"path": path, "what": f"key {at:,}, whose name alone is {len(name):,} characters"}


# JSON Pointers


def _below(path: str, name: str) -> str:
    return f"{path}/{name.replace('~', '~0').replace('/', '~1')}"


def _place(path: str) -> str:
    return repr(path) if path else "the top"


def _at(results: Json, path: str) -> Json:
    if len(path) > MAX_PATH:
        raise Unreadable(f"path: longer than {MAX_PATH:,} characters; read a value above it.")
    if path and not path.startswith("/"):
        raise Unreadable(f"path: {path!r} does not begin with /; did you mean {'/' + path!r}?")
    found, above = results, ""
    for token in path.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        found = _child(found, name, above)
        above = f"{above}/{token}"
    return found


def _child(parent: Json, name: str, path: str) -> Json:
    if isinstance(parent, dict):
        if name in parent:
            return parent[name]
        raise Unreadable(f"path: there is no {name!r} at {_place(path)}{_nearest(name, parent)}")
    if isinstance(parent, list):
        if re.fullmatch("0|[1-9][0-9]{0,17}", name) and int(name) < len(parent):
            return parent[int(name)]
        there = f"its items are 0 to {len(parent) - 1:,}" if parent else "it is empty"
        raise Unreadable(f"path: {_place(path)} is a list and has no item {name!r}; {there}.")
    raise Unreadable(f"path: {_place(path)} has no parts; read it as a whole.")


def _nearest(name: str, parent: Mapping[str, Json]) -> str:
    names = [known for known in islice(parent, _MANY_NAMES) if len(known) <= LONGEST_NAME]
    if len(parent) <= _MANY_NAMES:
        return did_you_mean(name, names, nothing="it is empty")
    return f"; it has {len(parent):,} keys, such as {', '.join(names[:3])}"
