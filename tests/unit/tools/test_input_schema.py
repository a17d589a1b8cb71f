"""The rules of Airflow's params (airflow.sdk.Param, 3.1 to 3.3) and of MCP clients, as tables and properties."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker, validate
from jsonschema.exceptions import ValidationError

from dagcall.airflow.model import Param
from dagcall.errors import InvalidArguments, ToolUnpublishable
from dagcall.tools.input_schema import MAX_PROBLEMS, InputSchema
from dagcall.tools.shapes import any_value


def param(name: str = "p", value: Any = None, description: str | None = None, **schema: Any) -> Param:
    return Param(name, value, schema, description)


def described_by(schema: dict[str, Any], value: Any = None) -> Param:
    return Param("p", value, schema, None)


ANY = any_value(1)


def wire_property(one: Param) -> dict[str, Any]:
    (published,) = InputSchema.from_params((one,)).wire["properties"].values()
    assert isinstance(published, dict)
    return published


@pytest.mark.parametrize(
    ("one", "published"),
    [
        pytest.param(param(value=True), {"type": "boolean", "default": True}, id="plain bool, before int"),
        pytest.param(param(value=3), {"type": "number", "default": 3}, id="plain int: any number, as in the form"),
        pytest.param(param(value=0.5), {"type": "number", "default": 0.5}, id="plain float"),
        pytest.param(param(value="x"), {"type": "string", "default": "x"}, id="plain text"),
        pytest.param(param(value=[1]), {"type": "array", "items": ANY, "default": [1]}, id="plain list"),
        pytest.param(param(value={"a": 1}), {"type": "object", "default": {"a": 1}}, id="plain dict"),
        pytest.param(
            param(value=[[[[1]]]]),
            {"type": "array", "items": any_value(3), "default": [[[[1]]]]},
            id="lists within lists",
        ),
        pytest.param(
            param(),
            any_value(2),
            id="plain null: anything",
        ),
        pytest.param(param(value=2, type="integer"), {"type": "integer", "default": 2}, id="typed"),
        pytest.param(
            param(value="a", enum=["a", "b"]),
            {"type": "string", "enum": ["a", "b"], "default": "a"},
            id="the type of an enum is that of its values",
        ),
        pytest.param(
            param(value="x", type="string", format="multiline", section="S", custom_html_form="<b>"),
            {"type": "string", "default": "x"},
            id="keys of Airflow's form",
        ),
        pytest.param(
            param(
                value="n", enum=["n", "s"], values_display={"s": "South", "n": "North"}, description_md="Where **to**"
            ),
            {
                "type": "string",
                "enum": ["n", "s"],
                "default": "n",
                "description": "Where to Values: n (North), s (South).",
            },
            id="values_display as readable text, in the order of enum",
        ),
        pytest.param(
            param(value="a", enum=["a", None, True], values_display={"None": "Nothing", "True": "All", "a": "A few"}),
            {
                "anyOf": [{"type": "string", "enum": ["a"]}, {"type": "boolean", "enum": [True]}, {"type": "null"}],
                "default": "a",
                "description": "Values: a (A few), null (Nothing), true (All).",
            },
            id="values that are not strings, as JSON",
        ),
        pytest.param(
            param(value="EUR", description="ISO 4217"),
            {"type": "string", "default": "EUR", "description": "ISO 4217"},
            id="a plain default with a description has the type that it shows",
        ),
        pytest.param(
            param(value="EUR", title="Cur\u200brency", values_display={"EUR": "Eu\u202ero"}),
            {"type": "string", "default": "EUR", "title": "Currency", "description": "Values: EUR (Euro)."},
            id="invisible characters",
        ),
        pytest.param(
            param(value=[], type="array"), {"type": "array", "items": ANY, "default": []}, id="array has items"
        ),
        pytest.param(
            described_by(
                {"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMaximum": False, "maximum": 1}, 1
            ),
            {"type": "number", "maximum": 1, "default": 1},
            id="draft 4 exclusiveMaximum that is false",
        ),
        pytest.param(
            described_by({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "null"}]}, [None]),
            {"type": "array", "items": ANY, "prefixItems": [{"type": "null"}], "default": [None]},
            id="tuple form, open-ended",
        ),
        pytest.param(
            param(
                value=[1, "a"],
                **{"$schema": "http://json-schema.org/draft-07/schema#", "type": "array"},
                items=[{"type": "integer"}, {"type": "string"}],
                additionalItems=False,
            ),
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "items": ANY,
                "maxItems": 2,
                "default": [1, "a"],
            },
            id="tuple form of older drafts",
        ),
        pytest.param(
            described_by(
                {
                    "type": "integer",
                    "$schema": "http://json-schema.org/draft-04/schema#",
                    "exclusiveMinimum": True,
                    "minimum": 1,
                }
            ),
            {"type": "integer", "exclusiveMinimum": 1},
            id="draft 4 exclusiveMinimum",
        ),
        pytest.param(
            described_by(
                {
                    "type": "string",
                    "x-mcp-header": "X",
                    "$id": "urn:a",
                    "$schema": "http://json-schema.org/draft-04/schema#",
                    "examples": "no list",
                }
            ),
            {"type": "string"},
            id="keys that confuse clients",
        ),
        pytest.param(
            param(description="From  the\nauthor", type="string"),
            {"type": "string", "description": "From the author"},
            id="the author's description on one line",
        ),
    ],
)
def test_param_is_published_as_a_property(one: Param, published: dict[str, Any]) -> None:
    assert wire_property(one) == published


@pytest.mark.parametrize(
    ("one", "is_required"),
    [
        pytest.param(param(type="integer"), True, id="null does not fit: no default, or an invalid one"),
        pytest.param(param(type=["null", "string"]), False, id="null fits"),
        pytest.param(param(), False, id="plain null"),
        pytest.param(param(value=3, type="integer"), False, id="default"),
        pytest.param(param(value="3", type="integer"), True, id="invalid default, as 3.1 shows it"),
        pytest.param(param(value="x@", type="string", format="email"), False, id="email only needs an @"),
        pytest.param(param(value="2026-13-01", type="string", format="date"), True, id="an invalid date"),
    ],
)
def test_param_is_required_if_airflow_would_refuse_its_default(one: Param, is_required: bool) -> None:  # noqa: FBT001 - a table's column
    wire = InputSchema.from_params((one,)).wire

    assert wire["required"] == (["p"] if is_required else [])
    assert "default" not in wire["properties"]["p"] or not is_required


def test_defaults_are_left_to_airflow_but_null_is_sent_for_nullable_params() -> None:
    schema = InputSchema.from_params(
        (param("with_default", 3), param("nullable", type=["null", "string"]), param("needed", type="string"))
    )

    assert schema.conf_from_arguments({"needed": "x"}, tool="t") == {"needed": "x", "nullable": None}
    assert schema.optional == ("with_default", "nullable")


def test_fixed_params_are_sent_and_hidden_ones_are_not() -> None:
    params = (param("a", type="string"), param("b", 1), param("c", 2))

    schema = InputSchema.from_params(params, fixed={"a": "set"}, hidden=frozenset({"b"}))

    assert list(schema.wire["properties"]) == ["c"]
    assert schema.conf_from_arguments({"c": 5}, tool="t") == {"c": 5, "a": "set"}


@pytest.mark.parametrize(
    ("fixed", "hidden", "sentence"),
    [
        ({"q": 1}, [], "the dag has no param 'q' to fix or hide; there are p"),
        ({}, ["pp"], "the dag has no param 'pp' to fix or hide; did you mean 'p'?"),
        ({"p": "x"}, [], "the fixed value of param 'p' is invalid: 'x' is not of type 'integer'"),
        ({}, ["p"], "param 'p' is hidden but has no valid default; set it in fixed"),
        ({"p": 1}, ["p"], "param 'p' is both fixed and hidden; fixed params are always hidden"),
    ],
)
def test_policy_that_does_not_match_the_params_is_refused(
    fixed: dict[str, Any], hidden: list[str], sentence: str
) -> None:
    with pytest.raises(ToolUnpublishable) as refusal:
        InputSchema.from_params((param(type="integer"),), fixed=fixed, hidden=frozenset(hidden))

    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("schema", "clause"),
    [
        ({"type": "nonsense"}, "the schema of param 'p' is not valid JSON Schema"),
        ({"$ref": "https://example.com/x.json"}, "cannot be validated against"),
        ({"type": "null", "items": {"$ref": "x.json"}}, "only internal references can be published"),
        ({"$ref": "#/$defs/missing"}, "cannot be validated against"),
        ({"type": "null", "items": {"$id": "urn:x", "$ref": "#"}}, "uses $id in a nested schema"),
        ({"type": "null", "items": {"$dynamicRef": "#x"}}, r"uses $dynamicRef"),
        (
            {"type": "null", "items": {"$schema": "http://json-schema.org/draft-04/schema#"}},
            "switches to another draft",
        ),
        (
            {"patternProperties": {"a": True}, "unevaluatedProperties": False},
            "unevaluatedProperties with patternProperties, which cannot be validated in bounded time",
        ),
        ({"title": "x" * 70_000}, "larger than 65,536 bytes"),
        ({"properties": {"a": {"$ref": "#/definitions/b"}}, "type": ["object", "null"]}, "which does not exist"),
        ({"$ref": "#"}, "cannot be validated against"),
        ({"$schema": "http://json-schema.org/draft-03/schema#", "required": True}, "is not valid JSON Schema 2020-12"),
    ],
)
def test_unpublishable_schema_gives_the_reason(schema: dict[str, Any], clause: str) -> None:
    with pytest.raises(ToolUnpublishable, match=clause.replace("$", r"\$")):
        InputSchema.from_params((param(**schema),))


def test_a_schema_nested_too_deep_is_not_published() -> None:
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(50):
        deep = {"not": deep}

    with pytest.raises(ToolUnpublishable, match="nested more than 40 levels"):
        InputSchema.from_params((param(**deep),))

    for _ in range(500):
        deep = {"const": [deep]}
    with pytest.raises(ToolUnpublishable, match="the schema or default of a param is nested too deep"):
        InputSchema.from_params((param(**deep),))


def test_references_resolve_in_the_published_schema() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "n": {"type": "integer"}}}
    tree = Param("tree node", None, {"$ref": "#/$defs/node", "$defs": {"node": node}}, None)
    schema = InputSchema.from_params((tree,))
    (name,) = schema.wire["properties"]

    assert schema.conf_from_arguments({name: {"next": {"n": 1}}}, tool="t") == {"tree node": {"next": {"n": 1}}}
    with pytest.raises(InvalidArguments, match=r"\.next\.n: 'x' is not of type 'integer'"):
        schema.conf_from_arguments({name: {"next": {"n": "x"}}}, tool="t")


EVERY_KIND = InputSchema.from_params(
    (
        param("text", type="string", minLength=1),
        param("count", 3, type="integer", minimum=1),
        param("when", type=["string", "null"], format="date-time"),
        param("number_or_time", 1, type=["string", "integer"], format="date-time"),
        param("items", [], type="array", items={"type": "object", "properties": {"sku": {"enum": ["a", "b"]}}}),
        param("plain", 3),
    )
)


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({}, ["text: required, but not given"]),
        ({"text": ""}, ["text: '' should be non-empty"]),
        (
            {"text": "x", "count": "3", "cuont": 1},
            ["cuont: there is no such argument; did you mean 'count'?", "count: '3' is not of type 'integer'"],
        ),
        ({"text": "x", "items": [{"sku": "a"}, {"sku": "c"}]}, ["items[1].sku: 'c' is not one of ['a', 'b']"]),
        ({"text": "x", "plain": "3"}, ["plain: '3' is not of type 'number'"]),
        (
            {"text": "x", "number_or_time": "nope"},
            ["number_or_time: 'nope' is not a date and time such as 2026-01-31T12:00:00+00:00"],
        ),
        ({"text": "x", "when": "nope"}, ["when: 'nope' is not a date and time such as 2026-01-31T12:00:00+00:00"]),
        ({"text": "x\0"}, ["the arguments contain a NUL character, which Airflow's database cannot store"]),
    ],
)
def test_each_invalid_argument_gets_a_sentence(arguments: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(InvalidArguments) as refusal:
        EVERY_KIND.conf_from_arguments(arguments, tool="t")

    assert list(refusal.value.problems) == problems
    assert str(refusal.value).startswith("Nothing was started: invalid arguments for t.\n- ")


def refusal(one: Param | None, **arguments: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidArguments) as refused:
        InputSchema.from_params(() if one is None else (one,)).conf_from_arguments(arguments, tool="t")
    return refused.value.problems


def test_plain_default_determines_the_type_of_an_argument() -> None:
    plain = InputSchema.from_params((param(value=3),))
    assert plain.conf_from_arguments({"p": 2.5}, tool="t") == {"p": 2.5}
    assert refusal(param(value=3), p="x") == ("p: 'x' is not of type 'number'",)
    assert refusal(param(value="x"), p=3) == ("p: 3 is not of type 'string'",)

    values = InputSchema.from_params((param(value=3, enum=[3, "x"]),))
    assert values.conf_from_arguments({"p": "x"}, tool="t") == {"p": "x"}


def test_dag_without_params_accepts_no_arguments() -> None:
    schema = InputSchema.from_params(())
    assert schema.wire == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert refusal(None, x=1) == ("x: there is no such argument; it takes none",)


def test_invalid_property_name_becomes_the_default_title() -> None:
    assert wire_property(param("max rows", 1))["title"] == "max rows"
    assert wire_property(param("max rows", 1, title="Rows"))["title"] == "Rows"
    assert "title" not in wire_property(param("rows", 1))


@pytest.mark.parametrize(
    ("one", "published"),
    [
        pytest.param(param(value="a\u200b"), {"type": "string"}, id="a default with hidden characters"),
        pytest.param(param(value="x", description=" "), {"type": "string", "default": "x"}, id="a blank description"),
        pytest.param(
            described_by({"description": "\u200b"}, "x"), {"type": "string", "default": "x"}, id="a hidden description"
        ),
        pytest.param(
            param(value="a", enum=["a"], description="Which?", values_display={"a": "a"}),
            {"type": "string", "enum": ["a"], "default": "a", "description": "Which?"},
            id="display names that add nothing",
        ),
        pytest.param(
            param(value="a", enum=["a"], values_display=["a"]),
            {"type": "string", "enum": ["a"], "default": "a"},
            id="invalid display names",
        ),
    ],
)
def test_uninformative_parts_are_not_published(one: Param, published: dict[str, Any]) -> None:
    assert wire_property(one) == published


def test_only_invalid_list_items_are_parsed_as_json() -> None:
    item = {"type": "object", "properties": {"n": {"anyOf": [{"type": "array"}, {"type": "null"}]}}}
    one = described_by({"type": "array", "items": item})
    sent = ['{"n": null}', {"n": [1]}, {"n": "[2]"}, {"m": "text"}]

    assert InputSchema.from_params((one,)).conf_from_arguments({"p": sent}, tool="t") == {
        "p": [{"n": None}, {"n": [1]}, {"n": [2]}, {"m": "text"}]
    }


def test_valid_arguments_of_every_kind_are_accepted() -> None:
    given_ = {"text": "x", "count": 1, "when": "2026-01-31T12:00:00Z", "items": [{"sku": "a"}], "plain": 2.5}
    given_ |= {"number_or_time": 5}
    assert EVERY_KIND.conf_from_arguments(given_, tool="t") == given_
    assert EVERY_KIND.conf_from_arguments(given_ | {"when": None}, tool="t") == given_ | {"when": None}


SENT = InputSchema.from_params(
    (
        param("count", 3, type="integer", minimum=1),
        param("plain", 3),
        param("ids", [], type="array", items={"type": "integer"}),
        param("opts", {}, type="object"),
        param("text", "x", type="string"),
        param("note", type=["null", "string"]),
        param("either", 1, anyOf=[{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]),
        param("word_or_list", "a", anyOf=[{"type": "string", "pattern": "^[a-z]+$"}, {"type": "array"}]),
        param(
            "job",
            {},
            type="object",
            properties={
                "size": {"type": "integer"},
                "by": {"type": ["null", "string"]},
                "shape": {
                    "oneOf": [
                        {"properties": {"kind": {"const": "square"}, "side": {"type": "null"}}, "required": ["kind"]},
                        {
                            "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}},
                            "required": ["kind"],
                        },
                    ]
                },
            },
            additionalProperties=False,
        ),
    )
)


@pytest.mark.parametrize(
    ("sent", "counts"),
    [
        pytest.param({"count": 3.0}, {"count": 3}, id="3.0 for a whole number"),
        pytest.param({"plain": 3.0, "ids": [1.0, 2]}, {"plain": 3, "ids": [1, 2]}, id="within lists, and untyped"),
        pytest.param(
            {"opts": {"a": [2.0, 2.5, True]}}, {"opts": {"a": [2, 2.5, True]}}, id="deep within, and no others"
        ),
        pytest.param({"either": 2.0}, {"either": 2}, id="one of several types"),
        pytest.param({"ids": "[1, 2.0]"}, {"ids": [1, 2]}, id="JSON text of a list"),
        pytest.param({"opts": ' {"a": 1}'}, {"opts": {"a": 1}}, id="JSON text of an object"),
        pytest.param({"either": "[1]"}, {"either": [1]}, id="JSON text for one of several types"),
        pytest.param(
            {"job": {"shape": '{"kind": "circle"}'}}, {"job": {"shape": {"kind": "circle"}}}, id="JSON text within"
        ),
        pytest.param({"text": "[1]"}, {"text": "[1]"}, id="a text that fits stays a text"),
        pytest.param({"word_or_list": "[1]"}, {"word_or_list": [1]}, id="an invalid text where texts are allowed"),
        pytest.param({"ids": '["[1]"]'}, None, id="JSON text of what does not fit"),
        pytest.param({"ids": ["1"]}, None, id="a small number as text"),
        pytest.param({"count": "9007199254740993"}, {"count": 9007199254740993}, id="a number JavaScript cannot write"),
        pytest.param({"count": "9007199254740992"}, None, id="a number JavaScript can write"),
        pytest.param({"count": "99999999999999999999"}, None, id="a number beyond 64 bits"),
        pytest.param({"count": None, "opts": None}, {}, id="null where there is a default"),
        pytest.param({"note": None}, {}, id="null where it is sent anyway"),
        pytest.param({"note": "x"}, {"note": "x"}, id="a text where null is sent otherwise"),
        pytest.param(
            {"job": {"size": None, "by": None}}, {"job": {"by": None}}, id="null for a key that may be missing"
        ),
        pytest.param(
            {"job": {"shape": {"kind": "circle", "radius": None}}},
            {"job": {"shape": {"kind": "circle"}}},
            id="likewise within one of several forms",
        ),
        pytest.param({"job": {"shape": {"kind": None}}}, None, id="null for a key that may not be missing"),
        pytest.param({"ids": [None]}, None, id="null in a list"),
    ],
)
def test_arguments_are_interpreted_as_the_client_meant_them(
    sent: dict[str, Any], counts: dict[str, Any] | None
) -> None:
    if counts is None:
        with pytest.raises(InvalidArguments):
            SENT.taken(sent, tool="t")
    else:
        taken = SENT.taken(sent, tool="t")
        assert repr(taken.arguments) == repr(counts)  # in Python, 3.0 == 3
        assert repr(taken.conf) == repr({**counts, **({} if "note" in counts else {"note": None})})


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 1e20, -1e300])
def test_number_beyond_64_bits_starts_no_run(number: float) -> None:
    for sent in ({"count": number}, {"opts": {"a": [number]}}, {"opts": f'{{"a": [{number}]}}'}):
        with pytest.raises(InvalidArguments, match="Nothing was started"):
            SENT.taken(sent, tool="t")

    with pytest.raises(ToolUnpublishable, match="fixed values: the arguments contain the number"):
        InputSchema.from_params((param(value=1, type="number"),), fixed={"p": number})


def test_whole_fixed_number_is_sent_as_an_integer() -> None:
    schema = InputSchema.from_params((param(value=1, type="integer"),), fixed={"p": 3.0})

    assert repr(schema.taken({}, tool="t").conf) == "{'p': 3}"


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("one", "value", "problem"),
    [
        pytest.param(
            param(value="a", type="string", pattern="(a|a)*$"),
            "a" * 60 + "b",
            "takes too long to match",
            id="pattern",
        ),
        pytest.param(
            param(value=[], type="array", items={"type": "integer"}),
            list(range(210_000)),
            "takes too long to validate against its schema; send a smaller",
            id="many values",
        ),
    ],
)
def test_validation_that_takes_too_long_starts_nothing(one: Param, value: Any, problem: str) -> None:
    schema = InputSchema.from_params((one, param("other", "x", type="string")))

    with pytest.raises(InvalidArguments, match="Nothing was started") as refusal:
        schema.taken({"p": value, "other": "y"}, tool="t", max_bytes=2_000_000)
    (told,) = refusal.value.problems
    assert told.startswith(f"p: {problem}")


def test_default_that_takes_too_long_to_validate_is_not_published() -> None:
    slow = param(value="a" * 60 + "b", type="string", pattern="(a|a)*$")

    with pytest.raises(ToolUnpublishable, match="its default takes too long to match"):
        InputSchema.from_params((slow,))


def test_error_limits_the_number_of_problems_and_the_length_of_values() -> None:
    with pytest.raises(InvalidArguments) as refusal:
        EVERY_KIND.conf_from_arguments({f"extra{i}": "x" for i in range(100)}, tool="t")
    assert len(refusal.value.problems) == MAX_PROBLEMS

    with pytest.raises(InvalidArguments) as refusal:
        EVERY_KIND.conf_from_arguments({"text": "x", "count": "9" * 100_000}, tool="t")
    assert len(refusal.value.problems[0]) < 400
    assert refusal.value.problems[0].endswith("is not of type 'integer'")


def test_value_that_makes_a_schema_recurse_endlessly_is_refused() -> None:
    """Airflow's validator would recurse endlessly, too; dagcall reports a problem."""
    loop = described_by(
        {
            "type": ["null", "object"],
            "properties": {"a": {"$ref": "#/$defs/loop"}},
            "$defs": {"loop": {"$ref": "#/$defs/loop"}},
        }
    )
    schema = InputSchema.from_params((loop,))

    with pytest.raises(InvalidArguments, match="p: cannot be validated against its schema"):
        schema.conf_from_arguments({"p": {"a": 1}}, tool="t")


