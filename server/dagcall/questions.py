"""A question that a run asks a person -> a form for an MCP client, and the filled-in form -> the response for Airflow.

Pure. Knows Airflow's human-in-the-loop details (3.1 to 3.3: `subject`, `body`, `options`, `params`, …) and what MCP's
elicitation takes: a flat object whose properties are text, numbers, yes or no, one of several texts, or some of them
(2025-11-25 and 2026-07-28, `requestedSchema`). A param of any other shape is asked for as JSON text.

Everything is checked here before it is sent: Airflow 3.1 and 3.2 take a response that does not fit, and then the task
fails. A response holds every param or none, so those that were left out are sent with their defaults.

Airflow does not show when a question's time runs out, nor what happens then.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from urllib.parse import quote

from dagcall.errors import InvalidArguments, ToolUnpublishable
from dagcall.model import Json, Param
from dagcall.prose import visible
from dagcall.schemas import InputSchema
from dagcall.wording import shortened

MAX_BODY = 4000
"""Characters of a body that are shown; it is whole at the question's url."""
MAX_LABEL = 300
MAX_QUESTIONS = 20
"""How many are asked or shown at once; a mapped task may ask hundreds."""
ANSWER = "answer"
"""The property for the options."""

MAY_WAIT_FOR_PEOPLE = frozenset({"awaiting_input", "deferred"})
"""A task that waits for a person is `awaiting_input` from 3.3, and before that `deferred`, as is one that waits for
an event."""
_KEPT_KEYS = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "boolean": (),
}
_KEPT_FORMATS = frozenset({"date", "date-time", "email", "uri"})


@dataclass(frozen=True, slots=True)
class Question:
    """A task instance that waits for a person."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    """-1 for a task that is not mapped."""
    asked_at: datetime
    """By Airflow's clock."""
    subject: str
    body: str
    """Markdown; empty without one."""
    options: tuple[str, ...]
    defaults: tuple[str, ...]
    """The options that Airflow takes when the time runs out, where the dag's author said so."""
    is_multiple: bool
    """Whether more than one option may be chosen."""
    params: tuple[Param, ...]
    """The fields to fill in beside the options."""
    assigned_users: tuple[str, ...]
    """The names of those who alone may answer; empty: everybody who may change the run."""
    url: str
    """Where it is answered in Airflow's UI."""

    @property
    def key(self) -> str:
        """What tells this question from every other of its run."""
        return f"{self.name}@{self.asked_at.isoformat()}"

    @property
    def name(self) -> str:
        """Who asks: `task`, or `task[2]` for one of a mapped task."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @classmethod
    def from_json(cls, data: Mapping[str, Json], *, ui_url: str) -> Self:
        """Read one element of `hitl_details` of `GET …/hitlDetails`.

        Args:
            data: what Airflow sent.
            ui_url: where Airflow's UI is.
        """
        instance = data["task_instance"]
        map_index = instance["map_index"]
        parts = ["dags", instance["dag_id"], "runs", instance["dag_run_id"], "tasks", instance["task_id"]]
        parts += [] if map_index < 0 else ["mapped", str(map_index)]
        return cls(
            dag_id=instance["dag_id"],
            run_id=instance["dag_run_id"],
            task_id=instance["task_id"],
            map_index=map_index,
            asked_at=datetime.fromisoformat(data["created_at"]),
            subject=data["subject"],
            body=data["body"] or "",
            options=tuple(data["options"]),
            defaults=tuple(data["defaults"] or ()),
            is_multiple=bool(data["multiple"]),
            params=tuple(Param.from_json(name, param) for name, param in data["params"].items()),
            assigned_users=tuple(user["name"] for user in data["assigned_users"]),
            url=f"{ui_url}/{'/'.join(quote(part, safe='') for part in parts)}/required_actions",
        )


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent to Airflow."""

    chosen_options: tuple[str, ...]
    params_input: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Form:
    """A question as an MCP client asks it."""

    schema: dict[str, Json]
    """The `requestedSchema` of an elicitation."""
    answer: str | None
    """The property for the options; None where there is one option, which whoever sends the form takes."""
    choices: Mapping[str, Mapping[str, Json]]
    """Property -> text shown -> value, for values that are no text."""
    as_json: frozenset[str]
    """Properties whose text is JSON."""
    fields: InputSchema


