r"""Names that every client takes.

A tool name is `[A-Za-z0-9_-]{1,50}`: Claude Desktop and OpenAI stop at 64 characters and count a prefix such as
`mcp__airflow__`, and one bad name makes them drop the whole list. A dag id may have 250 characters, dots and letters
of any script. A property name is `[A-Za-z0-9_.-]{1,64}` for the same reason; a param name may be anything.

The mapping is injective and knows only the one name it maps, so a tool keeps its name whatever other dags come and
go: a name that had to be changed, or that looks like a changed one, ends in a hash of the original.
"""

import hashlib
import re

TOOL_NAME_LENGTH = 50
PROPERTY_NAME_LENGTH = 64
GENERIC_TOOL_NAMES = frozenset({"wait_for_dag_run", "cancel_dag_run", "read_dag_result"})
"""dagcall's own tools; a dag of that id gets a hash."""

_HASH_LENGTH = 10
_LOOKS_HASHED = re.compile(rf"_[0-9a-f]{{{_HASH_LENGTH}}}\Z")


def tool_name_from_dag_id(dag_id: str) -> str:
    """Return the tool name of a dag, e.g. `sales.daily` -> `sales_daily_6c1f6a9d2b`."""
    return _name(dag_id, r"[^A-Za-z0-9_-]", TOOL_NAME_LENGTH, GENERIC_TOOL_NAMES)


def property_name_from_param(name: str) -> str:
    """Return the property name of a param, e.g. `max rows` -> `max_rows_0d2c4a9e1f`."""
    return _name(name, r"[^A-Za-z0-9_.-]", PROPERTY_NAME_LENGTH, frozenset())


def is_tool_name(name: str) -> bool:
    """Say whether an operator's own name can be used as it is."""
    return re.fullmatch(rf"[A-Za-z0-9_-]{{1,{TOOL_NAME_LENGTH}}}", name) is not None


def _name(original: str, forbidden: str, length: int, reserved: frozenset[str]) -> str:
    kept = re.sub(forbidden, "_", original)
    if kept == original and 0 < len(kept) <= length and kept not in reserved and not _LOOKS_HASHED.search(kept):
        return kept
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    return f"{kept[: length - _HASH_LENGTH - 1]}_{digest}"
