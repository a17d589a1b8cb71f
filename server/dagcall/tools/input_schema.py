"""A dag's params -> the tool's input schema; a call's arguments -> the run's conf.

Pure. Knows JSON Schema, Airflow's handling of params, and what MCP clients accept; knows neither HTTP nor MCP messages.

Facts it relies on (Airflow 3.1.8, 3.2.2 and 3.3.2):

* Airflow validates each param separately with `jsonschema.validate(value, schema, format_checker=FormatChecker())`:
  2020-12 unless the schema names another `$schema`; strings are not coerced; unknown keys are accepted silently.
* A default of null in the REST API means "none given", "the default is null" or (3.2+) "the default is invalid".
  If null does not match the schema, omitting the param is refused: it is required. If null matches, sending an explicit
  null is right in every case. 3.1 returns an invalid default as it is, and refuses it likewise.
* A plain default (`params={"n": 3}`) has the schema `{}`: Airflow accepts anything. We publish and check the default's
  type, as Airflow's own form does, because a string instead of a number would fail only later, inside a task.

The published schema is made for clients (`shapes`). Arguments are validated as Airflow does, against the author's own
schema, after differences that JSON cannot express have been normalised: see `InputSchema.taken`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import validator_for

from dagcall.airflow import Param
from dagcall.errors import InvalidArguments, ToolUnpublishable
from dagcall.plain_json import MAX_BYTES, Json, json_within, transport_problems, with_whole_numbers
from dagcall.text import did_you_mean, has_hidden, shortened, visible
from dagcall.tools.json_schema import MAX_SCHEMA_BYTES, Definitions, cleaned, require_valid
from dagcall.tools.keywords import JsonObject, objects_in
from dagcall.tools.markdown import plain_text
from dagcall.tools.naming import property_name_from_param
from dagcall.tools.shapes import all_shaped
from dagcall.tools.validation import Checker, Uncheckable, one_budget, path_text, problem_text

MAX_PROBLEMS = 20
"""How many bad arguments one error lists."""

_AIRFLOW_FORM_KEYS = frozenset(
    {"section", "values_display", "description_md", "custom_html_form", "custom_html_form_md"}
)
_DROPPED_KEYS = _AIRFLOW_FORM_KEYS | {"$schema", "x-mcp-header"}
_Path = tuple[str | int, ...]
_LEFT_OUT = object()
TYPE_SAYING_KEYS = frozenset({"type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "not", "if"})

# The formats that a plain Airflow installation checks. Listed explicitly, so that other packages in dagcall's
# environment change no verdict.
_FORMAT_CHECKER = FormatChecker(("date", "email", "idn-email", "idn-hostname", "ipv4", "ipv6", "regex", "time", "uuid"))


@dataclass(frozen=True, slots=True)
class Property:
    """One param as callers see it."""

    param: str
    schema: JsonObject
    """The author's schema, in 2020-12; the published one is made from it."""
    is_required: bool
    sends_null: bool
    """Omitting it sends an explicit null."""
    checkers: tuple[Checker, ...]
    """For a plain default, first our check of the type; then Airflow's own validation."""

    @property
    def is_left_out_by_null(self) -> bool:
        """Whether null means the same as omitting it: null is sent anyway, or the default replaces it."""
        return self.sends_null or (not self.is_required and bool(self.errors(None)))

    def errors(self, value: Json) -> list[ValidationError]:
        """Return the errors of a value.

        Raises:
            Uncheckable: validation is impossible or takes too long.
        """
        return next(filter(None, (checker.errors(value, most=MAX_PROBLEMS) for checker in self.checkers)), [])


@dataclass(frozen=True, slots=True)
class Taken:
    """Valid arguments."""

    arguments: JsonObject
    """The normalised arguments: equal for identical calls, however they were written."""
    conf: JsonObject
    """The run's conf."""


