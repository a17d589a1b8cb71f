"""`tool_schemas/`: what agents see, as files that people review.

Pure: texts in, texts out. One file per tool, `<tool name>.json`, containing exactly the tool that clients get. Files
are compared as JSON: the order of keys does not matter, the order of arrays does, and 1, 1.0 and true differ (unlike
in Python).
"""

import difflib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagcall.text import is_visible

WireJson = dict[str, Any]

_FIRST_KEYS = ("description", "title", "annotations", "inputSchema", "outputSchema")
"""Compared first: what guides a model, what a client tells its user, what a call takes and returns."""
_DAG_ID = "dagcall/dag_id"


@dataclass(frozen=True, slots=True)
class Pins:
    """The reviewed tools."""

    tools: Mapping[str, WireJson] = field(default_factory=dict)
    """Tool name -> the pinned tool."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Tool name -> why its file is unusable, as a clause."""

    def objection(self, published: WireJson) -> str | None:
        """Return why a tool must not be published, for the operator; None if it equals its pin."""
        name = published["name"]
        if reason := self.broken.get(name):
            return f"the pin of tool {name} is unusable: {reason}; rewrite it with: dagcall pin {name}"
        if name not in self.tools:
            return f"tool {name} is not pinned; review it and run: dagcall pin {name}"
        if not is_same(self.tools[name], published):
            return f"tool {name} differs from its pin:\n{difference(self.tools[name], published)}"
        return None


def pins_from_texts(texts: Mapping[str, str | None]) -> Pins:
    """Read pins. An unusable pin affects only its own tool.

    Args:
        texts: tool name -> the content of its file; None if it cannot be read as text.
    """
    tools: dict[str, WireJson] = {}
    broken: dict[str, str] = {}
    for name, text in texts.items():
        try:
            tools[name] = _pinned(name, text)
        except (ValueError, RecursionError) as error:
            broken[name] = str(error)
    return Pins(tools, broken)


def _pinned(name: str, text: str | None) -> WireJson:
    if text is None:
        raise ValueError("it cannot be read")
    try:
        tool = json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(tool, dict):
        raise ValueError("it does not contain a tool")  # noqa: TRY004 - the text is wrong, not a type
    if tool.get("name") != name:
        raise ValueError(f"it contains the tool {tool.get('name')!r}")
    return tool


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse duplicate keys: a reviewer may have read one, while JSON parsers use the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if any(name == other for other, _ in pairs[:at]))
        raise ValueError(f"it contains the key {twice!r} twice in one object")
    return found


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are the same JSON."""
    return one == other and _compact(one) == _compact(other)


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def pin_text(tool: WireJson) -> str:
    r"""Return the canonical text of a tool: keys sorted, indented by two spaces, every invisible character escaped.

    A zero-width space becomes `\u200b`, a direction override `\u202e`, a tag character `\udb40\udc41`: nothing can
    hide in a review.
    """
    return _canonical(tool) + "\n"


def _canonical(value: Any) -> str:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    """Escape invisible characters, and combining marks, which attach to the character before them."""
    is_plain = is_visible(character) and unicodedata.category(character) not in {"Zl", "Zp", "Zs", "Mn", "Me"}
    return character if character in "\n " or is_plain else json.dumps(character)[1:-1]


def names_alike(names: Iterable[str]) -> list[list[str]]:
    """Return the names that differ only in case: some file systems keep one file for all of them."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(name.casefold(), []).append(name)
    return [alike for alike in found.values() if len(alike) > 1]


def differences(
    pins: Pins, published: Mapping[str, WireJson], *, withheld: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return a readable difference for each tool that differs from its pin: tool name -> text.

    For a tool that is only pinned or only published, the text says so, and under which other name its dag is. For an
    unusable pin, it says why.

    Args:
        pins: the reviewed tools.
        published: tool name -> tool.
        withheld: dag id -> why it is not published, if known.
    """
    pinned, reasons = pins.tools, withheld or {}
    found = {name: f"its pin is unusable: {reason}" for name, reason in pins.broken.items()}
    for name in (pinned.keys() | published.keys()) - pins.broken.keys():
        if name not in published:
            elsewhere = _names_of_dag(pinned[name], published, pinned)
            reason = reasons.get(str(_dag_id(pinned[name])))
            found[name] = "pinned, but no longer published" + (
                f": {reason}" if reason else _clause("its dag is published", elsewhere)
            )
        elif name not in pinned:
            elsewhere = _names_of_dag(published[name], pinned, published)
            found[name] = "published, but not pinned" + _clause("its dag was pinned", elsewhere)
        elif not is_same(pinned[name], published[name]):
            found[name] = difference(pinned[name], published[name])
    return dict(sorted(found.items()))


def _names_of_dag(tool: WireJson, there: Mapping[str, WireJson], here: Mapping[str, WireJson]) -> list[str]:
    """Return the names of a tool's dag that exist only in `there`."""
    dag_id = _dag_id(tool)
    return sorted(name for name in there.keys() - here.keys() if dag_id is not None and _dag_id(there[name]) == dag_id)


def _dag_id(tool: WireJson) -> Any:
    meta = tool.get("_meta")
    return meta.get(_DAG_ID) if isinstance(meta, dict) else None


def _clause(what: str, names: list[str]) -> str:
    return f"; {what} as {', '.join(names)}" if names else ""


def difference(pinned: WireJson, published: WireJson) -> str:
    """Return how a published tool differs from its pin, key by key, what guides a model first."""
    others = sorted((pinned.keys() | published.keys()) - set(_FIRST_KEYS))
    blocks = [_key_difference(key, pinned.get(key), published.get(key)) for key in (*_FIRST_KEYS, *others)]
    return "\n".join(block for block in blocks if block)


def _key_difference(key: str, before: Any, after: Any) -> str:
    if is_same(before, after):
        return ""
    old, new = (_lines(value) for value in (before, after))
    # The first two lines of a diff name files; there are none.
    changed = [line for line in list(difflib.unified_diff(old, new, lineterm="", n=1))[2:] if not line.startswith("@@")]
    return "\n".join([f"{''.join(map(_escaped, key))}:", *(f"  {line}" for line in changed)])


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return ["".join(map(_escaped, line)) for line in value.split("\n")]
    return _canonical(value).splitlines()
