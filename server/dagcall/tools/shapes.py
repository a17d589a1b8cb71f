"""A param's schema -> one that every MCP client accepts.

Pure. `client_limits` lists what clients refuse. A published schema guides models and clients; arguments are validated
against the author's own. So a constraint that some client refuses is put into the description or dropped: the published
schema then allows more, never less. Where more would become less (below `not`, `oneOf` or `if`), that keyword is
dropped, too. One exception: for a value of unknown type, nested lists are described down to a few levels only.
"""

from collections.abc import Collection, Iterator, Mapping

from dagcall.plain_json import Json
from dagcall.text import cut, escaped
from dagcall.tools.client_limits import MAX_TEXT, PUBLISHED_FORMATS, is_key
from dagcall.tools.keywords import DEFINITIONS, KEYWORDS_OF, KINDS, JsonObject, kind_of, objects_in, referred_to
from dagcall.tools.patterns import common_pattern

_FORMAT_WORDS = {"time": "A time as HH:MM:SS."}
_LONGEST_PATTERN = 200
"""Maximum characters of a regular expression or a name in a description."""
_MOST_NAMES = 3
MIN_LEVELS = 2
"""How many levels of nested lists a schema for any value describes."""
_COMPOSING = frozenset({"$ref", "anyOf", "oneOf", "allOf"})
"""Keywords whose schemas restrict the type of a value."""
_OF_KINDS: frozenset[str] = frozenset().union(*KEYWORDS_OF.values())
_CONDITION = frozenset({"if", "then", "else"})


def all_shaped(properties: JsonObject, definitions: JsonObject) -> tuple[JsonObject, JsonObject]:
    """Return schemas, and the definitions that they still refer to, in the form that every client accepts.

    Args:
        properties: name -> schema in 2020-12, with references only to the definitions.
        definitions: name -> schema, likewise.
    """
    loops = _loops(properties, definitions)
    levels = max((_lists_within_lists(schema.get("default")) for schema in properties.values()), default=0)
    schemas = (*properties.values(), *definitions.values())
    counts_items = any("unevaluatedItems" in part for schema in schemas for part in objects_in(schema))
    widened = _widened(definitions, loops, counts_items=counts_items)

    def shaper(cut: Collection[str] = ()) -> _Shaper:
        return _Shaper(definitions, cut=cut, widened=widened, levels=levels, counts_items=counts_items)

    shaped = {name: shaper().shaped(schema) for name, schema in properties.items()}
    found: JsonObject = {}
    wanted = [name for schema in shaped.values() for name in referred_to(schema)]
    while wanted:
        name = wanted.pop(0)
        if name not in found:
            found[name] = shaper(loops[name]).shaped(definitions[name])
            wanted += referred_to(found[name])
    return shaped, found


def _widened(definitions: JsonObject, loops: Mapping[str, Collection[str]], *, counts_items: bool) -> set[str]:
    """Return the definitions that, once shaped, accept more than before, directly or through a reference."""
    widened: set[str] = set()
    for name, back in loops.items():
        shaper = _Shaper(definitions, cut=back, counts_items=counts_items)
        shaper.shaped(definitions[name])
        if shaper.losses:
            widened.add(name)
    while more := {name for name in loops if name not in widened and widened & set(referred_to(definitions[name]))}:
        widened |= more
    return widened


def _loops(properties: JsonObject, definitions: JsonObject) -> dict[str, set[str]]:
    """Return for each definition its references that close a loop."""
    loops: dict[str, set[str]] = {}

    def follow(name: str, way: tuple[str, ...]) -> None:
        loops[name] = set()
        for other in referred_to(definitions[name]):
            if other in way or other == name:
                loops[name].add(other)
            elif other not in loops:
                follow(other, (*way, name))

    for schema in properties.values():
        for name in referred_to(schema):
            if name not in loops:
                follow(name, ())
    return loops


