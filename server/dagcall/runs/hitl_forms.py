"""A question that a run asks a person -> a form for an MCP client, and the filled-in form -> the response for Airflow.

Pure. `form_fields` knows what the forms of each protocol revision may contain.

Responses are validated here before they are sent: Airflow 3.1 and 3.2 accept an invalid response, and then the task
fails. A response contains all params or none, so missing params are sent with their defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dagcall.airflow import Question, Response
from dagcall.errors import InvalidArguments, ToolUnpublishable
from dagcall.plain_json import Json
from dagcall.runs.form_fields import RICH_SINCE, Choice, Field, choice_field, field_of
from dagcall.text import shortened, visible
from dagcall.tools import InputSchema, JsonObject

MAX_BODY = 4000
"""Characters of a body that are shown; the question's url shows all of it."""
MAX_QUESTIONS = 20
"""Questions asked or shown at once; a mapped task may ask hundreds."""
ANSWER = "answer"
"""The property for the options."""


@dataclass(frozen=True, slots=True)
class Form:
    """A question as an MCP client asks it."""

    fields: tuple[Field, ...]
    answer: Field | None
    """The field for the options; None if there is only one, which submitting the form selects."""
    inputs: InputSchema

    def schema(self, revision: str) -> JsonObject:
        """Return the `requestedSchema` for a revision of the protocol."""
        properties: dict[str, Json] = {}
        required: list[str] = []
        for field in self.fields:
            shown = {field.name: field.schema} if revision >= RICH_SINCE else field.plain
            properties |= shown
            is_required = field is self.answer or field.name in self.inputs.wire["required"]
            required += [name for name in shown if is_required]
        return {"type": "object", "properties": properties, "required": required}


def form_of(question: Question) -> Form | None:
    """Return the form; None if a param's schema cannot be shown or validated, so only Airflow's UI can ask."""
    try:
        inputs = InputSchema.from_params(question.params)
    except ToolUnpublishable:
        return None
    published = {name: prop.schema for name, prop in inputs.properties.items()}
    answer = _options_field(question, frozenset(published)) if len(question.options) > 1 else None
    display = {param.name: param.schema.get("values_display") for param in question.params}
    found = [] if answer is None else [answer]
    for name, schema in published.items():
        shown = display[inputs.properties[name].param]
        taken = frozenset({*published, *(known for field in found for known in (field.name, *field.plain))})
        found.append(field_of(name, schema, display=shown if isinstance(shown, Mapping) else {}, taken=taken))
    return Form(tuple(found), answer, inputs)


def message_of(question: Question, *, problems: tuple[str, ...] = ()) -> str:
    """Return the text above the form.

    Args:
        question: the question.
        problems: why the person's last answer was not accepted; one sentence for each invalid value.
    """
    rejected = "".join(f"\n- {visible(problem)}" for problem in problems)
    parts = [
        f"Your answer was not accepted:{rejected}" if problems else "",
        f"The Airflow dag {question.dag_id} waits for a person (task {question.name} of run {question.run_id}).",
        _subject(question),
        _body(question),
        f"Airflow accepts an answer only from {_named(question.assigned_users)}." if question.assigned_users else "",
        f"Submitting this form answers {visible(question.options[0])!r}." if len(question.options) == 1 else "",
    ]
    return "\n\n".join(part for part in parts if part)


def response_from_content(question: Question, form: Form, content: Mapping[str, Json]) -> Response:
    """Read a filled-in form.

    Raises:
        InvalidArguments: with one sentence for each invalid value; nothing was sent.
    """
    problems: list[str] = []
    chosen = _chosen(question, form, content, problems)
    read = {name for field in form.fields for name in (field.name, *field.flags)}
    arguments: dict[str, Json] = {name: value for name, value in content.items() if name not in read}
    for field in form.fields:
        for name, given in field.given(content).items():
            if field is not form.answer and not _is_left_out(form, name, given):
                arguments[name] = _meant(field, given, problems)
    try:
        conf = form.inputs.conf_from_arguments(arguments, tool=question.name)
    except InvalidArguments as error:
        raise InvalidArguments(question.name, (*problems, *error.problems)) from error
    if problems:
        raise InvalidArguments(question.name, tuple(problems))
    return Response(chosen, {param.name: param.value for param in question.params} | conf)


def question_json(question: Question) -> dict[str, Json]:
    """Return a question as JSON for a model."""
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
        shown["fields"] = form.inputs.wire["properties"]
    if question.assigned_users:
        shown["assigned_users"] = [visible(name) for name in question.assigned_users]
    shown["url"] = question.url
    return shown


def waiting_message(questions: tuple[Question, ...], *, how_to_go_on: str, notice: str = "") -> str:
    """Return a message that says what to do about open questions.

    Args:
        questions: the open questions.
        how_to_go_on: how the caller gets the result afterwards; a sentence.
        notice: why they are still open, if dagcall asked them; a sentence.
    """
    several = len(questions) > 1
    who = _named(tuple(dict.fromkeys(name for question in questions for name in question.assigned_users)))
    return (
        f"{notice + ' ' if notice else ''}The run waits for a person to answer "
        f"{f'{len(questions)} questions' if several else 'a question'} in Airflow."
        f"{f' Only {who} may answer.' if who else ''} "
        f"Give your user the {'urls of the questions' if several else 'url of the question'}, and do not answer "
        f"{'them' if several else 'it'} yourself. {how_to_go_on}"
    )


def _subject(question: Question) -> str:
    return shortened(" ".join(visible(question.subject).split()))


def _body(question: Question) -> str:
    text = visible(question.body).strip()
    return text if len(text) <= MAX_BODY else f"{text[:MAX_BODY]}… (the rest is at {question.url})"


def _named(names: tuple[str, ...]) -> str:
    shown = [visible(name) for name in names]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _options_field(question: Question, taken: frozenset[str]) -> Field:
    name = ANSWER
    while name in taken:
        name += "_"
    defaults: Json = list(question.defaults) or None
    return choice_field(
        name,
        [Choice(option) for option in question.options],
        labels={"title": "Answers" if question.is_multiple else "Answer"},
        default=defaults if question.is_multiple or not defaults else defaults[0],
        is_multiple=question.is_multiple,
        limits={"minItems": 1},
        taken=taken,
    )


def _chosen(question: Question, form: Form, content: Mapping[str, Json], problems: list[str]) -> tuple[str, ...]:
    if (field := form.answer) is None:
        return question.options
    given = field.value(field.given(content).get(field.name))
    chosen = given if field.is_multiple else [given]
    if not chosen or any(option not in question.options for option in chosen):
        kind = "one or more" if question.is_multiple else "one"
        problems.append(f"{field.name}: choose {kind} of {', '.join(question.options)}")
    return tuple(dict.fromkeys(option for option in chosen if isinstance(option, str)))


def _is_left_out(form: Form, name: str, value: Json) -> bool:
    """Say whether the user left a field empty, which clients send as null or as an empty text."""
    if name in form.inputs.wire["required"]:
        return False
    return value is None or value == ""


def _meant(field: Field, given: Json, problems: list[str]) -> Json:
    try:
        return field.value(given)
    except ValueError:
        problems.append(f"{field.name}: this is not JSON")
        return given
