"""One property of a schema -> one field of an MCP form, and the returned content -> its value.

Pure. Knows what forms may contain (`requestedSchema` of `elicitation/create`): strings, numbers, booleans, enums of
strings. Since 2025-11-25, enums may have titles and be multi-select. 2025-06-18 has neither, so there a multi-select
becomes one boolean per choice. Everything else is asked for as JSON text.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dagcall.plain_json import Json
from dagcall.text import shortened
from dagcall.tools import JsonObject

RICH_SINCE = "2025-11-25"
"""The first revision whose forms have titled and multi-select enums."""
MAX_FLAGS = 20
"""The most booleans that replace one multi-select; a longer one is asked for as JSON text."""

_KEPT_KEYS = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "boolean": (),
}
_KEPT_FORMATS = frozenset({"date", "date-time", "email", "uri"})


class Choice(NamedTuple):
    """One value that may be chosen."""

    value: Json
    title: str | None = None

    @property
    def text(self) -> str:
        """The text that represents the value in the form and in its answer."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form: one property, or one boolean property per choice of a multi-select."""

    name: str
    schema: JsonObject
    """The property since 2025-11-25."""
    plain: Mapping[str, JsonObject]
    """The properties in 2025-06-18."""
    values: Mapping[str, Json] = field(default_factory=dict)
    """Text shown -> value, for choices."""
    is_multiple: bool = False
    """Whether several choices may be selected."""
    is_json: bool = False
    """Whether its text is JSON."""

    @property
    def flags(self) -> Mapping[str, tuple[str, bool]]:
        """The booleans that replace a multi-select: property -> text of the choice, default."""
        if self.name in self.plain:
            return {}
        return {
            name: (text, bool(schema["default"]))
            for (name, schema), text in zip(self.plain.items(), self.values, strict=True)
        }

    def given(self, content: Mapping[str, Json]) -> dict[str, Json]:
        """Return this field's content of a filled-in form, by its name; empty if the form lacks it.

        Accepts forms of either revision.
        """
        if self.name in content:
            return {self.name: content[self.name]}
        flags = self.flags
        if not flags.keys() & content.keys():
            return {}
        ticked = {name: content.get(name) for name in flags}
        return {
            self.name: [
                text
                for name, (text, default) in flags.items()
                if (default if ticked[name] is None else ticked[name] is True)
            ]
        }

    def value(self, given: Json) -> Json:
        """Return the value for the form's content.

        Raises:
            ValueError: the text is not JSON.
        """
        if self.is_json and isinstance(given, str):
            try:
                return json.loads(given)
            except RecursionError as error:
                raise ValueError("nested too deep") from error
        if self.is_multiple:
            chosen = _listed(given) if isinstance(given, str) and given not in self.values else given
            several = chosen if isinstance(chosen, list) else [chosen]
            return [self._meant(one) for one in several]
        return self._meant(given)

    def _meant(self, given: Json) -> Json:
        return self.values.get(given, given) if isinstance(given, str) else given


def choice_field(
    name: str,
    choices: list[Choice],
    *,
    labels: Mapping[str, str],
    default: Json = None,
    is_multiple: bool = False,
    limits: Mapping[str, Json] | None = None,
    taken: frozenset[str] = frozenset(),
) -> Field:
    """Return a field for choices.

    Args:
        name: of the field.
        choices: the choices; their texts differ.
        labels: `title` and `description`.
        default: the text of the default, or a list of them; None without one.
        is_multiple: whether several choices may be selected.
        limits: `minItems` and `maxItems`.
        taken: the names of other fields.
    """
    values = {choice.text: choice.value for choice in choices}
    chosen = {} if default is None else {"default": default}
    if not is_multiple:
        named = {"type": "string", **labels}
        old = {**named, "enum": list(values), **chosen}
        if _are_titled(choices):
            old["enumNames"] = _titles(choices)
            return Field(name, {**named, "oneOf": _titled(choices), **chosen}, {name: old}, values)
        return Field(name, old, {name: old}, values)
    items = {"anyOf": _titled(choices)} if _are_titled(choices) else {"type": "string", "enum": list(values)}
    several = {"type": "array", **labels, "items": items, **(limits or {}), **chosen}
    if len(choices) > MAX_FLAGS:
        text = f"{labels.get('description', '')} (A JSON list of any of: {', '.join(values)})".strip()
        plain = {"type": "string", **labels, "description": shortened(text)}
        plain |= {"default": json.dumps(default, ensure_ascii=False)} if default is not None else {}
        return Field(name, several, {name: plain}, values, is_multiple=True)
    flags = _flags(name, choices, labels=labels, default=default or [], taken=taken | {name})
    return Field(name, several, flags, values, is_multiple=True)