def _lists_within_lists(value: Json) -> int:
    """Return the maximum depth of directly nested lists."""
    if isinstance(value, Mapping):
        return max(map(_lists_within_lists, value.values()), default=0)
    if not isinstance(value, list):
        return 0
    return max([1, *(_lists_within_lists(item) + isinstance(item, list) for item in value)])


def any_value(levels: int = MIN_LEVELS) -> JsonObject:
    """Return a schema that explicitly accepts any value: for an empty schema, clients send strings.

    Args:
        levels: how many levels of nested lists it describes.
    """
    kinds: list[JsonObject] = [{"type": kind} for kind in ("string", "number", "boolean", "object")]
    if levels:
        kinds.append({"type": "array", "items": any_value(levels - 1)})
    return {"anyOf": [*kinds, {"type": "null"}]}


class _Shaper:
    """Shapes one schema, and counts the constraints lost.

    Args:
        definitions: the targets of its references.
        cut: references that are not followed, because they close a loop.
        widened: references to definitions that accept more than before.
        levels: minimum levels of nested lists that a schema for any value describes.
        counts_items: whether `unevaluatedItems` occurs, which depends on the places that have `items`.
    """

    def __init__(
        self,
        definitions: JsonObject,
        *,
        cut: Collection[str] = (),
        widened: Collection[str] = (),
        levels: int = 0,
        counts_items: bool = False,
    ) -> None:
        self._definitions = definitions
        self._cut = cut
        self._widened = widened
        self._levels = max(levels, MIN_LEVELS)
        self._counts_items = counts_items
        self.losses = 0
        """How many times a shaped schema accepts more than before."""

    def shaped(self, schema: Json, kinds: Collection[str] = (), *, is_value: bool = True) -> JsonObject:
        """Return a schema in its published form.

        Args:
            schema: the schema.
            kinds: the types that the surrounding schema allows; empty for any.
            is_value: whether a client makes a value from the schema, or only restricts one.
        """
        if schema is False:
            return {"type": "null", "not": {}} if is_value else {"not": {}}
        if schema is True and (not is_value or not kinds):
            return any_value(self._levels) if is_value else {}
        schema = {} if schema is True else schema
        before, words = self.losses, list[str]()
        if (name := str(schema.get("$ref", "")).removeprefix(DEFINITIONS)) in self._cut:
            self._lose(words, f"Recursive: same schema as {name}.")
            target = self._definitions[name]
            same = (_own_kinds(target) if isinstance(target, Mapping) else ()) or KINDS
            schema = {"type": list(same), **{key: value for key, value in schema.items() if key != "$ref"}}
        self.losses += name in self._widened
        own = _own_kinds(schema)
        found = self._for_all_kinds(schema, own or kinds, is_value=is_value)
        if not own and is_value and not _COMPOSING & found.keys():
            own = tuple(kinds) or KINDS
        branches = list(self._branches(schema, own, words, is_value=is_value))
        if len(branches) == 1:
            found |= branches[0]
        elif "anyOf" in found:
            found["allOf"] = [*found.get("allOf", []), {"anyOf": branches}]
        else:
            found["anyOf"] = branches
        if self.losses > before:
            found.pop("unevaluatedProperties", None)
            found.pop("unevaluatedItems", None)
        return _described(found, words)

    # Keywords about one type

    def _branches(
        self, schema: Mapping[str, Json], kinds: Collection[str], words: list[str], *, is_value: bool
    ) -> Iterator[JsonObject]:
        """Yield the part of the schema for each type; one part for all types if it names none."""
        if not kinds:
            values = {key: schema[key] for key in ("enum", "const") if key in schema}
            yield values | self._of_kind(schema, None, words, is_value=is_value)
            return
        fitting = [kind for kind in kinds if kind != "integer" or "number" not in kinds]
        fitting.sort(key="null".__eq__)  # last, as most clients expect
        allowed = {kind: _values_of_kind(schema, kind) for kind in dict.fromkeys(fitting)}
        known = {kind: values for kind, values in allowed.items() if values is not None}
        if not known:  # no value fits
            known = {fitting[0]: {key: schema[key] for key in ("enum", "const") if key in schema}}
        for kind, values in known.items():
            yield {"type": kind, **values, **self._of_kind(schema, kind, words, is_value=is_value)}

    def _of_kind(self, schema: Mapping[str, Json], kind: str | None, words: list[str], *, is_value: bool) -> JsonObject:
        keywords = _OF_KINDS if kind is None else KEYWORDS_OF.get(kind, frozenset())
        found = {key: value for key, value in schema.items() if key in keywords}
        found.pop("contentSchema", None)
        self._shape_text(found, words)
        self._shape_array(found, is_array=kind == "array", is_value=is_value)
        self._shape_object(found, words, is_value=is_value)
        return found

    def _shape_text(self, found: JsonObject, words: list[str]) -> None:
        pattern, name = found.pop("pattern", None), found.pop("format", None)
        if pattern is not None and (common := common_pattern(pattern)) is not None:
            found["pattern"] = common
        elif pattern is not None:
            self._lose(words, f"Must match the regular expression {_shown(pattern)}")
        if name in PUBLISHED_FORMATS:
            found["format"] = name
        elif name is not None:
            self._lose(words, _FORMAT_WORDS.get(name, f"Format: {name}."))

    def _shape_array(self, found: JsonObject, *, is_array: bool, is_value: bool) -> None:
        if "prefixItems" in found:
            found["prefixItems"] = [self.shaped(item, is_value=is_value) for item in found["prefixItems"]]
        items = found.get("items", True)
        if items is False:
            length = len(found.get("prefixItems", []))
            found["maxItems"] = min(length, found.get("maxItems", length))
        if is_array and is_value and not (isinstance(items, Mapping) and items):
            found["items"] = any_value(self._levels - 1)
        elif is_array and not isinstance(items, Mapping):
            self.losses += self._counts_items and "items" not in found
            found["items"] = {}
        elif isinstance(items, Mapping):
            found["items"] = self.shaped(items, is_value=is_value)
        elif "items" in found:
            del found["items"]
            self.losses += items is True  # unevaluatedItems counts these items as evaluated
        if "contains" in found:
            before = self.losses
            found["contains"] = self.shaped(found["contains"], is_value=False)
            if self.losses > before:
                found.pop("maxContains", None)

    def _shape_object(self, found: JsonObject, words: list[str], *, is_value: bool) -> None:
        has_more = self._shape_properties(found, words, is_value=is_value)
        has_more |= self._shape_pattern_properties(found, words, is_value=is_value)
        if has_more:
            found.pop("additionalProperties", None)
        if isinstance(others := found.get("additionalProperties"), Mapping):
            found["additionalProperties"] = self.shaped(others, is_value=is_value) if others else True
        if isinstance(names := found.get("propertyNames"), Mapping):
            found["propertyNames"] = self.shaped(names, is_value=False)
        if schemas := found.get("dependentSchemas"):
            found["dependentSchemas"] = {name: self.shaped(item, is_value=False) for name, item in schemas.items()}

    def _shape_properties(self, found: JsonObject, words: list[str], *, is_value: bool) -> bool:
        """Return whether allowed keys were left out."""
        if "properties" not in found:
            return False
        left_out = [name for name in found["properties"] if not is_key(name)]
        if left_out:
            self._lose(words, f"Also accepts {', '.join(map(_shown, left_out[:_MOST_NAMES]))}.")
        self.losses += False in found["properties"].values()
        found["properties"] = {
            name: self.shaped(item, is_value=is_value)
            for name, item in found["properties"].items()
            if name not in left_out and item is not False
        }
        if "required" in found:
            found["required"] = [name for name in found["required"] if name not in left_out]
        return bool(left_out)

    def _shape_pattern_properties(self, found: JsonObject, words: list[str], *, is_value: bool) -> bool:
        """Return whether allowed keys were left out."""
        if "patternProperties" not in found:
            return False
        common = {pattern: common_pattern(pattern) for pattern in found["patternProperties"]}
        left_out = [pattern for pattern, one in common.items() if one is None]
        if left_out:
            self._lose(words, f"Keys may match {', '.join(map(_shown, left_out[:_MOST_NAMES]))}.")
        found["patternProperties"] = {
            one: self.shaped(found["patternProperties"][pattern], is_value=is_value)
            for pattern, one in common.items()
            if one is not None
        }
        return bool(left_out)

    # Keywords about all types

    def _for_all_kinds(self, schema: Mapping[str, Json], kinds: Collection[str], *, is_value: bool) -> JsonObject:
        known = _OF_KINDS | _CONDITION | {"type", "enum", "const", "not", "anyOf", "oneOf", "allOf"}
        found: JsonObject = {key: value for key, value in schema.items() if key not in known}
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                self._add_members(found, key, schema[key], kinds, is_value=is_value)
        if "not" in schema and (shape := self._exactly(schema["not"])) is not None:
            found["not"] = shape
        if "if" in schema and (shape := self._exactly(schema["if"])) is not None:
            found["if"] = shape
            for key in ("then", "else"):
                if key in schema:
                    found[key] = self.shaped(schema[key], is_value=False)
        for key in ("unevaluatedProperties", "unevaluatedItems"):
            if isinstance(inner := found.get(key), Mapping):
                found[key] = self.shaped(inner, is_value=False)
        return found

    def _add_members(
        self, found: JsonObject, key: str, schemas: list[Json], kinds: Collection[str], *, is_value: bool
    ) -> None:
        before = self.losses
        members = [self.shaped(schema, kinds, is_value=is_value) for schema in schemas if schema is not False]
        self.losses += len(members) < len(schemas) if key == "allOf" else not members
        if not members:
            return
        if key == "allOf":
            found[key] = [*found.get(key, []), *members]
        elif key != "oneOf" or self.losses == before:
            found[key] = members
        elif "anyOf" in found:
            found["allOf"] = [{"anyOf": members}]
        else:
            found["anyOf"] = members

    def _exactly(self, schema: Json) -> JsonObject | None:
        """Return the shaped schema if it accepts the same values as before; otherwise None."""
        before = self.losses
        shape = self.shaped(schema, is_value=False)
        return shape if self.losses == before else None

    def _lose(self, words: list[str], note: str) -> None:
        self.losses += 1
        words.append(note)