SCHEMAS = st.sampled_from(
    [
        {"type": "integer", "minimum": 0, "maximum": 9},
        {"type": ["null", "string"], "maxLength": 3},
        {"type": "string", "enum": ["a", "b"]},
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True},
        {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]},
        {"const": 5},
        {"type": "string", "format": "date"},
        {"type": "number", "exclusiveMinimum": 0},
        {},
    ]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PARAMS = st.lists(
    st.builds(Param, st.text(min_size=1, max_size=12), JSON, SCHEMAS, st.none() | st.text(max_size=9)),
    max_size=5,
    unique_by=lambda one: one.name,
).map(tuple)


@settings(deadline=None)
@given(PARAMS)
def test_input_schema_is_valid_2020_12_and_accepts_its_defaults(params: tuple[Param, ...]) -> None:
    wire = InputSchema.from_params(params).wire

    Draft202012Validator.check_schema(wire)
    assert wire["type"] == "object"
    assert len(wire["properties"]) == len(params)
    defaults = {name: one["default"] for name, one in wire["properties"].items() if "default" in one}
    for name, default in defaults.items():
        validate(default, wire["properties"][name], format_checker=FormatChecker())


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, JSON)
def test_validation_agrees_with_airflow(schema: dict[str, Any], value: Any) -> None:
    """Airflow 3.1 to 3.3: `jsonschema.validate(value, schema, format_checker=FormatChecker())` for each param."""
    tool = InputSchema.from_params((Param("p", None, schema, None),))
    try:
        validate(value, schema, format_checker=FormatChecker())
        airflow_accepts = True
    except ValidationError:
        airflow_accepts = False
    try:
        tool.conf_from_arguments({"p": value}, tool="t")
        dagcall_accepts = True
    except InvalidArguments as refusal:
        dagcall_accepts = any(word in str(refusal) for word in ("NUL", "64 bits")) and airflow_accepts
    assert dagcall_accepts == airflow_accepts
