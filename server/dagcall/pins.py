"""`tool_schemas/`: what agents see, as files that people review.

Pure: texts in, texts out. One file per tool, `<tool name>.json`, holding exactly the tool on the wire. Compared as
JSON, so the order of keys does not matter and the order of arrays does.
"""

import difflib
import json
import unicodedata
from collections.abc import Mapping
from typing import Any

WireJson = dict[str, Any]


def pin_text(tool: WireJson) -> str:
    r"""Return the canonical text of a tool: sorted keys, two spaces, readable, with every invisible character escaped.

    A zero-width space reads `\u200b`, a direction override `\u202e`, a tag character `\udb40\udc41`: nothing can
    hide in a review.
    """
    text = json.dumps(tool, indent=2, sort_keys=True, ensure_ascii=False)
    return "".join(_escaped(character) for character in text) + "\n"


def _escaped(character: str) -> str:
    """Escape what cannot be seen, and combining marks, which can sit on the character before them."""
    if character in "\n " or unicodedata.category(character) not in {
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
        "Zs",
        "Mn",
        "Me",
    }:
        return character
    return json.dumps(character)[1:-1]


def differences(pinned: Mapping[str, WireJson], published: Mapping[str, WireJson]) -> dict[str, str]:
    """Return a readable difference for each tool that is not as pinned: tool name -> text.

    The description comes first, for it is what steers a model. A tool that is only pinned or only published says so.
    """
    found: dict[str, str] = {}
    for name in sorted(pinned.keys() | published.keys()):
        if name not in published:
            found[name] = "pinned, but not published any more"
        elif name not in pinned:
            found[name] = "published, but not pinned"
        elif pinned[name] != published[name]:
            found[name] = difference(pinned[name], published[name])
    return found


def difference(pinned: WireJson, published: WireJson) -> str:
    """Return how a published tool differs from its pin, key by key, the description first."""
    keys = sorted(pinned.keys() | published.keys(), key=lambda key: (key != "description", key != "title", key))
    blocks = [_key_difference(key, pinned.get(key), published.get(key)) for key in keys]
    return "\n".join(block for block in blocks if block)


def _key_difference(key: str, before: Any, after: Any) -> str:
    if before == after:
        return ""
    old, new = (_lines(value) for value in (before, after))
    changed = [
        line for line in difflib.unified_diff(old, new, lineterm="", n=1) if not line.startswith(("---", "+++", "@@"))
    ]
    return "\n".join([f"{key}:", *(f"  {line}" for line in changed)])


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return ["".join(_escaped(character) for character in line) for line in value.split("\n")]
    return pin_text(value).splitlines()
