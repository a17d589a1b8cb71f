"""Validation against JSON Schema in bounded time.

Airflow validates with `jsonschema`, so results here equal those of `jsonschema`. Keywords that may take more than
linear time there are implemented differently or limited:

* `uniqueItems` compares texts instead of all pairs of items, and `enum` looks values up.
* `pattern` and `patternProperties` are matched by `regex`, which behaves like `re` and can be interrupted.
* Every other keyword that is applied to a value takes one step, and a validation has a limited number of steps. This
  stops schemas that refer to themselves in several ways, or that repeat the same checks below `anyOf`.

A validation that takes too long has no result. Only matching is limited by a clock, which counts the CPU time of this
thread: the load of the machine changes nothing.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from time import thread_time
from typing import Any, Self, cast

import regex
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from dagcall.plain_json import Json, canonical, with_whole_numbers
from dagcall.text import shortened

MAX_STEPS = 200_000
"""For all values that are validated together: about a second."""
PATTERN_SECONDS = 0.5
"""Likewise, for matching regular expressions."""
MAX_REGEX_LENGTH = 1000
"""Maximum characters of a value that must be a regular expression."""
NO_DOCUMENTS: Registry[Any] = Registry()
"""Knows only the schema itself: external references are never fetched."""

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class Uncheckable(Exception):
    """Validation takes too long or is impossible. The message is a clause about the value."""


@dataclass(slots=True)
class _Budget:
    steps: int = MAX_STEPS
    seconds: float = PATTERN_SECONDS

    def take_step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Uncheckable("takes too long to validate against its schema; send a smaller or simpler value")


_budget: ContextVar[_Budget] = ContextVar("budget")


@contextmanager
def one_budget() -> Iterator[None]:
    """Give all validations within the block one shared budget."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


@dataclass(frozen=True, slots=True)
class Checker:
    """A compiled schema."""

    validator: Validator

    @classmethod
    def of(cls, schema: Json, dialect: type[Validator], format_checker: FormatChecker | None = None) -> Self:
        """Compile a schema that `dialect.check_schema` accepts.

        Args:
            schema: the schema, without `$schema`, which would override `dialect`.
            dialect: jsonschema's validator for the schema's draft.
            format_checker: None if `format` is only an annotation.
        """
        bounded = _bounded(dialect)
        return cls(bounded(_with_sets(schema), format_checker=format_checker, registry=NO_DOCUMENTS))

    def problems(self, value: Json, *, most: int) -> list[str]:
        """Return the problems of a value, e.g. `.rows[3].amount: 'x' is not of type 'number'`.

        Args:
            value: the value.
            most: the maximum number of problems.

        Raises:
            Uncheckable: validation is impossible or takes too long.
        """
        return [f"{path_text(error)}: {problem_text(error)}" for error in self.errors(value, most=most)]

    def errors(self, value: Json, *, most: int) -> list[ValidationError]:
        """Return jsonschema's errors, with the same arguments as `problems`."""
        if _budget.get(None) is None:
            with one_budget():
                return self.errors(value, most=most)
        try:
            return list(islice(self.validator.iter_errors(value), most))
        except RecursionError:
            raise Uncheckable("cannot be validated against its schema; send a simpler value") from None
        except Unresolvable as error:
            raise Uncheckable(f"cannot be validated against its schema: {error}") from error

    def is_valid(self, value: Json) -> bool:
        """Return whether a value is valid; raises as `problems` does."""
        return not self.errors(value, most=1)


def path_text(error: ValidationError) -> str:
    """Return the path of an error in the value, e.g. `.rows[3].amount`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)


def problem_text(error: ValidationError) -> str:
    """Return the error's message, with the value in JSON's notation: `null`, not `None`."""
    message = str(error.message)
    return shortened(message.replace(repr(error.instance), _shown(error.instance), 1))


def _shown(value: Json) -> str:
    if isinstance(value, str):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


@lru_cache
def _bounded(dialect: type[Validator]) -> type[Validator]:
    """Return jsonschema's validator class with keywords limited in time."""
    keywords: Mapping[str, Keyword] = dialect.VALIDATORS
    ours = {name: _counted(_OURS.get(keyword, keyword)) for name, keyword in keywords.items()}
    return cast("type[Validator]", extend(dialect, ours))  # type: ignore[no-untyped-call]


def _counted(keyword: Keyword) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        _budget.get().take_step()
        return keyword(validator, value, instance, schema)

    return check


class _Set(list[Json]):
    """The values of an `enum`, and for each a text that is the same for values that JSON Schema considers equal."""

    def __init__(self, values: list[Json]) -> None:
        super().__init__(values)
        self.texts = frozenset(map(_text, values))


