"""JSON Schema in one dialect, 2020-12: with valid references, without external ones and invisible characters.

Pure. Knows keywords, but no params, tools or tasks. `shapes` turns such a schema into one that every client accepts.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator

from dagcall.errors import ToolUnpublishable
from dagcall.plain_json import Json
from dagcall.text import has_hidden, shortened, without_hidden
from dagcall.tools.keywords import (
    DECIDING_KEYS,
    DEFINITIONS,
    SCHEMA_KEYS,
    SCHEMA_LIST_KEYS,
    SCHEMA_MAP_KEYS,
    JsonObject,
    objects_in,
)

MAX_SCHEMA_BYTES = 65_536
MAX_SCHEMA_DEPTH = 40

_UNSUPPORTED_KEYS = frozenset({"$dynamicRef", "$recursiveRef"})
_ANCHOR_KEYS = frozenset({"$anchor", "$dynamicAnchor", "$recursiveAnchor"})
"""Keywords that only name a place. References by such a name are resolved, so dropping it loses nothing."""
_SHOWN_DATA_KEYS = frozenset({"default", "examples"})
"""Values that only inform: one with invisible characters is dropped."""


def cleaned(
    schema: Mapping[str, Json],
    *,
    owner: str,
    adapted: Callable[[JsonObject], JsonObject] = dict,
    depth: int = 0,
) -> JsonObject:
    """Return the schema in 2020-12, without Airflow-only keywords and invisible characters.

    Args:
        schema: the schema.
        owner: names the schema at the start of a message: `the schema of param 'n'`.
        adapted: applied first to the schema and to each nested one.
        depth: how deeply the schema is nested in another one.

    Raises:
        ToolUnpublishable: the schema cannot be brought into that form.
    """
    _require_publishable(schema, owner, depth)

    def clean(value: Json) -> Json:
        return cleaned(value, owner=owner, adapted=adapted, depth=depth + 1) if isinstance(value, Mapping) else value

    found: JsonObject = {}
    for key, value in adapted(_as_2020_12(schema)).items():
        if key in SCHEMA_KEYS:
            found[key] = clean(value)
        elif key in SCHEMA_LIST_KEYS:
            found[key] = [clean(item) for item in value]
        elif key in SCHEMA_MAP_KEYS:
            found[key] = {name: clean(item) for name, item in value.items()}
        elif key in DECIDING_KEYS or key in _ANCHOR_KEYS or key in {"$ref", "$id"}:
            found[key] = value  # unchanged: a review of a pin shows every invisible character in it
        elif key not in _SHOWN_DATA_KEYS or not has_hidden(value):
            found[key] = without_hidden(value)
    return found


def _require_publishable(schema: Mapping[str, Json], owner: str, depth: int) -> None:
    if depth > MAX_SCHEMA_DEPTH:
        raise ToolUnpublishable(f"{owner} is nested more than {MAX_SCHEMA_DEPTH} levels deep")
    if unsupported := sorted(_UNSUPPORTED_KEYS & schema.keys()):
        raise ToolUnpublishable(f"{owner} uses {unsupported[0]}, which MCP clients do not support")
    if depth and "$schema" in schema:
        raise ToolUnpublishable(
            f"{owner} switches to another draft ($schema) in a nested schema, which MCP clients do not support"
        )


def _as_2020_12(schema: Mapping[str, Json]) -> JsonObject:
    """Translate keywords of older drafts, and drop what only Airflow's form understands."""
    translated = dict(schema)
    if isinstance(translated.get("items"), list):
        translated["prefixItems"] = translated.pop("items")
        if "additionalItems" in translated:
            translated["items"] = translated.pop("additionalItems")
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(flag := translated.get(exclusive), bool):  # draft 4
            del translated[exclusive]
            if flag and inclusive in translated:
                translated[exclusive] = translated.pop(inclusive)
    if translated.get("format") == "multiline":
        del translated["format"]
    if not isinstance(translated.get("examples", []), list):
        del translated["examples"]
    translated.pop("dependencies", None)  # validated, but not published: 2020-12 splits it into two other keywords
    return translated


@dataclass(slots=True)
class Definitions:
    """The targets of references in a tool's schema: the `$defs` at its root, where all clients look for them."""

    found: JsonObject = field(default_factory=dict)
    """Name -> schema."""

    def lifted(self, schema: JsonObject, *, owner: str, name: str) -> JsonObject:
        """Return a schema whose references point to these definitions, and add their targets.

        Args:
            schema: a whole schema, as `cleaned` returns it.
            owner: names the schema at the start of a message.
            name: its name in the schema that it becomes part of.

        Raises:
            ToolUnpublishable: a reference has no target, or points out of the schema.
        """
        return _Document(schema, owner, name, self.found).lifted(schema)

    def beside(self, schema: JsonObject) -> JsonObject:
        """Return the schema with the definitions added."""
        return {**schema, "$defs": self.found} if self.found else schema


