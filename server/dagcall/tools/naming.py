r"""Names that every client accepts.

A dag id may have 250 characters, dots and letters of any script; a param name may be anything. `client_limits` defines
what clients accept: a tool name matches `[A-Za-z][A-Za-z0-9_-]{0,49}`, a property name likewise with up to 64, and
neither is a name that some client uses itself. One bad name makes many clients drop the whole list.

The mapping is injective and depends only on the name itself, so a tool keeps its name when other dags come and go: a
name that had to be changed, or that looks like a changed one, ends in a hash of the original.
"""

import hashlib
import re

from dagcall.tools.client_limits import PROPERTY_NAME_LENGTH, TOOL_NAME_LENGTH, is_argument_name, is_tool_name

GENERIC_TOOL_NAMES = frozenset({"wait_for_dag_run", "cancel_dag_run", "read_dag_result"})
"""dagcall's own tools; a dag with such an id gets a hash."""

_HASH_LENGTH = 10
_LOOKS_HASHED = re.compile(rf"_[0-9a-f]{{{_HASH_LENGTH}}}\Z")


def tool_name_from_dag_id(dag_id: str) -> str:
    """Return the tool name of a dag, e.g. `sales.daily` -> `sales_daily_a3fae80589`, `7` -> `dag_7_7902699be4`."""
    if is_tool_name(dag_id) and dag_id not in GENERIC_TOOL_NAMES and not _LOOKS_HASHED.search(dag_id):
        return dag_id
    return _changed(dag_id, TOOL_NAME_LENGTH, "dag")


def property_name_from_param(name: str) -> str:
    """Return the property name of a param, e.g. `max rows` -> `max_rows_0d2c4a9e1f`, `_id` -> `id_9f1c5e0b7a`."""
    if is_argument_name(name) and not _LOOKS_HASHED.search(name):
        return name
    return _changed(name, PROPERTY_NAME_LENGTH, "param")


def _changed(original: str, length: int, kind: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", original)
    if not readable[:1].isalpha():
        readable = readable.lstrip("_-") or kind
    if readable[:1].isdigit():
        readable = f"{kind}_{readable}"
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    return f"{readable[: length - _HASH_LENGTH - 1]}_{digest}"