def _own_kinds(schema: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the types that a schema itself names, in its order."""
    kinds = schema.get("type", [])
    if not kinds:
        kinds = map(kind_of, [*schema.get("enum", []), *([schema["const"]] if "const" in schema else [])])
    return tuple(dict.fromkeys([kinds] if isinstance(kinds, str) else map(str, kinds)))


def _values_of_kind(schema: Mapping[str, Json], kind: str) -> JsonObject | None:
    """Return `enum` and `const` restricted to one type; None if they allow no value of it."""
    found: JsonObject = {}
    if "enum" in schema:
        found["enum"] = [value for value in schema["enum"] if _is_of(value, kind)]
    if "const" in schema and _is_of(schema["const"], kind):
        found["const"] = schema["const"]
    if found.get("enum") == [] or ("const" in schema and "const" not in found):
        return None
    return {} if kind == "null" else found


def _is_of(value: Json, kind: str) -> bool:
    return kind_of(value) == kind or (kind == "number" and kind_of(value) == "integer")


def _shown(text: str) -> str:
    return escaped(text) if len(text) <= _LONGEST_PATTERN else f"{escaped(text[:_LONGEST_PATTERN])}…"


def _described(schema: JsonObject, words: list[str]) -> JsonObject:
    """Return the schema with words added to its description; the author's part is cut if it is too long."""
    note = " ".join(words)
    described = cut(str(schema.pop("description", "")), MAX_TEXT - len(note) - 1)
    text = " ".join(part for part in (described, note) if part)
    return {**schema, "description": text} if text else schema