class _Document:
    """One of the schemas that share the definitions; its references are relative to itself."""

    def __init__(self, root: JsonObject, owner: str, name: str, definitions: JsonObject) -> None:
        self._root = root
        self._owner = owner
        self._name = name
        self._definitions = definitions
        self._places: dict[str, str] = {}
        """Reference -> the name of the definition that it points to."""
        inner = list(objects_in(root))
        has_references = any("$ref" in schema for schema in inner)
        if has_references and any("$id" in schema for schema in inner[1:]):
            raise ToolUnpublishable(f"{owner} uses $id in a nested schema, which MCP clients do not support")
        self._anchors = {f"#{schema[key]}": schema for schema in inner for key in _ANCHOR_KEYS & schema.keys()}

    def lifted(self, schema: JsonObject) -> JsonObject:
        moved: JsonObject = {}
        for key, value in schema.items():
            if key == "$ref":
                moved[key] = self._definition(value)
            elif key == "discriminator" and isinstance(value, Mapping):
                moved[key] = self._discriminator(value)
            elif key in SCHEMA_KEYS:
                moved[key] = self._inner(value)
            elif key in SCHEMA_LIST_KEYS:
                moved[key] = [self._inner(item) for item in value]
            elif key in SCHEMA_MAP_KEYS:
                if key not in {"$defs", "definitions"}:
                    moved[key] = {name: self._inner(item) for name, item in value.items()}
            elif key not in _ANCHOR_KEYS and key != "$id":
                moved[key] = value
        return moved

    def _inner(self, value: Json) -> Json:
        return self.lifted(value) if isinstance(value, dict) else value

    def _discriminator(self, value: Mapping[str, Json]) -> JsonObject:
        mapping = value.get("mapping")
        if not isinstance(mapping, Mapping):
            return dict(value)
        followed = {
            name: self._definition(reference)
            for name, reference in mapping.items()
            if isinstance(reference, str) and self._target(reference) is not None
        }
        return {**value, "mapping": followed}

    def _definition(self, reference: Json) -> str:
        """Return a reference to the definition for the target of a reference."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise ToolUnpublishable(
                f"{self._owner} refers to {shortened(str(reference))}; only internal references can be published"
            )
        if reference not in self._places:
            target = self._target(reference)
            if target is None:
                raise ToolUnpublishable(f"{self._owner} refers to {shortened(reference)}, which does not exist")
            name = self._free_name(reference)
            self._places[reference] = name
            self._definitions[name] = {}  # reserves the name, whatever the target refers to
            self._definitions[name] = self._inner(target)
        return f"{DEFINITIONS}{self._places[reference]}"

    def _target(self, reference: str) -> Json:
        if reference in self._anchors:
            return self._anchors[reference]
        at: Json = self._root
        for part in unquote(reference).removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(at, list) and key.isdecimal() and int(key) < len(at):
                at = at[int(key)]
            elif isinstance(at, Mapping) and key in at:
                at = at[key]
            else:
                return None
        is_place = reference == "#" or reference.startswith("#/")
        return at if is_place and isinstance(at, Mapping | bool) else None

    def _free_name(self, reference: str) -> str:
        last = re.sub(r"[^A-Za-z0-9_]", "_", unquote(reference).rpartition("/")[2].lstrip("#"))
        names = [name for name in (last, f"{self._name}_{last}".rstrip("_")) if name[:1].isalpha()]
        numbered = (f"{names[-1]}_{number}" for number in range(2, len(self._definitions) + 3))
        return next(name for name in (*names, *numbered) if name not in self._definitions)


def require_valid(schema: Mapping[str, Json], *, name: str, dialect: type[Validator] = Draft202012Validator) -> None:
    """Refuse a schema that is not valid in its dialect, because clients could not compile it.

    Args:
        schema: the schema.
        name: names the schema at the start of a message: `the input schema`.
        dialect: jsonschema's validator for the schema's draft.

    Raises:
        ToolUnpublishable: the schema is invalid.
    """
    if problem := _problem(json.dumps(schema), dialect):
        dialect_name = "JSON Schema 2020-12" if dialect is Draft202012Validator else "JSON Schema"
        raise ToolUnpublishable(f"{name} is not valid {dialect_name}: {problem}")


@lru_cache(maxsize=256)
def _problem(schema: str, dialect: type[Validator]) -> str | None:
    """Validate a schema, given as JSON. This is most of the work for a tool, and many params have the same schema."""
    try:
        dialect.check_schema(json.loads(schema))
    except SchemaError as error:
        return shortened(error.message)
    return None
