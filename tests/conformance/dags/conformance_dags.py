# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""The fixture tools of the official conformance suite, as far as dags can implement them.

The suite calls tools with these names and specifies their behaviour. Features that dags do not have (images, prompts,
sampling) are missing; `../expected_failures.toml` gives the reasons.
"""

import time
from pathlib import Path

from airflow.providers.standard.operators.hitl import HITLEntryOperator
from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

DAG = {"tags": ["conformance"], "max_active_runs": 64}
CHANGING = """\
from airflow.sdk import dag, task

@dag(schedule=None, tags=["conformance"], description="Version {number} of a dag that changes.")
def changing():
    task(lambda: None, task_id="nothing")()

changing()
"""
ADDRESS = {
    "$anchor": "addressDef",
    "type": "object",
    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
}
TEXT = Param(None, type=["null", "string"])
OK = Param(default=False, type="boolean")


def given(name: str) -> object:
    """Return the value of a param."""
    return get_current_context()["params"][name]


@task
def say(text: str) -> str:
    return text


@task
def fail() -> None:
    raise AirflowFailException("This tool intentionally returns an error for testing")


@task
def answers(*task_ids: str) -> str:
    """Return people's answers as one text."""
    pulled = [get_current_context()["ti"].xcom_pull(task_ids=task_id) for task_id in task_ids]
    return ", ".join(f"{key}: {value}" for one in pulled for key, value in one["params_input"].items())


def asking(task_id: str, subject: str, **params: Param) -> HITLEntryOperator:
    return HITLEntryOperator(task_id=task_id, subject=subject, params=params)


def asks_once(dag_id: str, subject: str, *, description: str, call: dict | None = None, **params: Param) -> None:
    """Create a dag that asks one question and returns the answer."""

    @dag(dag_id, schedule=None, description=description, params=call or {}, **DAG)
    def made() -> None:
        asking("ask", subject, **params) >> answers("ask")

    made()


@dag(schedule=None, description="Return a simple text.", **DAG)
def test_simple_text() -> None:
    say("This is a simple text response for testing.")


@dag(schedule=None, description="Log a little, and return a text.", **DAG)
def test_logging_tool() -> None:
    say("Nothing was logged through MCP.")


@dag(schedule=None, description="Always fail.", **DAG)
def test_error_handling() -> None:
    fail()


@dag(schedule=None, description="Do three things at once, so that there is progress to report.", **DAG)
def test_tool_with_progress() -> None:
    for number in range(3):
        say.override(task_id=f"step_{number}")("done")


@dag(
    schedule=None,
    description="Take arguments that JSON Schema 2020-12 describes.",
    params={
        "name": TEXT,
        "address": Param({}, **{"$ref": "#/$defs/address", "$defs": {"address": ADDRESS}}),
        "contactMethod": Param("phone", type="string", enum=["phone", "email"]),
        "phone": TEXT,
        "email": TEXT,
    },
    **DAG,
)
def json_schema_2020_12_tool() -> None:
    say("taken")


@task
def greeting() -> str:
    return f"Hello, {given('name')}!"


@dag(schedule=None, description="Greet somebody.", params={"name": Param("World", type="string")}, **DAG)
def greet() -> None:
    greeting()


@task
def compute() -> str:
    time.sleep(given("seconds"))
    return f"{given('label')}: computed"


@dag(
    schedule=None,
    description="Compute for so many seconds.",
    params={"seconds": Param(0, type="integer", minimum=0), "label": Param("", type="string")},
    **DAG,
)
def slow_compute() -> None:
    compute()


@dag(schedule=None, description="Always fail, as a task.", **DAG)
def failing_job() -> None:
    fail()


@dag(schedule=None, description="Fail in a way that is no fault of the tool's.", **DAG)
def protocol_error_job() -> None:
    fail()


@dag(schedule=None, description="Ask two questions at once.", **DAG)
def multi_input() -> None:
    first = asking("first", "Who is first?", name=TEXT, confirm=OK)
    second = asking("second", "Who is second?", name=TEXT, confirm=OK)
    [first, second] >> answers("first", "second")


@dag(schedule=None, description="Ask for a name, then for a color.", **DAG)
def test_input_required_result_multi_round() -> None:
    first = asking("step1", "Step 1: What is your name?", name=TEXT)
    second = asking("step2", "Step 2: What is your favorite color?", color=TEXT)
    first >> second >> answers("step1", "step2")


@task
def change_another_dag() -> str:
    text = CHANGING.format(number=time.time_ns())
    Path(__file__).with_name("changing.py").write_text(text)
    return "changed"


@dag(schedule=None, description="Change another dag, and so the list of tools.", **DAG)
def test_trigger_tool_change() -> None:
    change_another_dag()


for made in (
    *(test_simple_text, test_logging_tool, test_error_handling, test_tool_with_progress, json_schema_2020_12_tool),
    *(
        test_trigger_tool_change,
        greet,
        slow_compute,
        failing_job,
        protocol_error_job,
        multi_input,
        test_input_required_result_multi_round,
    ),
):
    made()

asks_once(
    "confirm_delete",
    "Delete {{ params.filename }}?",
    description="Delete a file, once somebody has confirmed that.",
    call={"filename": Param("nothing.txt", type="string")},
    confirm=OK,
)
asks_once(
    "test_elicitation",
    "{{ params.message }}",
    description="Ask for what the caller says.",
    call={"message": Param("Who are you?", type="string")},
    username=Param("", type="string", description="User's response"),
    email=Param("", type="string", description="User's email address"),
)
asks_once(
    "test_elicitation_sep1034_defaults",
    "Please review and update the form.",
    description="Ask with a default for each kind of field.",
    name=Param("John Doe", type="string"),
    age=Param(30, type="integer"),
    score=Param(95.5, type="number"),
    status=Param("active", type="string", enum=["active", "inactive", "pending"]),
    verified=Param(default=True, type="boolean"),
)
CHOICES = [{"const": f"value{number}", "title": f"Option {number}"} for number in (1, 2, 3)]
asks_once(
    "test_elicitation_sep1330_enums",
    "Please choose.",
    description="Ask with each kind of choice.",
    untitledSingle=Param("option1", type="string", enum=["option1", "option2", "option3"]),
    titledSingle=Param("value1", type="string", oneOf=CHOICES),
    legacyEnum=Param(
        "opt1",
        type="string",
        enum=["opt1", "opt2", "opt3"],
        values_display={"opt1": "Option One", "opt2": "Option Two", "opt3": "Option Three"},
    ),
    untitledMulti=Param([], type="array", items={"type": "string", "enum": ["option1", "option2", "option3"]}),
    titledMulti=Param([], type="array", items={"anyOf": CHOICES}),
)
for dag_id, fields in {
    "test_input_required_result_elicitation": {"name": TEXT},
    "test_input_required_result_request_state": {"ok": OK},
    "test_input_required_result_tampered_state": {"ok": OK},
    "test_input_required_result_capabilities": {"name": TEXT},
    "test_tool_with_task": {"name": TEXT},
    "test_streaming_elicitation": {"name": TEXT},
}.items():
    asks_once(dag_id, "What should I know?", description="Ask one question.", **fields)