@dataclass(frozen=True, slots=True)
class InputSchema:
    """A tool's arguments, and how they become a run's conf. Compiled once per dag definition."""

    wire: JsonObject
    """The published input schema."""
    properties: Mapping[str, Property]
    fixed: Mapping[str, Json]
    """Params that the operator sets: param name -> value."""

    @property
    def optional(self) -> tuple[str, ...]:
        """The optional properties, in the dag's order."""
        return tuple(name for name, prop in self.properties.items() if not prop.is_required)

    @classmethod
    def from_params(
        cls,
        params: tuple[Param, ...],
        *,
        fixed: Mapping[str, Json] | None = None,
        hidden: frozenset[str] = frozenset(),
    ) -> Self:
        """Make the input schema of a dag.

        Args:
            params: the dag's params, in the order in which callers see them.
            fixed: param name -> value, set by the operator; callers do not see these.
            hidden: params that callers do not see and that keep their defaults.

        Raises:
            ToolUnpublishable: a schema cannot be published or checked, or the configuration does not match the params.
        """
        fixed = fixed or {}
        _require_known(params, fixed, hidden)
        if problem := next(transport_problems(fixed), None):
            raise ToolUnpublishable(f"fixed values: {problem}")
        fixed = {name: with_whole_numbers(value) for name, value in fixed.items()}
        properties: dict[str, Property] = {}
        try:
            for param in params:
                if (prop := _property(param, fixed, hidden)) is not None:
                    properties[property_name_from_param(param.name)] = prop
            return cls(_wire(properties), properties, fixed)
        except RecursionError:
            raise ToolUnpublishable("the schema or default of a param is nested too deeply") from None

    def taken(self, arguments: Mapping[str, Json], *, tool: str, max_bytes: int = MAX_BYTES) -> Taken:
        """Validate arguments, and return them normalised, with the conf to trigger the dag with.

        Airflow fills in defaults; fixed params are added. Differences between clients are normalised: a whole float
        becomes an integer (`3.0` is `3`); an invalid null counts as omitted, if omitting is allowed; and an invalid
        string is read as JSON if it contains a list, an object, or an integer too large for JavaScript. Valid values
        stay unchanged.

        Args:
            arguments: the call's arguments.
            tool: the name of the called tool.
            max_bytes: maximum size of the arguments, as JSON.

        Raises:
            InvalidArguments: with one sentence for each bad argument. Nothing was started.
        """
        problems = list(transport_problems(arguments, max_bytes))
        counting: JsonObject = {}
        if not problems:
            with one_budget():
                counting = self._counting(with_whole_numbers(arguments), problems)
            problems = problems or list(transport_problems(counting, max_bytes))
        if problems:
            raise InvalidArguments(tool, tuple(problems[:MAX_PROBLEMS]))
        conf = {self.properties[name].param: value for name, value in counting.items()}
        nulls = {prop.param: None for name, prop in self.properties.items() if prop.sends_null and name not in counting}
        return Taken(counting, {**conf, **nulls, **self.fixed})

    def conf_from_arguments(
        self, arguments: Mapping[str, Json], *, tool: str, max_bytes: int = MAX_BYTES
    ) -> JsonObject:
        """Return only the conf from `taken`.

        Raises:
            InvalidArguments: as `taken`.
        """
        return self.taken(arguments, tool=tool, max_bytes=max_bytes).conf

    def _counting(self, arguments: Mapping[str, Json], problems: list[str]) -> JsonObject:
        counting: JsonObject = {}
        for name in arguments:
            if name not in self.properties:
                known = did_you_mean(name, self.properties, nothing="it takes none")
                problems.append(f"{name}: there is no such argument{known}")
        for name, prop in self.properties.items():
            if name not in arguments:
                problems += [f"{name}: required, but not given"] if prop.is_required else []
                continue
            try:
                if arguments[name] is None and prop.is_left_out_by_null:
                    continue
                value, errors = _read(prop, arguments[name])
            except Uncheckable as error:
                problems.append(f"{name}: {error}")
                break
            problems += (f"{name}{path_text(error)}: {problem_text(error)}" for error in errors)
            if not errors and prop.schema.get("format") == "date-time" and not _is_datetime(value):
                problems.append(
                    f"{name}: {shortened(repr(value))} is not a date and time such as 2026-01-31T12:00:00+00:00"
                )
            counting[name] = value
        return counting


