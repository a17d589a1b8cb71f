"""JSON Schema as every MCP client takes it: 2020-12, references that hold, nothing fetched, nothing invisible.

Pure. Knows the keywords and no param, tool or task. What clients refuse, some of them with the whole list of tools:
`$schema` with an old draft, arrays without `items`, references to other documents.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from dagcall.errors import ToolUnpublishable
from dagcall.model import Json
from dagcall.prose import has_hidden, without_hidden
from dagcall.wording import shortened

JsonObject = dict[str, Json]

MAX_SCHEMA_BYTES = 65_536
MAX_SCHEMA_DEPTH = 40
NO_DOCUMENTS: Registry[Any] = Registry()
"""Knows no document but the schema itself: a reference elsewhere is never fetched."""

_UNSUPPORTED_KEYS = frozenset({"$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"})
_SCHEMA_KEYS = frozenset(
    {"items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
_DATA_KEYS = frozenset({"const", "dependentRequired", "enum", "pattern", "required"})
"""What decides which values fit, so it goes as it is: whoever reviews a pin sees every invisible character in it."""
_SHOWN_DATA_KEYS = frozenset({"default", "examples"})
"""Values that decide nothing: one with something invisible in it is not shown."""
_SCHEMA_LIST_KEYS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMA_MAP_KEYS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})


@dataclass(frozen=True, slots=True)
class Move:
    """A schema on its way to where it stands in a tool's schema."""

    owner: str
    """What it is, to start a sentence with: `the schema of param 'n'`."""
    pointer: str
    """Where it goes: `#/properties/n`."""
    references: list[str]
    """Collects every reference met, as it reads in the new place."""
    adapted: Callable[[JsonObject], JsonObject]
    """What else is done to the schema and to each schema within it, before those are looked at."""

    def cleaned(self, schema: Mapping[str, Json], *, depth: int = 0) -> JsonObject:
        """Return the schema as every client takes it.

        Raises:
            ToolUnpublishable: it cannot be brought into that form.
        """
        self._require_publishable(schema, depth)

        def clean(value: Json) -> Json:
            return self.cleaned(value, depth=depth + 1) if isinstance(value, Mapping) else value

        cleaned: JsonObject = {}
        for key, value in self.adapted(_as_2020_12(schema)).items():
            if key == "$ref":
                cleaned[key] = self._moved_reference(value)
            elif key in _SCHEMA_KEYS:
                cleaned[key] = clean(value)
            elif key in _SCHEMA_LIST_KEYS:
                cleaned[key] = [clean(item) for item in value]
            elif key in _SCHEMA_MAP_KEYS:
                cleaned[key] = {name: clean(item) for name, item in value.items()}
            elif key in _DATA_KEYS:
                cleaned[key] = value
            elif key not in _SHOWN_DATA_KEYS or not has_hidden(value):
                cleaned[key] = without_hidden(value)
        if cleaned.get("type") == "array" and "prefixItems" not in cleaned:
            cleaned.setdefault("items", {})
        cleaned.pop("$id", None)
        return cleaned

    def _require_publishable(self, schema: Mapping[str, Json], depth: int) -> None:
        if depth > MAX_SCHEMA_DEPTH:
            raise ToolUnpublishable(f"{self.owner} is nested more than {MAX_SCHEMA_DEPTH} levels deep")
        unsupported = sorted(_UNSUPPORTED_KEYS & schema.keys()) or (["$id"] if depth and "$id" in schema else [])
        if unsupported:
            raise ToolUnpublishable(f"{self.owner} uses {unsupported[0]}, which MCP clients do not follow")

    def _moved_reference(self, reference: Json) -> str:
        if reference != "#" and not (isinstance(reference, str) and reference.startswith("#/")):
            raise ToolUnpublishable(
                f"{self.owner} refers to {shortened(str(reference))}; only references within it can be published"
            )
        moved = self.pointer + str(reference)[1:]
        self.references.append(moved)
        return moved


def compiled(
    wire: JsonObject, references: list[str], *, name: str, format_checker: FormatChecker | None = None
) -> Validator:
    """Return what checks a value against a tool's schema.

    Args:
        wire: the schema as it is published.
        references: every reference in it.
        name: what it is, to start a sentence with: `the input schema`.
        format_checker: None where `format` only describes.

    Raises:
        ToolUnpublishable: it is no valid schema, or a reference leads nowhere.
    """
    try:
        Draft202012Validator.check_schema(wire)
    except SchemaError as error:
        raise ToolUnpublishable(f"{name} is not valid 2020-12: {shortened(error.message)}") from error
    _require_resolvable(references, wire, name)
    return cast("Validator", Draft202012Validator(wire, format_checker=format_checker, registry=NO_DOCUMENTS))


def path_text(error: ValidationError) -> str:
    """Return where in a value the error is, e.g. `.rows[3].amount`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)


def _as_2020_12(schema: Mapping[str, Json]) -> JsonObject:
    """Translate the keywords that older drafts spell otherwise, and drop what only Airflow's form understands."""
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
    return translated


def _require_resolvable(references: list[str], wire: JsonObject, name: str) -> None:
    """Follow each reference once, so that a broken one is found now and not in the middle of a call."""
    resolver = NO_DOCUMENTS.resolver_with_root(DRAFT202012.create_resource(wire))
    for reference in references:
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise ToolUnpublishable(f"{name} refers to {reference}, which is not there") from error