def field_of(
    name: str, schema: Mapping[str, Json], *, display: Mapping[str, Json], taken: frozenset[str] = frozenset()
) -> Field:
    """Return the field for a property of a schema.

    Args:
        name: of the property.
        schema: its schema, as the author wrote it, in one dialect.
        display: Airflow's labels for its values (`values_display`).
        taken: the names of other fields.
    """
    schema = _without_null(schema)
    labels = _labels(schema)
    if choices := _choices(schema, display):
        texts = [choice.text for choice in choices]
        default = Choice(schema["default"]).text if "default" in schema else None
        return choice_field(name, choices, labels=labels, default=default if default in texts else None)
    if choices := _several(schema, display):
        texts = [choice.text for choice in choices]
        limits = {key: schema[key] for key in ("minItems", "maxItems") if key in schema}
        defaults = [Choice(value).text for value in schema["default"]] if _has_list(schema) else None
        if defaults is not None and not set(defaults) <= set(texts):
            defaults = None
        return choice_field(
            name, choices, labels=labels, default=defaults, is_multiple=True, limits=limits, taken=taken
        )
    if flat := _flat(schema, labels):
        return Field(name, flat, {name: flat})
    described = {**labels, "description": f"{labels.get('description', '')} (JSON)".strip()}
    text: JsonObject = {"type": "string", **described}
    text |= {"default": json.dumps(schema["default"], ensure_ascii=False)} if "default" in schema else {}
    return Field(name, text, {name: text}, is_json=True)


def _without_null(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a nullable schema without null: an empty field means null."""
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        kept = [branch for branch in branches if not _is_null(branch)] if isinstance(branches, list) else []
        if kept and len(kept) < len(branches or ()):
            rest = {name: value for name, value in schema.items() if name != key}
            if len(kept) == 1 and isinstance(kept[0], Mapping):
                return _without_null({**kept[0], **rest})
            return {**rest, key: kept}
    types = schema.get("type")
    if not isinstance(types, list):
        return schema
    plain = [name for name in types if name != "null"]
    return {**schema, "type": plain[0] if len(plain) == 1 else plain}


def _is_null(schema: Json) -> bool:
    return isinstance(schema, Mapping) and schema.keys() <= {"type", "description"} and schema.get("type") == "null"


def _choices(schema: Mapping[str, Json], display: Mapping[str, Json]) -> list[Choice]:
    """Return a schema's choices; empty if it has none, or if two of them have the same text."""
    found: list[Choice] = []
    if "const" in schema:
        found = [Choice(schema["const"])]
    elif isinstance(enum := schema.get("enum"), list):
        found = [Choice(value) for value in enum]
    else:
        branches = schema.get("oneOf", schema.get("anyOf"))
        if isinstance(branches, list) and all(isinstance(one, Mapping) and "const" in one for one in branches):
            found = [
                Choice(one["const"], shortened(str(one["title"])) if one.get("title") else None) for one in branches
            ]
    named = [
        Choice(one.value, one.title or (shortened(str(display[one.text])) if display.get(one.text) else None))
        for one in found
    ]
    return named if len({choice.text for choice in named}) == len(named) else []


def _several(schema: Mapping[str, Json], display: Mapping[str, Json]) -> list[Choice]:
    items = schema.get("items")
    is_list = schema.get("type") == "array" and isinstance(items, Mapping) and "prefixItems" not in schema
    return _choices(items, display) if is_list and isinstance(items, Mapping) else []


def _has_list(schema: Mapping[str, Json]) -> bool:
    return isinstance(schema.get("default"), list)


def _are_titled(choices: list[Choice]) -> bool:
    return any(choice.title not in {None, choice.text} for choice in choices)


def _titles(choices: list[Choice]) -> list[str]:
    return [choice.title or choice.text for choice in choices]


def _titled(choices: list[Choice]) -> list[Json]:
    return [{"const": choice.text, "title": choice.title or choice.text} for choice in choices]


def _flags(
    name: str, choices: list[Choice], *, labels: Mapping[str, str], default: Json, taken: frozenset[str]
) -> dict[str, JsonObject]:
    flags: dict[str, JsonObject] = {}
    for number, choice in enumerate(choices, 1):
        flag = f"{name}_{number}"
        while flag in taken:
            flag += "_"
        title = f"{labels.get('title', name)}: {choice.title or choice.text}"
        flags[flag] = {"type": "boolean", **labels, "title": shortened(title), "default": choice.text in default}
    return flags


def _flat(schema: Mapping[str, Json], labels: Mapping[str, str]) -> JsonObject | None:
    """Return a schema reduced to what forms allow; None if it has no single primitive type."""
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in _KEPT_KEYS:
        return None
    kept = {key: schema[key] for key in (*_KEPT_KEYS[kind], "default") if key in schema}
    if schema.get("format") in _KEPT_FORMATS:
        kept["format"] = schema["format"]
    return {"type": kind, **labels, **kept}


def _labels(schema: Mapping[str, Json]) -> dict[str, str]:
    return {key: shortened(str(schema[key])) for key in ("title", "description") if schema.get(key)}


def _listed(text: str) -> Json:
    """Return the list that a text encodes as JSON; otherwise the text."""
    try:
        found: Json = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, list) else text
