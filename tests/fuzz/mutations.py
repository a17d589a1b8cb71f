"""Almost valid JSON: a part is missing, repeated, moved, or has another type."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st

from tests.support.any_arguments import any_json, grown

Kind = Literal["drop", "replace", "wrap", "wrap_in_object", "rename", "repeat", "as_text", "empty"]
KINDS: tuple[Kind, ...] = ("drop", "replace", "wrap", "wrap_in_object", "rename", "repeat", "as_text", "empty")
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mutation:
    """One change of a value of any shape."""

    place: int
    """The index of the part to change, in document order, modulo the number of parts."""
    kind: Kind
    value: Any = None
    """The replacement, for kinds that replace the part."""


def mutations() -> st.SearchStrategy[Mutation]:
    """Return a strategy for one change."""
    return st.builds(Mutation, st.integers(0, 2**12), st.sampled_from(KINDS), any_json())


def mutated(document: Any, *changes: Mutation) -> Any:
    """Return a copy of a JSON value with these changes applied in order."""
    for change in changes:
        paths = list(_paths(document))
        document = _changed(document, paths[change.place % len(paths)], change)
    return document


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _paths(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, (*path, index))


def _changed(value: Any, path: Path, mutation: Mutation) -> Any:
    if not path:
        return _replaced(value, mutation)
    step, *rest = path
    is_here = not rest
    if isinstance(value, dict):
        return dict(_items(value, str(step), tuple(rest), mutation, is_here=is_here))
    items: list[Any] = []
    for index, item in enumerate(value):
        if index != step:
            items.append(item)
        elif is_here and mutation.kind == "repeat":
            items += [item, item]
        elif not (is_here and mutation.kind == "drop"):
            items.append(_changed(item, tuple(rest), mutation))
    return items


def _items(
    value: dict[str, Any], step: str, rest: Path, mutation: Mutation, *, is_here: bool
) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if name != step:
            yield name, item
        elif is_here and mutation.kind == "rename":
            yield f"{name}_", item
        elif not (is_here and mutation.kind == "drop"):
            yield name, _changed(item, rest, mutation)


def _replaced(value: Any, mutation: Mutation) -> Any:
    match mutation.kind:
        case "drop" | "replace" | "rename":
            return grown(mutation.value)
        case "wrap":
            return [value]
        case "wrap_in_object":
            return {"value": value}
        case "repeat":
            return [value, value]
        case "as_text":
            return str(value)
        case "empty":
            return type(value)() if isinstance(value, dict | list | str) else None