def is_open(data: Mapping[str, Json]) -> bool:
    """Say whether an element of `hitl_details` still waits; Airflow keeps those whose task failed or was cleared."""
    return not data["response_received"] and data["task_instance"]["state"] in MAY_WAIT_FOR_PEOPLE


def form_of(question: Question) -> Form | None:
    """Return the form; None where a param's schema cannot be shown or checked, so that only Airflow can ask."""
    try:
        fields = InputSchema.from_params(question.params)
    except ToolUnpublishable:
        return None
    properties: dict[str, Json] = {}
    choices: dict[str, Mapping[str, Json]] = {}
    as_json: set[str] = set()
    answer = None
    if len(question.options) > 1:
        answer = ANSWER
        while answer in fields.properties:
            answer += "_"
        properties[answer] = _options_property(question)
    for name, schema in fields.wire["properties"].items():
        if shown := _choices(schema):
            choices[name] = shown
            properties[name] = _choice_property(schema, shown)
        elif flat := _flat_property(schema):
            properties[name] = flat
        else:
            as_json.add(name)
            properties[name] = _json_property(schema)
    required = [*([answer] if answer else []), *fields.wire["required"]]
    schema = {"type": "object", "properties": properties, "required": required}
    return Form(schema, answer, choices, frozenset(as_json), fields)


def message_of(question: Question, *, problems: tuple[str, ...] = ()) -> str:
    """Return what the person reads above the form.

    Args:
        question: what is asked.
        problems: why the person's last answer was not taken; one sentence for each bad value.
    """
    rejected = "".join(f"\n- {visible(problem)}" for problem in problems)
    parts = [
        f"Your answer was not taken:{rejected}" if problems else "",
        f"The Airflow dag {question.dag_id} waits for a person (task {question.name} of run {question.run_id}).",
        _subject(question),
        _body(question),
        f"Airflow takes an answer only from {_named(question.assigned_users)}." if question.assigned_users else "",
        f"Sending this answers {visible(question.options[0])!r}." if len(question.options) == 1 else "",
    ]
    return "\n\n".join(part for part in parts if part)


def response_from_content(question: Question, form: Form, content: Mapping[str, Json]) -> Response:
    """Read a filled-in form.

    Raises:
        InvalidArguments: with one sentence for each value that does not fit; nothing was sent.
    """
    given = {name: value for name, value in content.items() if name != form.answer}
    problems: list[str] = []
    chosen = _chosen(question, form, content, problems)
    arguments: dict[str, Json] = {}
    for name, value in given.items():
        if not _is_left_out(form, name, value):
            arguments[name] = _typed(form, name, value, problems)
    try:
        conf = form.fields.conf_from_arguments(arguments, tool=question.name)
    except InvalidArguments as error:
        raise InvalidArguments(question.name, (*problems, *error.problems)) from error
    if problems:
        raise InvalidArguments(question.name, tuple(problems))
    return Response(chosen, {param.name: param.value for param in question.params} | conf)


def question_json(question: Question) -> dict[str, Json]:
    """Return a question as an answer shows it to a model."""
    shown: dict[str, Json] = {"task_id": question.task_id}
    if question.map_index >= 0:
        shown["map_index"] = question.map_index
    shown["subject"] = _subject(question)
    if question.body:
        shown["body"] = _body(question)
    shown["options"] = [visible(option) for option in question.options]
    if question.defaults:
        shown["defaults"] = [visible(option) for option in question.defaults]
    if question.is_multiple:
        shown["multiple"] = True
    if question.params and (form := form_of(question)):
        shown["fields"] = form.fields.wire["properties"]
    if question.assigned_users:
        shown["assigned_users"] = [visible(name) for name in question.assigned_users]
    shown["url"] = question.url
    return shown


