"""The fake with the dags of `dags/`, behind the same interface as the real Airflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import httpx

from tests.fake_airflow import (
    NO_SUCH_POOL,
    FakeAirflow,
    FakeDag,
    FakeImportError,
    FakeParam,
    FakeQuestion,
    FakeTask,
    Version,
)


class ContractAirflow(Protocol):
    """What the contract tests need from a fake or real Airflow in addition to its REST API."""

    @property
    def version(self) -> Version: ...
    @property
    def url(self) -> str: ...
    @property
    def transport(self) -> httpx.AsyncBaseTransport | None: ...

    def token(self, user: str = ..., *, seconds: float = ...) -> str: ...
    def start(self, dag_id: str, run_id: str) -> None: ...
    def finish(self, dag_id: str, run_id: str, state: Literal["success", "failed"]) -> None: ...
    def set_task(
        self, dag_id: str, run_id: str, task_id: str, state: str, *, log: Sequence[Mapping[str, Any]] = ...
    ) -> None: ...
    def set_xcom(
        self, dag_id: str, run_id: str, task_id: str, value: Any, *, map_index: int = ..., is_result: bool = ...
    ) -> None: ...
    def skip_for_nothing_to_map(self, dag_id: str, run_id: str, task_id: str) -> None: ...
    def ask(self, dag_id: str, run_id: str, task_id: str, question: FakeQuestion, *, map_index: int = ...) -> None: ...
    def delete(self, dag_id: str, run_id: str) -> None: ...


@dataclass(frozen=True)
class FakeSide:
    fake: FakeAirflow

    @property
    def version(self) -> Version:
        return self.fake.version

    @property
    def url(self) -> str:
        return self.fake.url

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        return self.fake.transport

    def token(self, user: str = "admin", *, seconds: float = 3600) -> str:
        return self.fake.access.token(user, seconds=seconds)

    def start(self, dag_id: str, run_id: str) -> None:
        self.fake.run(run_id, dag_id).start(self.fake.clock.now(), with_tasks=False)

    def finish(self, dag_id: str, run_id: str, state: Literal["success", "failed"]) -> None:
        self.fake.finish(self.fake.run(run_id, dag_id), state)

    def set_task(
        self, dag_id: str, run_id: str, task_id: str, state: str, *, log: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        now = self.fake.clock.now()
        for instance in self.fake.run(run_id, dag_id).instances_of(task_id):
            instance.start(now)
            instance.end(state, now)
            instance.try_number = 1
            instance.logs[1] = [dict(event) for event in log]

    def set_xcom(
        self, dag_id: str, run_id: str, task_id: str, value: Any, *, map_index: int = -1, is_result: bool = False
    ) -> None:
        run = self.fake.run(run_id, dag_id)
        run.set_xcom(task_id, value, self.fake.clock.now(), map_index=map_index)
        run.xcoms[-1].dag_result = is_result

    def skip_for_nothing_to_map(self, dag_id: str, run_id: str, task_id: str) -> None:
        for instance in self.fake.run(run_id, dag_id).instances_of(task_id):
            instance.state, instance.start_date, instance.end_date = "skipped", None, None

    def ask(self, dag_id: str, run_id: str, task_id: str, question: FakeQuestion, *, map_index: int = -1) -> None:
        run = self.fake.run(run_id, dag_id)
        for instance in run.instances_of(task_id):
            if instance.map_index == map_index:
                instance.ask(question, run.waiting_state, self.fake.clock.now())

    def delete(self, dag_id: str, run_id: str) -> None:
        self.fake.delete(self.fake.run(run_id, dag_id))


TREE: dict[str, Any] = {
    "$ref": "#/$defs/Tree",
    "$defs": {"Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}}},
}


def fake_side(version: Version, *, all_admins: bool = False) -> FakeSide:
    fake = FakeAirflow(version, all_admins=all_admins)
    fake.config = {("core", "dag_run_conf_overrides_params"): "True"} if all_admins else None
    fake.is_scheduler_silent = True  # the real ones have no scheduler
    for dag in (*_params_dags(), *_shapes_dags(), *_many_dags()):
        dag.checks = None
        fake.add_dag(dag)
    fake.import_errors.append(FakeImportError("broken.py", "RuntimeError: this dag file is broken on purpose\n"))
    return FakeSide(fake)


def _params_dags() -> list[FakeDag]:
    params: dict[str, dict[str, Any]] = {
        "required_param": {"n": FakeParam(type="integer", minimum=1), "s": FakeParam("x", type="string")},
        "required_nullable_param": {"n": FakeParam(type=["null", "integer"])},
        "null_default_param": {"n": FakeParam(None, type=["null", "integer"]), "m": None},
        "invalid_default_param": {"n": FakeParam("three", type="integer")},
        "plain_default_params": {
            "b": True,
            "i": 3,
            "f": 0.5,
            "s": "text",
            "l": [1, "two"],
            "d": {"k": {"deep": 1}},
            "t": [1, 2],
            "e": "",
        },
        "schema_params": {
            "enum": FakeParam("a", enum=["a", "b", 3]),
            "const": FakeParam("c", const="c"),
            "date": FakeParam("2026-01-02", type="string", format="date"),
            "date_time": FakeParam("2026-01-02T03:04:05+00:00", type="string", format="date-time"),
            "time": FakeParam("03:04:05", type=["null", "string"], format="time"),
            "email": FakeParam("a@example.org", type="string", format="idn-email", minLength=5, maxLength=255),
            "multiline": FakeParam("one\ntwo", type="string", format="multiline"),
            "pattern": FakeParam("ab", type="string", pattern="^[a-z]+$"),
            "number": FakeParam(1.5, type="number", exclusiveMinimum=0, multipleOf=0.5),
            "array": FakeParam([1, 2], type="array", items={"type": "integer"}, minItems=1),
            "object": FakeParam(
                {"x": 1},
                type="object",
                properties={"x": {"type": "integer"}, "y": {"type": "string"}},
                required=["x"],
            ),
            "any_of": FakeParam(1, anyOf=[{"type": "integer"}, {"type": "string", "minLength": 2}]),
        },
        "presentation_params": {
            "choice": FakeParam(
                "a",
                type="string",
                title="The choice",
                description="Choose one.",
                enum=["a", "b"],
                values_display={"a": "The first", "b": "The second"},
            ),
            "documented": FakeParam("x", type="string", description_md="Some **bold** text.", section="Other"),
            "suggested": FakeParam("x", type="string", examples=["x", "y"]),
            "form": FakeParam("x", type="string", custom_html_form="<input name='{name}'>"),
        },
        "odd_param_names": {"a b": 1, "ü": "u", "x-mcp-header": "h", "$ref": "r", "": 0, "class": 1},
        "awkward_params": {
            "config": FakeParam("c", type="string"),
            "_under": "u",
            "a.b": 1,
            "model_dump": FakeParam(None, type=["null", "object"], properties={"_id": {"type": "string"}}),
            "password": FakeParam("abcdefg1", type="string", pattern=r"^(?=.*\d)\S{8,}$"),
            "code": FakeParam("A-1", type="string", pattern=r"^\w-\d\Z"),
            "email": FakeParam("a@example.org", type="string", format="email"),
            "labels": FakeParam(None, type=["null", "array"], items={"type": "string"}, uniqueItems=True),
            "pair": FakeParam([1, "a"], type="array", prefixItems=[{"type": "integer"}, True], items=False),
            "choice": FakeParam(None, enum=["a", 1, None]),
            "tree": FakeParam({"left": {}}, **TREE),
            "here": FakeParam("x", **{"$anchor": "here"}, type="string"),
        },
        "function_args": {"city": FakeParam(type="string"), "days": 3, "unit": "C"},
        "task_level_params": {"dag_level": 1},
    }
    docs = {
        "required_param": "A param that must be given, next to one with a default.",
        "required_nullable_param": "No default, and null is a legal value: "
        "Airflow still refuses a run that leaves it out.",
        "null_default_param": "The default is null, which looks the same from outside as no default.",
        "invalid_default_param": "The default breaks its own schema.",
        "plain_default_params": "Plain values: Airflow keeps no schema for them and takes anything in their place.",
        "schema_params": "JSON Schema keywords, all with legal defaults.",
        "presentation_params": "Keys that only Airflow's trigger form understands.",
        "odd_param_names": "Names that are no identifiers.",
        "awkward_params": "What some client or other stumbles over.",
        "function_args": "Function arguments become params.\n\nAnd this docstring becomes the dag's documentation.",
        "task_level_params": "A task with a param of its own.",
    }
    dags = []
    for dag_id, dag_params in params.items():
        task_params = {"task_level": FakeParam(2, type="integer")} if dag_id == "task_level_params" else {}
        task = FakeTask("show", dict, params=task_params)
        dags.append(
            FakeDag(
                dag_id,
                params=dag_params,
                tasks=[task],
                tags=["params"],
                doc_md=docs[dag_id],
                relative_fileloc="params.py",
            )
        )
    return dags


def _shapes_dags() -> list[FakeDag]:
    dags = [
        FakeDag(
            "one_task",
            params={"x": 1},
            tasks=[FakeTask("add", lambda params: params["x"] + 1)],
            tags=["shapes", "mcp"],
            description="Adds one.",
            display_name="Add one",
            doc_md="Add one to `x`.\n\nThe second paragraph.",
        ),
        FakeDag(
            "grouped",
            tasks=[
                FakeTask("group.first", downstream=["group.inner", "group.other"]),
                FakeTask("group.inner"),
                FakeTask("group.other"),
            ],
        ),
        FakeDag(
            "mapped",
            tasks=[
                FakeTask("numbers", downstream=["double"]),
                FakeTask("double", mapped=True, downstream=["total"]),
                FakeTask("total"),
            ],
        ),
        FakeDag("mapped_leaf", tasks=[FakeTask("double", mapped=3)]),
        FakeDag(
            "declared_result",
            tasks=[FakeTask("answer", is_result=True, downstream=["afterwards"]), FakeTask("afterwards")],
            doc_md="From Airflow 3.3 on, what the dag function returns is the dag's result.",
        ),
        FakeDag("team.north.report-v1.2", tasks=[FakeTask("say")], tags=["shapes", "a tag"]),
        FakeDag("long_" + "x" * 195, tasks=[FakeTask("say")]),
        FakeDag(
            "paused", tasks=[FakeTask("say")], tags=["shapes", "mcp"], is_paused=True, is_paused_upon_creation=True
        ),
        FakeDag("no_tasks", tasks=()),
        FakeDag(
            "dated",
            tasks=[
                FakeTask("always", downstream=["later", "earlier"]),
                FakeTask("later", start_date=datetime(2099, 1, 1, tzinfo=UTC)),
                FakeTask("earlier", end_date=datetime(2020, 1, 1, tzinfo=UTC)),
            ],
            start_date=datetime(2000, 1, 1, tzinfo=UTC),
        ),
        FakeDag("not_begun", start_date=datetime(2099, 1, 1, tzinfo=UTC)),
        FakeDag(
            "held_back",
            tasks=[
                FakeTask("in_order", depends_on_past=True),
                FakeTask("pooled", pool="nowhere", hindrances=[NO_SUCH_POOL]),
            ],
        ),
    ]
    for dag in dags:
        dag.tags = dag.tags or ["shapes"]
        dag.relative_fileloc = "shapes.py"
    return dags


def _many_dags() -> list[FakeDag]:
    return [
        FakeDag(
            f"many_{number:03}",
            tasks=[FakeTask("nothing")],
            tags=["many", "even" if number % 2 == 0 else "odd"],
            relative_fileloc="many.py",
        )
        for number in range(120)
    ]