def _read(prop: Property, value: Json) -> tuple[Json, list[ValidationError]]:
    """Return the normalised value, with the errors of the value that was sent."""
    read, errors = value, prop.errors(value)
    found = errors
    while found and (mends := _mends(found)) is not None:
        read = _with_mended(read, mends, ())
        found = prop.errors(read)
    return (value, errors) if found else (read, [])


def _mends(errors: Iterable[ValidationError]) -> dict[_Path, Json] | None:
    """Return replacements that remove every error, by path; None if some error cannot be removed.

    A string may contain the JSON of the expected value, and a null may mean an omitted key: CrewAI sends null for each
    optional key of an object.
    """
    mends: dict[_Path, Json] = {}
    for error in errors:
        path = tuple(error.absolute_path)
        if error.instance is None and path and isinstance(path[-1], str):
            mends[path] = _LEFT_OUT
        elif isinstance(error.instance, str) and (inner := json_within(error.instance)) is not None:
            mends[path] = inner
        elif (within := _mends_of_one_branch(error)) is not None:
            mends |= within
        else:
            return None
    return mends


def _mends_of_one_branch(error: ValidationError) -> dict[_Path, Json] | None:
    """Return the same for the first alternative (`anyOf`, `oneOf`) in which every error can be removed."""
    branches: dict[Json, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    return next((mends for mends in map(_mends, branches.values()) if mends is not None), None)


def _with_mended(value: Json, mends: Mapping[_Path, Json], path: _Path) -> Json:
    if path in mends:
        return mends[path]
    if isinstance(value, Mapping):
        items = ((name, _with_mended(item, mends, (*path, name))) for name, item in value.items())
        return {name: item for name, item in items if item is not _LEFT_OUT}
    if isinstance(value, list):
        return [_with_mended(item, mends, (*path, at)) for at, item in enumerate(value)]
    return value


def _property(param: Param, fixed: Mapping[str, Json], hidden: frozenset[str]) -> Property | None:
    """Return a param as callers see it; None if it is hidden or fixed."""
    airflow = _airflow_checker(param)
    if param.name in fixed:
        if error := _first_problem(airflow, fixed[param.name]):
            raise ToolUnpublishable(f"the fixed value of param {param.name!r} is invalid: {error}")
        return None
    # Airflow refuses a run without the param if its default, including null, does not match the schema.
    is_required = _first_problem(airflow, with_whole_numbers(param.value)) is not None
    if param.name in hidden:
        if is_required:
            raise ToolUnpublishable(f"param {param.name!r} is hidden but has no valid default; set it in fixed")
        return None
    schema = _author_schema(param, has_default=not is_required)
    inferred = {} if TYPE_SAYING_KEYS & param.schema.keys() else _inferred_type(param.value)
    ours = (Checker.of(inferred, Draft202012Validator),) if inferred else ()
    return Property(
        param=param.name,
        schema=schema,
        is_required=is_required,
        sends_null=param.value is None and not is_required,
        checkers=(*ours, airflow),
    )


def _wire(properties: Mapping[str, Property]) -> JsonObject:
    definitions = Definitions()
    lifted = {
        name: definitions.lifted(prop.schema, owner=f"the schema of param {prop.param!r}", name=name)
        for name, prop in properties.items()
    }
    published, found = all_shaped(lifted, definitions.found)
    wire: JsonObject = {
        "type": "object",
        "properties": published,
        "required": sorted(name for name, prop in properties.items() if prop.is_required),
        "additionalProperties": False,
    }
    if found:
        wire["$defs"] = found
    require_valid(wire, name="the input schema")
    return wire


def _require_known(params: tuple[Param, ...], fixed: Mapping[str, Json], hidden: frozenset[str]) -> None:
    known = [param.name for param in params]
    for name in [*fixed, *sorted(hidden)]:
        if name not in known:
            raise ToolUnpublishable(f"the dag has no param {name!r} to fix or hide{did_you_mean(name, known)}")
    if both := sorted(hidden & fixed.keys()):
        raise ToolUnpublishable(f"param {both[0]!r} is both fixed and hidden; fixed params are always hidden")


def _airflow_checker(param: Param) -> Checker:
    """Compile the param's schema as Airflow does, but never fetch other documents."""
    dialect = validator_for(param.schema, default=Draft202012Validator)
    if len(json.dumps(param.schema)) > MAX_SCHEMA_BYTES:
        raise ToolUnpublishable(f"the schema of param {param.name!r} is larger than {MAX_SCHEMA_BYTES:,} bytes")
    require_valid(param.schema, name=f"the schema of param {param.name!r}", dialect=dialect)
    keywords: set[str] = set().union(*objects_in(param.schema))
    if {"unevaluatedProperties", "patternProperties"} <= keywords:
        raise ToolUnpublishable(
            f"the schema of param {param.name!r} uses unevaluatedProperties with patternProperties, which cannot be "
            "validated in bounded time"
        )
    schema = {key: value for key, value in param.schema.items() if key != "$schema"}
    return Checker.of(schema, dialect, _FORMAT_CHECKER)


def _first_problem(checker: Checker, value: Json) -> str | None:
    try:
        errors = checker.errors(value, most=1)
    except Uncheckable as error:
        raise ToolUnpublishable(f"a param's schema cannot be validated against: its default {error}") from error
    return problem_text(errors[0]) if errors else None


def _author_schema(param: Param, *, has_default: bool) -> JsonObject:
    found = cleaned(param.schema, owner=f"the schema of param {param.name!r}", adapted=_without_form_keys)
    if not TYPE_SAYING_KEYS & found.keys():
        found |= _inferred_type(param.value)
    if property_name_from_param(param.name) != param.name:
        found.setdefault("title", visible(param.name))
    if description := _description(param):
        found["description"] = description
    else:
        found.pop("description", None)
    if has_default and param.value is not None and not has_hidden(param.value):
        found["default"] = param.value
    return found


def _without_form_keys(schema: JsonObject) -> JsonObject:
    return {key: value for key, value in schema.items() if key not in _DROPPED_KEYS}


def _inferred_type(default: Json) -> JsonObject:
    """Return the type that a plain default implies. An integer implies any number, as in Airflow's form."""
    match default:
        case bool():
            return {"type": "boolean"}
        case int() | float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array"}
        case dict():
            return {"type": "object"}
        case _:
            return {}


def _description(param: Param) -> str:
    """Return a param's description for the model, followed by the readable names of its values."""
    schema = param.schema
    text = param.description or schema.get("description") or plain_text(str(schema.get("description_md") or ""))
    parts = [" ".join(str(text).split())]
    display = schema.get("values_display")
    if isinstance(display, Mapping) and display:
        # PostgreSQL stores a serialized dag as jsonb, which sorts keys by length; `enum` keeps the author's order.
        enum = schema.get("enum")
        values = {str(value): _as_json(value) for value in enum} if isinstance(enum, list) else {}
        labels = sorted(display.items(), key=lambda item: (*values, item[0]).index(item[0]))
        named = ", ".join(f"{values.get(key, key)} ({label})" for key, label in labels if str(label) != key)
        parts.append(f"Values: {named}." if named else "")
    return visible(" ".join(part for part in parts if part))


def _as_json(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _is_datetime(value: Json) -> bool:
    """Check what a plain Airflow does not: an invalid date and time would fail only inside a task."""
    if not isinstance(value, str):
        return True
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
