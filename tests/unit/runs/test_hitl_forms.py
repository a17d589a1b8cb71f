"""A run's question, the form for it, and the response to Airflow."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp_types._v2026_07_28 import PrimitiveSchemaDefinition
from pydantic import TypeAdapter

from dagcall.airflow.hitl import Question, Response, is_open
from dagcall.airflow.model import Param
from dagcall.errors import InvalidArguments
from dagcall.runs.form_fields import MAX_FLAGS
from dagcall.runs.hitl_forms import MAX_BODY, form_of, message_of, question_json, response_from_content, waiting_message

APPROVAL = Question(
    dag_id="refund",
    run_id="mcp__x",
    task_id="approve",
    map_index=-1,
    asked_at=datetime(2026, 11, 22, 12, tzinfo=UTC),
    subject="Refund 180 EUR?",
    body="",
    options=("Approve", "Reject"),
    defaults=(),
    is_multiple=False,
    params=(),
    assigned_users=(),
    assigned_ids=(),
    url="http://airflow.test/q",
)


def asking(*params: Param, **more: Any) -> Question:
    return replace(APPROVAL, params=params, **more)


def param(name: str, value: Any = None, **schema: Any) -> Param:
    return Param(name, value, schema, schema.pop("description", None))


def schema_of(question: Question, revision: str = "2026-07-28") -> dict[str, Any]:
    form = form_of(question)
    assert form is not None
    schema = form.schema(revision)
    Draft202012Validator.check_schema(schema)
    for shown in schema["properties"].values():
        if revision == "2025-06-18":
            require_primitive(shown)
        else:
            assert PROPERTY.validate_python(shown).model_dump(by_alias=True, exclude_none=True) == shown
    return schema


PROPERTY: TypeAdapter[Any] = TypeAdapter(PrimitiveSchemaDefinition)


def require_primitive(shown: dict[str, Any]) -> None:
    """Check a property against revision 2025-06-18; `default` is allowed, although only booleans have it there."""
    known = {
        "string": {"minLength", "maxLength", "format", "enum", "enumNames"},
        "integer": {"minimum", "maximum"},
        "number": {"minimum", "maximum"},
        "boolean": set[str](),
    }
    assert shown.keys() <= known[shown["type"]] | {"type", "title", "description", "default"}


def response(question: Question, **content: Any) -> Response:
    form = form_of(question)
    assert form is not None
    return response_from_content(question, form, content)


def problems(question: Question, **content: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidArguments) as refused:
        response(question, **content)
    assert str(refused.value) == str(InvalidArguments(question.name, refused.value.problems))
    return refused.value.problems


# What Airflow sends


def sent(**more: Any) -> dict[str, Any]:
    """One element of `hitl_details`."""
    return {
        "task_instance": {
            "dag_id": "refund",
            "dag_run_id": "mcp__x/1",
            "task_id": "approve",
            "map_index": -1,
            "state": "deferred",
        },
        "created_at": "2026-11-22T12:00:00Z",
        "subject": "Refund 180 EUR?",
        "body": None,
        "options": ["Approve", "Reject"],
        "defaults": None,
        "multiple": False,
        "params": {},
        "assigned_users": [],
        "response_received": False,
    } | more


def test_question_is_parsed_from_airflows_json() -> None:
    assert Question.from_json(sent(), ui_url="http://airflow.test") == replace(
        APPROVAL,
        run_id="mcp__x/1",
        url="http://airflow.test/dags/refund/runs/mcp__x%2F1/tasks/approve/required_actions",
    )


def test_question_with_all_fields_is_parsed() -> None:
    data = sent(
        body="Order **A7**",
        defaults=["Reject"],
        multiple=True,
        params={"n": {"value": 1, "schema": {"type": "integer"}, "description": "How many."}},
        assigned_users=[{"id": "7", "name": "mia"}, {"id": "8", "name": "joe"}],
    )
    data["task_instance"] |= {"map_index": 0}

    question = Question.from_json(data, ui_url="http://airflow.test")

    assert question == replace(
        APPROVAL,
        run_id="mcp__x/1",
        map_index=0,
        body="Order **A7**",
        defaults=("Reject",),
        is_multiple=True,
        params=(Param("n", 1, {"type": "integer"}, "How many."),),
        assigned_users=("mia", "joe"),
        assigned_ids=("7", "8"),
        url="http://airflow.test/dags/refund/runs/mcp__x%2F1/tasks/approve/mapped/0/required_actions",
    )
    assert question.key == "approve[0]@2026-11-22T12:00:00+00:00"


@pytest.mark.parametrize(
    ("state", "is_answered", "open_"),
    [("deferred", False, True), ("deferred", True, False), ("failed", False, False), (None, True, False)],
)
def test_a_question_is_open_while_its_task_waits_for_the_answer(
    *, state: str | None, is_answered: bool, open_: bool
) -> None:
    data = sent(response_received=is_answered)
    data["task_instance"]["state"] = state
    assert is_open(data) is open_


# The form


def test_single_choice_is_one_enum_field() -> None:
    assert schema_of(APPROVAL) == {
        "type": "object",
        "properties": {"answer": {"type": "string", "title": "Answer", "enum": ["Approve", "Reject"]}},
        "required": ["answer"],
    }
    assert schema_of(asking(defaults=("Reject",)))["properties"]["answer"]["default"] == "Reject"


def test_multiple_choice_is_an_array_field() -> None:
    question = asking(options=("a", "b", "c"), is_multiple=True)
    several = {"type": "array", "title": "Answers", "items": {"type": "string", "enum": ["a", "b", "c"]}, "minItems": 1}
    assert schema_of(question)["properties"] == {"answer": several}
    assert schema_of(replace(question, defaults=("a",)))["properties"] == {"answer": several | {"default": ["a"]}}


def test_a_single_option_needs_no_field() -> None:
    question = asking(options=("OK",))
    assert schema_of(question) == {"type": "object", "properties": {}, "required": []}
    assert "Submitting this form answers 'OK'." in message_of(question)
    assert response(question) == Response(("OK",), {})


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        pytest.param(
            param("p", "x", type="string", minLength=1, maxLength=9, pattern="x"),
            {"type": "string", "minLength": 1, "maxLength": 9, "default": "x"},
            id="text",
        ),
        pytest.param(
            param("p", type=["null", "number"], exclusiveMinimum=0, maximum=9, title="P"),
            {"type": "number", "title": "P", "maximum": 9},
            id="a number or nothing",
        ),
        pytest.param(param("p", 3, type="integer", minimum=1), {"type": "integer", "minimum": 1, "default": 3}, id="n"),
        pytest.param(param("p", False, type="boolean"), {"type": "boolean", "default": False}, id="yes or no"),
        pytest.param(
            param("p", "2026-01-01", type="string", format="date"),
            {"type": "string", "format": "date", "default": "2026-01-01"},
            id="a date",
        ),
        pytest.param(
            param("p", "12:00:00", type="string", format="time"), {"type": "string", "default": "12:00:00"}, id="time"
        ),
        pytest.param(param("p", 1.5), {"type": "number", "default": 1.5}, id="a plain default"),
        pytest.param(
            param("p", "b", enum=["a", "b"]), {"type": "string", "enum": ["a", "b"], "default": "b"}, id="enum"
        ),
        pytest.param(
            param("p", 2, enum=[1, 2, None]),
            {"type": "string", "enum": ["1", "2", "null"], "default": "2"},
            id="not strings",
        ),
        pytest.param(param("p", const="c"), {"type": "string", "enum": ["c"]}, id="a constant"),
        pytest.param(
            param("p", ["x"], type="array", items={"type": "string"}, description="Names."),
            {"type": "string", "description": "Names. (JSON)", "default": '["x"]'},
            id="a list",
        ),
        pytest.param(param("p", type="object"), {"type": "string", "description": "(JSON)"}, id="an object"),
        pytest.param(
            param("p", ["ü"], type="array"),
            {"type": "string", "description": "(JSON)", "default": '["ü"]'},
            id="umlaut",
        ),
        pytest.param(
            param("p", oneOf=[{"type": "string", "maxLength": 9}, {"type": "null", "description": "Nobody."}]),
            {"type": "string", "maxLength": 9},
            id="a text, or null with a description",
        ),
        pytest.param(
            param("p", 1, anyOf=[{"type": "integer"}, {"type": "string"}]),
            {"type": "string", "description": "(JSON)", "default": "1"},
            id="one of two types",
        ),
    ],
)
def test_param_becomes_a_flat_field(given: Param, shown: dict[str, Any]) -> None:
    assert schema_of(asking(given))["properties"]["p"] == shown


TITLED = [{"const": "p", "title": "Pay it"}, {"const": "r", "title": "Refuse"}]


@pytest.mark.parametrize(
    ("given", "rich", "plain"),
    [
        pytest.param(
            param("p", "r", type="string", oneOf=TITLED, title="What"),
            {"p": {"type": "string", "title": "What", "oneOf": TITLED, "default": "r"}},
            {
                "p": {
                    "type": "string",
                    "title": "What",
                    "enum": ["p", "r"],
                    "enumNames": ["Pay it", "Refuse"],
                    "default": "r",
                }
            },
            id="one of several with titles",
        ),
        pytest.param(
            param("p", None, anyOf=[*TITLED, {"type": "null"}]),
            {"p": {"type": "string", "oneOf": TITLED}},
            {"p": {"type": "string", "enum": ["p", "r"], "enumNames": ["Pay it", "Refuse"]}},
            id="one of several with titles, or nothing",
        ),
        pytest.param(
            param("p", 2, enum=[1, 2], values_display={"1": "One", "2": "Two"}, description="How many?"),
            {
                "p": {
                    "type": "string",
                    "description": "How many? Values: 1 (One), 2 (Two).",
                    "oneOf": [{"const": "1", "title": "One"}, {"const": "2", "title": "Two"}],
                    "default": "2",
                }
            },
            {
                "p": {
                    "type": "string",
                    "description": "How many? Values: 1 (One), 2 (Two).",
                    "enum": ["1", "2"],
                    "enumNames": ["One", "Two"],
                    "default": "2",
                }
            },
            id="Airflow's own titles",
        ),
        pytest.param(
            param("p", ["b"], type="array", items={"type": "string", "enum": ["a", "b"]}, maxItems=2, uniqueItems=True),
            {
                "p": {
                    "type": "array",
                    "items": {"type": "string", "enum": ["a", "b"]},
                    "maxItems": 2,
                    "default": ["b"],
                }
            },
            {
                "p_1": {"type": "boolean", "title": "p: a", "default": False},
                "p_2": {"type": "boolean", "title": "p: b", "default": True},
            },
            id="some of several",
        ),
        pytest.param(
            param("p", None, anyOf=[{"type": "array", "items": {"oneOf": TITLED}}, {"type": "null"}], title="Which?"),
            {"p": {"type": "array", "title": "Which?", "items": {"anyOf": TITLED}}},
            {
                "p_1": {"type": "boolean", "title": "Which?: Pay it", "default": False},
                "p_2": {"type": "boolean", "title": "Which?: Refuse", "default": False},
            },
            id="some of several with titles, or nothing",
        ),
        pytest.param(
            param("p", ["b3"], type=["array", "null"], items={"enum": [f"b{n}" for n in range(21)]}, description="B."),
            {
                "p": {
                    "type": "array",
                    "description": "B.",
                    "items": {"type": "string", "enum": [f"b{n}" for n in range(21)]},
                    "default": ["b3"],
                }
            },
            {
                "p": {
                    "type": "string",
                    "description": f"B. (A JSON list of any of: {', '.join(f'b{n}' for n in range(21))})",
                    "default": '["b3"]',
                }
            },
            id="some of very many",
        ),
        pytest.param(
            param("p", ["a", "b"], type="array", items={"enum": ["a", "b"]}, minItems=1),
            {
                "p": {
                    "type": "array",
                    "items": {"type": "string", "enum": ["a", "b"]},
                    "minItems": 1,
                    "default": ["a", "b"],
                }
            },
            {
                "p_1": {"type": "boolean", "title": "p: a", "default": True},
                "p_2": {"type": "boolean", "title": "p: b", "default": True},
            },
            id="all of several",
        ),
    ],
)
def test_choice_uses_what_the_protocol_revision_supports(
    given: Param, rich: dict[str, Any], plain: dict[str, Any]
) -> None:
    question = asking(given, options=("OK",))
    assert schema_of(question, "2026-07-28")["properties"] == schema_of(question, "2025-11-25")["properties"] == rich
    assert schema_of(question, "2025-06-18")["properties"] == plain


def test_very_long_list_of_choices_is_entered_as_json_in_old_revisions() -> None:
    names = [f"ü{number}" for number in range(MAX_FLAGS + 1)]
    question = asking(param("p", type="array", items={"enum": names}), options=("OK",))
    assert schema_of(question, "2025-06-18")["properties"] == {
        "p": {"type": "string", "description": f"(A JSON list of any of: {', '.join(names)})"}
    }
    assert response(question, p='["ü3"]').params_input == {"p": ["ü3"]}
    assert response(question, p="ü3").params_input == {"p": ["ü3"]}

    with_default = asking(param("p", ["ü3"], type="array", items={"enum": names}), options=("OK",))
    assert schema_of(with_default, "2025-06-18")["properties"]["p"]["default"] == '["ü3"]'

    fewer = asking(param("p", type="array", items={"enum": names[:MAX_FLAGS]}), options=("OK",))
    assert len(schema_of(fewer, "2025-06-18")["properties"]) == MAX_FLAGS


def test_flag_does_not_use_the_name_of_another_field() -> None:
    several = param("p", type="array", items={"enum": ["a", "b"]})
    question = asking(param("p_2", 1, type="integer"), several, options=("OK",))
    assert list(schema_of(question, "2025-06-18")["properties"]) == ["p_2", "p_1", "p_2_"]
    assert response(question, p_2=3, p_1=False, p_2_=True).params_input == {"p_2": 3, "p": ["b"]}


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["1", 1]},
        {"anyOf": [{"type": "integer"}]},
        {"anyOf": [{"const": "a"}, {"type": "integer"}]},
        {"oneOf": [{"type": "null"}]},
        {"type": "array", "prefixItems": [{"const": 1}], "items": {"enum": [1]}},
        {"type": ["string", "integer", "null"]},
    ],
)
def test_schema_that_only_resembles_a_choice_is_entered_as_json(schema: dict[str, Any]) -> None:
    for revision in ("2026-07-28", "2025-06-18"):
        (shown,) = schema_of(asking(param("p", **schema), options=("OK",)), revision)["properties"].values()
        assert (shown["type"], shown["description"]) == ("string", "(JSON)")


def test_multiple_choice_becomes_flags_in_old_revisions() -> None:
    question = asking(param("answer_1", 1, type="integer"), options=("a", "b"), is_multiple=True, defaults=("b",))
    assert schema_of(question, "2025-06-18") == {
        "type": "object",
        "properties": {
            "answer_1_": {"type": "boolean", "title": "Answers: a", "default": False},
            "answer_2": {"type": "boolean", "title": "Answers: b", "default": True},
            "answer_1": {"type": "integer", "default": 1},
        },
        "required": ["answer_1_", "answer_2"],
    }
    assert response(question, answer_1_=True, answer_2=False, answer_1=7) == Response(("a",), {"answer_1": 7})
    assert response(question, answer_1_=True).chosen_options == ("a", "b")
    assert problems(question, answer_1_=False, answer_2=False) == ("answer: choose one or more of a, b",)
    assert problems(question) == ("answer: choose one or more of a, b",)


def test_chosen_entries_become_the_values_they_represent() -> None:
    several = param("p", [1], type="array", items={"oneOf": [{"const": 1, "title": "One"}, {"const": 2}]})
    question = asking(several, options=("OK",))
    assert response(question, p=["2", "1"]).params_input == {"p": [2, 1]}
    assert response(question, p=[2]).params_input == {"p": [2]}
    assert response(question, p="2").params_input == {"p": [2]}
    assert response(question, p="[1, 2]").params_input == {"p": [1, 2]}
    assert response(question, p_1=False, p_2=True).params_input == {"p": [2]}
    assert response(question, p_1=None, p_2=None).params_input == {"p": [1]}
    assert response(question).params_input == {"p": [1]}
    assert problems(question, p=["3"])[0].startswith("p[0]: '3' is not valid under any of the given schemas")
    assert problems(question, p="{")[0].startswith("p[0]: '{' is not valid under any of the given schemas")
    assert problems(question, p="{}")[0].startswith("p[0]: '{}' is not valid under any of the given schemas")


def test_json_that_is_nested_too_deep_is_refused() -> None:
    question = asking(param("p", type="array"), options=("OK",))
    assert problems(question, p="[" * 100_000)[0] == "p: this is not JSON"


def test_default_outside_the_choices_is_not_shown() -> None:
    wrong = [param("p", "z", items={"enum": ["a"]}, type="array"), param("q", "z", enum=["a"])]
    spelt_otherwise = [param("r", [1.0], items={"enum": [1]}, type="array"), param("s", 1.0, enum=[1])]
    shown = schema_of(asking(*wrong, *spelt_otherwise, options=("OK",)))["properties"]
    assert not any("default" in one for one in shown.values())


def test_param_named_answer_does_not_collide_with_our_field() -> None:
    question = asking(param("answer", 1, type="integer"))
    assert list(schema_of(question)["properties"]) == ["answer_", "answer"]
    assert response(question, answer_="Reject", answer=2) == Response(("Reject",), {"answer": 2})


def test_invalid_field_names_are_mapped_in_both_directions() -> None:
    question = asking(param("max rows", 1, type="integer"), options=("OK",))
    (name,) = schema_of(question)["properties"]
    assert response(question, **{name: 2}).params_input == {"max rows": 2}


def test_question_with_a_remote_schema_has_no_form() -> None:
    question = asking(param("p", **{"$ref": "https://example.com/schema"}))
    assert form_of(question) is None
    assert "fields" not in question_json(question)


# The response


def test_every_param_is_sent() -> None:
    question = asking(
        param("amount", 180.0, type="number"),
        param("note", type=["null", "string"]),
        param("plain", "x"),
        options=("OK",),
    )
    assert response(question, amount=5) == Response(("OK",), {"amount": 5, "note": None, "plain": "x"})


@pytest.mark.parametrize("untouched", [{}, {"note": None}, {"note": ""}], ids=["missing", "null", "empty"])
def test_untouched_field_keeps_its_default(untouched: dict[str, Any]) -> None:
    question = asking(param("note", type=["null", "string"]), options=("OK",))
    assert response(question, **untouched).params_input == {"note": None}


def test_empty_text_is_a_valid_value_of_a_string_param() -> None:
    required = asking(param("p", type="string"), options=("OK",))
    assert response(required, p="").params_input == {"p": ""}
    by_default = asking(param("p", "", type="string"), options=("OK",))
    assert response(by_default, p="").params_input == {"p": ""}


def test_entered_text_becomes_the_value_it_represents() -> None:
    question = asking(param("p", 1, enum=[1, 2]), param("q", type="array"), options=("OK",))
    assert response(question, p="2", q="[1]").params_input == {"p": 2, "q": [1]}
    assert response(question, p=2, q=[1]).params_input == {"p": 2, "q": [1]}
    titled = asking(param("p", 1, enum=[1, 2], values_display={"1": "One", "2": "Two"}), options=("OK",))
    assert response(titled, p="2").params_input == {"p": 2}


def test_each_chosen_option_is_sent_once() -> None:
    question = asking(options=("a", "b", "c"), is_multiple=True)
    assert response(question, answer=["c", "a", "c"]).chosen_options == ("c", "a")
    assert response(question, answer="b").chosen_options == ("b",)


@pytest.mark.parametrize("answer", [{}, {"answer": "Maybe"}, {"answer": ["Approve"]}, {"answer": 3}])
def test_answer_must_be_one_of_the_options(answer: dict[str, Any]) -> None:
    assert problems(APPROVAL, **answer) == ("answer: choose one of Approve, Reject",)


def test_multiple_choice_requires_at_least_one_option() -> None:
    question = asking(options=("a", "b"), is_multiple=True)
    assert problems(question, answer=[]) == ("answer: choose one or more of a, b",)


def test_every_invalid_value_is_reported() -> None:
    question = asking(param("amount", type="number", minimum=0), param("who", type="string"), param("q", type="array"))
    assert problems(question, answer="Maybe", amount=-1, q="[", other=1) == (
        "answer: choose one of Approve, Reject",
        "q: this is not JSON",
        "other: there is no such argument; there are amount, who, q",
        "amount: -1 is less than the minimum of 0",
        "who: required, but not given",
        "q: '[' is not of type 'array'",
    )


# Texts


def test_message_contains_problems_question_and_assigned_users() -> None:
    question = replace(
        APPROVAL, map_index=2, body="Order **A7**\u202e", subject="Refund\nnow?", assigned_users=("mia", "joe")
    )
    assert message_of(question, problems=("amount: too much",)) == (
        "Your answer was not accepted:\n- amount: too much\n\n"
        "The Airflow dag refund waits for a person (task approve[2] of run mcp__x).\n\n"
        "Refund now?\n\n"
        "Order **A7**\n\n"
        "Airflow accepts an answer only from mia or joe."
    )


def test_message_omits_what_the_question_lacks() -> None:
    assert message_of(APPROVAL) == (
        "The Airflow dag refund waits for a person (task approve of run mcp__x).\n\nRefund 180 EUR?"
    )
    assert message_of(replace(APPROVAL, assigned_users=("mia",)), problems=("amount: too much", "who: nobody")) == (
        "Your answer was not accepted:\n- amount: too much\n- who: nobody\n\n"
        "The Airflow dag refund waits for a person (task approve of run mcp__x).\n\n"
        "Refund 180 EUR?\n\n"
        "Airflow accepts an answer only from mia."
    )


def test_long_body_is_shortened_and_says_so() -> None:
    assert question_json(replace(APPROVAL, body="x" * MAX_BODY))["body"] == "x" * MAX_BODY
    shown = question_json(replace(APPROVAL, body="x" * (MAX_BODY + 1)))["body"]
    assert shown == "x" * MAX_BODY + "… (the rest is at http://airflow.test/q)"


def test_question_json_omits_empty_fields() -> None:
    assert question_json(APPROVAL) == {
        "task_id": "approve",
        "subject": "Refund 180 EUR?",
        "options": ["Approve", "Reject"],
        "url": "http://airflow.test/q",
    }
    whole = asking(
        param("n", 1, type="integer"),
        map_index=0,
        body="Body",
        defaults=("Reject",),
        is_multiple=True,
        assigned_users=("mia",),
    )
    assert question_json(whole) == {
        "task_id": "approve",
        "map_index": 0,
        "subject": "Refund 180 EUR?",
        "body": "Body",
        "options": ["Approve", "Reject"],
        "defaults": ["Reject"],
        "multiple": True,
        "fields": {"n": {"type": "integer", "default": 1}},
        "assigned_users": ["mia"],
        "url": "http://airflow.test/q",
    }


def test_waiting_message_says_who_may_answer_and_what_to_do_next() -> None:
    assert waiting_message((APPROVAL,), how_to_go_on="Then wait.") == (
        "The run waits for a person to answer a question in Airflow. Give your user the url of the question, and do "
        "not answer it yourself. Then wait."
    )
    several = (replace(APPROVAL, assigned_users=("mia", "joe")), replace(APPROVAL, assigned_users=("mia", "ann")))
    assert waiting_message(several, how_to_go_on="Then wait.", notice="They declined.") == (
        "They declined. The run waits for a person to answer 2 questions in Airflow. Only mia, joe or ann may "
        "answer. Give your user the urls of the questions, and do not answer them yourself. Then wait."
    )
