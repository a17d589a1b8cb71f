"""One dag per question about params: each kind of default, schema and name, so that the answers can be compared."""

from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.definitions.param import ParamsDict

TREE: dict[str, Any] = {
    "$ref": "#/$defs/Tree",
    "$defs": {"Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}}},
}


@dag(params={"n": Param(type="integer", minimum=1), "s": Param("x", type="string")}, schedule=None, tags=["params"])
def required_param() -> None:
    """A param that must be given, next to one with a default."""

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


@dag(params={"n": Param(type=["null", "integer"])}, schedule=None, tags=["params"])
def required_nullable_param() -> None:
    """No default, and null is a legal value: Airflow still refuses a run that leaves it out."""

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


@dag(params={"n": Param(None, type=["null", "integer"]), "m": None}, schedule=None, tags=["params"])
def null_default_param() -> None:
    """The default is null, which looks the same from outside as no default."""

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


@dag(params={"n": Param("three", type="integer")}, schedule=None, tags=["params"])
def invalid_default_param() -> None:
    """The default breaks its own schema."""

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


@dag(
    params={
        "b": True,
        "i": 3,
        "f": 0.5,
        "s": "text",
        "l": [1, "two"],
        "d": {"k": {"deep": 1}},
        "t": (1, 2),
        "e": "",
    },
    schedule=None,
    tags=["params"],
)
def plain_default_params() -> None:
    """Plain values: Airflow keeps no schema for them and takes anything in their place."""

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


@dag(
    params={
        "enum": Param("a", enum=["a", "b", 3]),
        "const": Param("c", const="c"),
        "date": Param("2026-01-02", type="string", format="date"),
        "date_time": Param("2026-01-02T03:04:05+00:00", type="string", format="date-time"),
        "time": Param("03:04:05", type=["null", "string"], format="time"),
        "email": Param("a@example.org", type="string", format="idn-email", minLength=5, maxLength=255),
        "multiline": Param("one\ntwo", type="string", format="multiline"),
        "pattern": Param("ab", type="string", pattern="^[a-z]+$"),
        "number": Param(1.5, type="number", exclusiveMinimum=0, multipleOf=0.5),
        "array": Param([1, 2], type="array", items={"type": "integer"}, minItems=1),
        "object": Param(
            {"x": 1},
            type="object",
            properties={"x": {"type": "integer"}, "y": {"type": "string"}},
            required=["x"],
        ),
        "any_of": Param(1, anyOf=[{"type": "integer"}, {"type": "string", "minLength": 2}]),
    },
    schedule=None,
    tags=["params"],
)
def schema_params() -> None:
    """JSON Schema keywords, all with legal defaults."""

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


@dag(
    params={
        "choice": Param(
            "a",
            type="string",
            title="The choice",
            description="Choose one.",
            enum=["a", "b"],
            values_display={"a": "The first", "b": "The second"},
        ),
        "documented": Param("x", type="string", description_md="Some **bold** text.", section="Other"),
        "suggested": Param("x", type="string", examples=["x", "y"]),
        "form": Param("x", type="string", custom_html_form="<input name='{name}'>"),
    },
    schedule=None,
    tags=["params"],
)
def presentation_params() -> None:
    """Keys that only Airflow's trigger form understands."""

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


@dag(params={"a b": 1, "ü": "u", "x-mcp-header": "h", "$ref": "r", "": 0, "class": 1}, schedule=None, tags=["params"])
def odd_param_names() -> None:
    """Names that are no identifiers."""

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


@dag(
    params={
        "config": Param("c", type="string"),
        "_under": "u",
        "a.b": 1,
        "model_dump": Param(None, type=["null", "object"], properties={"_id": {"type": "string"}}),
        "password": Param("abcdefg1", type="string", pattern=r"^(?=.*\d)\S{8,}$"),
        "code": Param("A-1", type="string", pattern=r"^\w-\d\Z"),
        "email": Param("a@example.org", type="string", format="email"),
        "labels": Param(None, type=["null", "array"], items={"type": "string"}, uniqueItems=True),
        "pair": Param([1, "a"], type="array", prefixItems=[{"type": "integer"}, True], items=False),
        "choice": Param(None, enum=["a", 1, None]),
        "tree": Param({"left": {}}, **TREE),
        "here": Param("x", **{"$anchor": "here"}, type="string"),
    },
    schedule=None,
    tags=["params"],
)
def awkward_params() -> None:
    """What some client or other stumbles over."""

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


@dag(schedule=None, tags=["params"])
def function_args(city: str, days: int = 3, unit: str = "C") -> None:  # noqa: ARG001 - they are the params
    """Function arguments become params.

    And this docstring becomes the dag's documentation.
    """

    @task
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


function_args(city=Param(type="string"))


@dag(params=ParamsDict({"dag_level": 1}), schedule=None, tags=["params"])
def task_level_params() -> None:
    """A task with a param of its own."""

    @task(params={"task_level": Param(2, type="integer")})
    def show(params: Any = None) -> Any:
        return dict(params)

    show()


for make in (
    required_param,
    required_nullable_param,
    null_default_param,
    invalid_default_param,
    plain_default_params,
    schema_params,
    presentation_params,
    odd_param_names,
    awkward_params,
    task_level_params,
):
    make()