def _with_sets(schema: Json) -> Json:
    if isinstance(schema, Mapping):
        return {
            key: _Set(value) if key == "enum" and isinstance(value, list) else _with_sets(value)
            for key, value in schema.items()
        }
    return [_with_sets(item) for item in schema] if isinstance(schema, list) else schema


def _text(value: Json) -> str:
    """Return a text that is the same for values that JSON Schema considers equal: 1 and 1.0, but not 1 and true."""
    return canonical(with_whole_numbers(value))


def _enum(_: Validator, values: _Set, instance: Json, __: Json) -> Iterator[ValidationError]:
    if _text(instance) not in values.texts:
        yield ValidationError(f"{instance!r} is not one of [{', '.join(map(_shown, values))}]")


def _const(_: Validator, const: Json, instance: Json, __: Json) -> Iterator[ValidationError]:
    if _text(instance) != _text(const):
        yield ValidationError(f"{_shown(const)} was expected")


def _unique_items(validator: Validator, is_wanted: Json, instance: Json, _: Json) -> Iterator[ValidationError]:
    if is_wanted and validator.is_type(instance, "array") and not _are_unique(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _are_unique(items: list[Json]) -> bool:
    """Return what jsonschema returns: if Python can sort the items, it compares only neighbours."""
    texts = list(map(_text, items))
    try:
        order = sorted(range(len(items)), key=lambda at: _sort_key(items[at]))
    except TypeError:
        return len(set(texts)) == len(texts)
    return all(texts[one] != texts[other] for one, other in pairwise(order))


def _sort_key(item: Json) -> Any:
    return object() if isinstance(item, bool) else item


def _pattern(validator: Any, pattern: str, instance: Json, _: Json) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Json], instance: Json, _: Json
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, schema in patterns.items():
        for name, value in instance.items():
            if _found(pattern, name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Json, instance: Json, schema: Mapping[str, Json]
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    others = [name for name in instance if name not in known]
    extras = [name for name in others if not any(_found(pattern, name) for pattern in patterns)]
    if isinstance(allowed, Mapping):
        for name in extras:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and extras:
        named, regexes = (", ".join(map(repr, sorted(names))) for names in (extras, patterns))
        is_one = len(extras) == 1
        if patterns:
            yield ValidationError(f"{named} {'does' if is_one else 'do'} not match any of the regexes: {regexes}")
        else:
            verb = "was" if is_one else "were"
            yield ValidationError(f"Additional properties are not allowed ({named} {verb} unexpected)")


def _format(validator: Any, name: str, instance: Json, _: Json) -> Iterator[ValidationError]:
    if name == "regex" and isinstance(instance, str) and len(instance) > MAX_REGEX_LENGTH:
        raise Uncheckable(f"is longer than {MAX_REGEX_LENGTH:,} characters, the limit for a regular expression")
    yield from _KEYWORDS["format"](validator, name, instance, {}) or ()


def _found(pattern: str, text: str) -> bool:
    """Return whether `re.search` finds a pattern in a text."""
    budget = _budget.get()
    budget.take_step()
    began = thread_time()
    try:
        return _compiled(pattern).search(text, timeout=max(budget.seconds, 0.001)) is not None
    except TimeoutError:
        raise Uncheckable(f"takes too long to match against {shortened(repr(pattern))}; send a shorter value") from None
    finally:
        budget.seconds -= thread_time() - began


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(_TOKEN.sub(_as_to_re, pattern), regex.VERSION0)


_TOKEN = re.compile(r"(\\.)|(\[\^?\]?(?:\\.|[^\]\\])*\])|(\{(?![0-9]*,?[0-9]*\}))", re.DOTALL)

_IN_SET = re.compile(r"\\.|\[", re.DOTALL)


def _as_to_re(token: re.Match[str]) -> str:
    """Disable syntax of `regex` that `re` lacks: `{e}` for fuzzy matches, and `[:alpha:]` within a set."""
    _, characters, brace = token.groups()
    if characters:
        return "[" + _IN_SET.sub(lambda inner: "\\[" if inner[0] == "[" else inner[0], characters[1:])
    return "\\{" if brace else token[0]


_KEYWORDS: Mapping[str, Keyword] = Draft202012Validator.VALIDATORS
_OURS: Mapping[Keyword, Keyword] = {
    _KEYWORDS["additionalProperties"]: _additional_properties,
    _KEYWORDS["const"]: _const,
    _KEYWORDS["enum"]: _enum,
    _KEYWORDS["format"]: _format,
    _KEYWORDS["pattern"]: _pattern,
    _KEYWORDS["patternProperties"]: _pattern_properties,
    _KEYWORDS["uniqueItems"]: _unique_items,
}
"""jsonschema's keyword function -> ours, for every draft that uses it."""
