"""A dag's params -> the tool's input schema; a call's arguments -> the run's conf.

Pure. Knows JSON Schema, what Airflow makes of a param, and what MCP clients accept; knows nothing of HTTP or MCP's
messages.

Facts it relies on (Airflow 3.1.8, 3.2.2 and 3.3.2):

* Airflow checks each param by itself with `jsonschema.validate(value, schema, format_checker=FormatChecker())`: 2020-12
  unless the schema names another `$schema`; strings are not coerced; keys that are no params are accepted silently.
* A default of null in the REST API stands for "none given", "the default is null" and (3.2+) "the default is invalid".
  If null does not fit the schema, leaving the param out is refused: it is required. If null fits, sending an explicit
  null is right in every case. 3.1 shows an invalid default as it is, and refuses it likewise.
* A plain default (`params={"n": 3}`) has the schema `{}`: Airflow takes anything. We say and check the type that the
  default has, as Airflow's own form does, since a string for a number only fails later, inside a task.

And what clients refuse, taking the whole list of tools with it: a root that is not an object, missing `properties`,
odd property names, and what `dialect` sees to.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing.exceptions import Unresolvable

from dagcall.arguments import MAX_BYTES, transport_problems
from dagcall.dialect import MAX_SCHEMA_BYTES, NO_DOCUMENTS, JsonObject, Move, compiled, path_text
from dagcall.errors import InvalidArguments, ToolUnpublishable
from dagcall.model import Json, Param
from dagcall.naming import property_name_from_param
from dagcall.prose import has_hidden, plain_text, visible
from dagcall.wording import did_you_mean, shortened

MAX_PROBLEMS = 20
"""How many bad arguments one answer names."""

_AIRFLOW_FORM_KEYS = frozenset(
    {"section", "values_display", "description_md", "custom_html_form", "custom_html_form_md"}
)
_DROPPED_KEYS = _AIRFLOW_FORM_KEYS | {"$schema", "x-mcp-header"}
_TYPE_SAYING_KEYS = frozenset({"type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "not", "if"})

# The formats that a plain installation of Airflow checks: named one by one, so that what happens to be installed
# beside dagcall changes no verdict.
_FORMAT_CHECKER = FormatChecker(("date", "email", "idn-email", "idn-hostname", "ipv4", "ipv6", "regex", "time", "uuid"))


@dataclass(frozen=True, slots=True)
class _Property:
    """One param as the caller sees it."""

    param: str
    is_required: bool
    sends_null: bool
    """Leaving it out sends an explicit null."""
    airflow: Validator
    """Airflow's own verdict: the param's schema, untouched."""


@dataclass(frozen=True, slots=True)
class InputSchema:
    """What a tool takes, and how that becomes a run's conf. Compiled once per definition of the dag."""

    wire: JsonObject
    """The input schema on the wire."""
    properties: Mapping[str, _Property]
    fixed: Mapping[str, Json]
    """Params that the operator sets: param name -> value."""
    validators: Mapping[str, Validator]
    """Ours, by property: what the input schema says of it."""

    @property
    def optional(self) -> tuple[str, ...]:
        """The properties that may be left out, in the dag's order."""
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
            ToolUnpublishable: a schema that cannot be published or checked, or a configuration that does not fit.
        """
        fixed = fixed or {}
        _require_known(params, fixed, hidden)
        properties: dict[str, _Property] = {}
        wire_properties: JsonObject = {}
        references: list[str] = []
        for param in params:
            airflow = _airflow_validator(param)
            if param.name in fixed:
                if error := _first_error(airflow, fixed[param.name]):
                    raise ToolUnpublishable(f"the fixed value of param {param.name!r} does not fit: {error}")
                continue
            is_required = _is_required(param, airflow)
            if param.name in hidden:
                if is_required:
                    raise ToolUnpublishable(
                        f"param {param.name!r} is hidden but has no default that Airflow accepts; fix it to a value"
                    )
                continue
            name = property_name_from_param(param.name)
            wire_properties[name] = _wire_property(param, name, references, has_default=not is_required)
            properties[name] = _Property(
                param=param.name,
                is_required=is_required,
                sends_null=param.value is None and not is_required,
                airflow=airflow,
            )
        wire: JsonObject = {
            "type": "object",
            "properties": wire_properties,
            "required": sorted(name for name, prop in properties.items() if prop.is_required),
            "additionalProperties": False,
        }
        validator = compiled(wire, references, name="the input schema", format_checker=_FORMAT_CHECKER)
        validators = {name: validator.evolve(schema=schema) for name, schema in wire_properties.items()}
        return cls(wire, properties, dict(fixed), validators)

    def conf_from_arguments(
        self, arguments: Mapping[str, Json], *, tool: str, max_bytes: int = MAX_BYTES
    ) -> JsonObject:
        """Return the conf to trigger the dag with.

        Defaults are left to Airflow; fixed params are added.

        Args:
            arguments: of a call.
            tool: what was called.
            max_bytes: what the arguments may take, as JSON.

        Raises:
            InvalidArguments: with one sentence for each bad argument. Nothing was started.
        """
        problems = tuple(transport_problems(arguments, max_bytes)) or tuple(self._problems(arguments))
        if problems:
            raise InvalidArguments(tool, problems[:MAX_PROBLEMS])
        conf = {prop.param: arguments[name] for name, prop in self.properties.items() if name in arguments}
        nulls = {
            prop.param: None for name, prop in self.properties.items() if prop.sends_null and name not in arguments
        }
        return {**conf, **nulls, **self.fixed}

    def _problems(self, arguments: Mapping[str, Json]) -> Iterator[str]:
        for name in arguments:
            if name not in self.properties:
                yield f"{name}: there is no such argument{did_you_mean(name, self.properties, nothing='it takes none')}"
        for name, prop in self.properties.items():
            if name in arguments:
                yield from self._property_problems(name, prop, arguments[name])
            elif prop.is_required:
                yield f"{name}: required, but not given"

    def _property_problems(self, name: str, prop: _Property, value: Json) -> Iterator[str]:
        try:
            errors = list(self.validators[name].iter_errors(value)) or list(prop.airflow.iter_errors(value))
        except (RecursionError, Unresolvable):
            yield f"{name}: cannot be checked against its schema; make it simpler"
            return
        for error in errors:
            yield f"{name}{path_text(error)}: {shortened(error.message)}"
        if not errors and self.wire["properties"][name].get("format") == "date-time" and not _is_datetime(value):
            yield f"{name}: {shortened(repr(value))} is not a date and time such as 2026-01-31T12:00:00+00:00"


def _require_known(params: tuple[Param, ...], fixed: Mapping[str, Json], hidden: frozenset[str]) -> None:
    known = [param.name for param in params]
    for name in [*fixed, *sorted(hidden)]:
        if name not in known:
            raise ToolUnpublishable(f"the dag has no param {name!r} to fix or hide{did_you_mean(name, known)}")
    if both := sorted(hidden & fixed.keys()):
        raise ToolUnpublishable(f"param {both[0]!r} is both fixed and hidden; a fixed param is hidden anyway")


def _airflow_validator(param: Param) -> Validator:
    """Compile the param's schema as Airflow does, but with no way to fetch other documents."""
    cls = validator_for(param.schema, default=Draft202012Validator)
    try:
        cls.check_schema(dict(param.schema))
    except SchemaError as error:
        raise ToolUnpublishable(
            f"the schema of param {param.name!r} is not valid JSON Schema: {shortened(error.message)}"
        ) from error
    return cls(dict(param.schema), format_checker=_FORMAT_CHECKER, registry=NO_DOCUMENTS)