def waiting_message(questions: tuple[Question, ...], *, how_to_go_on: str, notice: str = "") -> str:
    """Return what to do about questions that were not answered.

    Args:
        questions: those that are open.
        how_to_go_on: how the caller gets the result afterwards; a sentence.
        notice: why they are still open, where they were asked; a sentence.
    """
    several = len(questions) > 1
    who = _named(tuple(dict.fromkeys(name for question in questions for name in question.assigned_users)))
    return (
        f"{notice + ' ' if notice else ''}The run waits for a person to answer "
        f"{f'{len(questions)} questions' if several else 'a question'} in Airflow"
        f"{f', which only {who} may do' if who else ''}: give your user the "
        f"{'urls of the questions' if several else 'url of the question'}, and do not answer in their place. "
        f"{how_to_go_on}"
    )


def _subject(question: Question) -> str:
    return shortened(" ".join(visible(question.subject).split()))


def _body(question: Question) -> str:
    text = visible(question.body).strip()
    return text if len(text) <= MAX_BODY else f"{text[:MAX_BODY]}… (the rest is at {question.url})"


def _named(names: tuple[str, ...]) -> str:
    shown = [visible(name) for name in names]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _options_property(question: Question) -> dict[str, Json]:
    options, defaults = list(question.options), list(question.defaults)
    if question.is_multiple:
        several = {"type": "array", "title": "Answers", "items": {"type": "string", "enum": options}, "minItems": 1}
        return several | ({"default": defaults} if defaults else {})
    return {"type": "string", "title": "Answer", "enum": options} | ({"default": defaults[0]} if defaults else {})


def _choices(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Return the values of an enumeration by the text that stands for each; empty if it is none."""
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    return {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False): value for value in values}


def _choice_property(schema: Mapping[str, Json], shown: Mapping[str, Json]) -> dict[str, Json]:
    default = [text for text, value in shown.items() if "default" in schema and value == schema["default"]]
    named = {"type": "string", **_labels(schema), "enum": list(shown)}
    return named | ({"default": default[0]} if default else {})


def _flat_property(schema: Mapping[str, Json]) -> dict[str, Json] | None:
    """Return a schema with what an elicitation knows; None where there is no one plain type."""
    types = schema.get("type", [])
    plain = [name for name in ([types] if isinstance(types, str) else types) if name != "null"]
    if len(plain) != 1 or plain[0] not in _KEPT_KEYS:
        return None
    kind = plain[0]
    kept = {key: schema[key] for key in (*_KEPT_KEYS[kind], "default") if key in schema}
    if schema.get("format") in _KEPT_FORMATS:
        kept["format"] = schema["format"]
    return {"type": kind, **_labels(schema), **kept}


def _json_property(schema: Mapping[str, Json]) -> dict[str, Json]:
    labels = _labels(schema)
    labels["description"] = f"{labels.get('description', '')} (JSON)".strip()
    default = {"default": json.dumps(schema["default"], ensure_ascii=False)} if "default" in schema else {}
    return {"type": "string", **labels, **default}


def _labels(schema: Mapping[str, Json]) -> dict[str, Json]:
    return {key: shortened(str(schema[key]), MAX_LABEL) for key in ("title", "description") if schema.get(key)}


def _chosen(question: Question, form: Form, content: Mapping[str, Json], problems: list[str]) -> tuple[str, ...]:
    if form.answer is None:
        return question.options
    given = content.get(form.answer)
    chosen = given if question.is_multiple and isinstance(given, list) else [given]
    if not chosen or any(option not in question.options for option in chosen):
        kind = "one or more" if question.is_multiple else "one"
        problems.append(f"{form.answer}: choose {kind} of {', '.join(question.options)}")
    return tuple(dict.fromkeys(option for option in chosen if isinstance(option, str)))


def _is_left_out(form: Form, name: str, value: Json) -> bool:
    """Say whether a client sent a field that its user did not touch: as null, or as an empty text."""
    if name not in form.fields.properties or name in form.fields.wire["required"]:
        return False
    return value is None or (value == "" and form.fields.wire["properties"][name].get("default") != "")


def _typed(form: Form, name: str, value: Json, problems: list[str]) -> Json:
    if name in form.choices and isinstance(value, str):
        return form.choices[name].get(value, value)
    if name in form.as_json and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            problems.append(f"{name}: this is not JSON")
    return value
