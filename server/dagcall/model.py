"""Airflow's nouns, as far as dagcall needs them.

Knows the shapes of Airflow's REST answers (3.1 to 3.3, `/api/v2`) and nothing about HTTP or MCP. The `…_from_json`
constructors read what Airflow sends and ignore what they do not need; a missing required key is a `KeyError`, which
the client turns into `AirflowAnswerUnusable`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

Json = Any
"""A value as `json.loads` makes it."""


class RunState(StrEnum):
    """The four states of a dag run (Airflow's `DagRunState`, 3.1 to 3.3)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended. A person may still clear it, which sets it to queued again."""
        return self in {RunState.SUCCESS, RunState.FAILED}


@dataclass(frozen=True, slots=True)
class Param:
    """One param of a dag, as `GET /dags/{dag_id}/details` shows it."""

    name: str
    value: Json
    """The default. None stands for "no default", for "the default is null" and, from 3.2, for "the default is
    invalid": Airflow does not tell them apart."""
    schema: Mapping[str, Json]
    """JSON Schema plus Airflow's keys for its form (`section`, `values_display`, …); `{}` for a plain default."""
    description: str | None

    @classmethod
    def from_json(cls, name: str, data: Mapping[str, Json]) -> Self:
        """Read `{"value": 3, "schema": {"type": "integer"}, "description": null}`."""
        return cls(name, data["value"], data["schema"], data["description"])


@dataclass(frozen=True, slots=True)
class DagSummary:
    """A dag as lists show it (`GET /dags`)."""

    dag_id: str
    tags: frozenset[str]
    is_paused: bool
    is_stale: bool
    has_import_errors: bool
    allowed_run_types: frozenset[str] | None
    """None: every type (and always None below 3.2, which has no such restriction)."""

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read one element of `GET /dags`, or the answer of `GET /dags/{dag_id}`."""
        run_types = data.get("allowed_run_types")
        return cls(
            dag_id=data["dag_id"],
            tags=frozenset(tag["name"] for tag in data["tags"]),
            is_paused=data["is_paused"],
            is_stale=data["is_stale"],
            has_import_errors=data["has_import_errors"],
            allowed_run_types=None if run_types is None else frozenset(run_types),
        )


@dataclass(frozen=True, slots=True)
class Dag:
    """A dag with all that its tool is made from (`GET /dags/{dag_id}/details`)."""

    summary: DagSummary
    display_name: str
    description: str | None
    doc_md: str | None
    params: tuple[Param, ...]

    @property
    def dag_id(self) -> str:
        """The dag's id, unique in one Airflow."""
        return self.summary.dag_id

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read the answer of `GET /dags/{dag_id}/details`."""
        return cls(
            summary=DagSummary.from_json(data),
            display_name=data["dag_display_name"],
            description=data["description"],
            doc_md=data["doc_md"],
            params=tuple(Param.from_json(name, param) for name, param in (data["params"] or {}).items()),
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a dag (`GET /dags/{dag_id}/tasks`)."""

    task_id: str
    downstream_task_ids: frozenset[str]
    trigger_rule: str | None

    @property
    def is_teardown(self) -> bool:
        """Whether the task only cleans up. Airflow gives teardowns, and nothing else, this trigger rule."""
        return self.trigger_rule == "all_done_setup_success"

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read one element of `GET /dags/{dag_id}/tasks`."""
        return cls(data["task_id"], frozenset(data["downstream_task_ids"] or ()), data.get("trigger_rule"))


def leaf_task_ids(tasks: tuple[Task, ...]) -> tuple[str, ...]:
    """Return the tasks after which nothing but clean-up comes, sorted; clean-up itself is no leaf."""
    teardowns = {task.task_id for task in tasks if task.is_teardown}
    return tuple(
        sorted(
            task.task_id for task in tasks if task.task_id not in teardowns and task.downstream_task_ids <= teardowns
        )
    )


@dataclass(frozen=True, slots=True)
class Run:
    """A dag run."""

    dag_id: str
    run_id: str
    state: RunState
    conf: Mapping[str, Json]
    run_after: datetime
    """When Airflow took the run in, by Airflow's clock."""
    end_date: datetime | None
    note: str

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read the answer of `GET /dags/{dag_id}/dagRuns/{dag_run_id}` or one element of a list of runs."""
        end_date = data["end_date"]
        return cls(
            dag_id=data["dag_id"],
            run_id=data["dag_run_id"],
            state=RunState(data["state"]),
            conf=data["conf"] or {},
            run_after=datetime.fromisoformat(data["run_after"]),
            end_date=None if end_date is None else datetime.fromisoformat(end_date),
            note=data.get("note") or "",
        )


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """A task in a run; a mapped task has one for each index."""

    task_id: str
    map_index: int
    """-1 for a task that is not mapped."""
    state: str | None
    """Airflow's `TaskInstanceState`; None before it is scheduled."""
    try_number: int
    max_tries: int
    """How often it may be retried: 0 means one try."""

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read one element of a list of task instances."""
        return cls(data["task_id"], data["map_index"], data["state"], data["try_number"], data["max_tries"])


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line of a task's log."""

    level: str | None
    event: str
    exceptions: tuple[tuple[str, str], ...] = ()
    """(type, message) from the one raised to its causes, where the line reports an exception."""

    @classmethod
    def from_json(cls, data: Mapping[str, Json] | str) -> Self:
        """Read one element of `content` of `GET …/logs/{try_number}`: an object, or a bare line."""
        if isinstance(data, str):
            return cls(None, data)
        exceptions = tuple(
            (str(item.get("exc_type", "")), str(item.get("exc_value", ""))) for item in data.get("error_detail") or ()
        )
        return cls(data.get("level"), str(data.get("event", "")), exceptions)