def _first_error(validator: Validator, value: Json) -> str | None:
    try:
        error = next(validator.iter_errors(value), None)
    except (RecursionError, Unresolvable) as unusable:
        raise ToolUnpublishable(f"a param's schema cannot be used for checking: {unusable}") from unusable
    return None if error is None else shortened(error.message)


def _is_required(param: Param, airflow: Validator) -> bool:
    """Say whether Airflow refuses a run without this param: its default, null included, does not fit the schema."""
    return _first_error(airflow, param.value) is not None


def _wire_property(param: Param, name: str, references: list[str], *, has_default: bool) -> JsonObject:
    if len(json.dumps(param.schema)) > MAX_SCHEMA_BYTES:
        raise ToolUnpublishable(f"the schema of param {param.name!r} is larger than {MAX_SCHEMA_BYTES:,} bytes")
    move = Move(f"the schema of param {param.name!r}", f"#/properties/{name}", references, _without_form_keys)
    cleaned = move.cleaned(param.schema)
    if not _TYPE_SAYING_KEYS & cleaned.keys():
        cleaned |= _inferred_type(param.value)
    if name != param.name:
        cleaned.setdefault("title", visible(param.name))
    if description := _description(param):
        cleaned["description"] = description
    else:
        cleaned.pop("description", None)
    if has_default and param.value is not None and not has_hidden(param.value):
        cleaned["default"] = param.value
    return cleaned


def _without_form_keys(schema: JsonObject) -> JsonObject:
    return {key: value for key, value in schema.items() if key not in _DROPPED_KEYS}


def _inferred_type(default: Json) -> JsonObject:
    """Return the type that a plain default stands for. A whole number may become any number, as in Airflow's form."""
    match default:
        case bool():
            return {"type": "boolean"}
        case int() | float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array", "items": {}}
        case dict():
            return {"type": "object"}
        case _:
            return {}


def _description(param: Param) -> str:
    """Return what the model reads of a param: its description, then the readable names of its values."""
    schema = param.schema
    text = param.description or schema.get("description") or plain_text(str(schema.get("description_md") or ""))
    parts = [" ".join(str(text).split())]
    display = schema.get("values_display")
    if isinstance(display, Mapping) and display:
        # PostgreSQL keeps a serialized dag as jsonb, which sorts keys by their length; `enum` is in the author's order.
        enum = schema.get("enum")
        author_order = [str(value) for value in enum] if isinstance(enum, list) else []
        labels = sorted(display.items(), key=lambda item: (*author_order, item[0]).index(item[0]))
        named = ", ".join(f"{value} ({label})" for value, label in labels if str(label) != str(value))
        parts.append(f"Values: {named}." if named else "")
    return visible(" ".join(part for part in parts if part))


def _is_datetime(value: Json) -> bool:
    """Check what a plain Airflow does not: a text that is no date and time would only fail inside a task."""
    if not isinstance(value, str):
        return True
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
