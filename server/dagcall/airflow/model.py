"""Airflow's objects, with the fields that dagcall needs.

Knows the JSON of Airflow's REST API (3.1 to 3.3, `/api/v2`) and nothing about HTTP or MCP. The `from_json` constructors
ignore fields that they do not need. A missing required key is a `KeyError`, a wrong type a `ValidationError`; the
client turns both into `AirflowAnswerUnusable`.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from dagcall.plain_json import Json

FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""The final states of a task instance, without a further retry."""
STRICT = ConfigDict(strict=True)
"""Types are checked strictly: a proxy, or another Airflow version, may send anything."""


def _date(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


class RunState(StrEnum):
    """The four states of a dag run (Airflow's `DagRunState`, 3.1 to 3.3)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended. A person may still clear it, which queues it again."""
        return self is RunState.SUCCESS or self is RunState.FAILED


@dataclass(frozen=True, slots=True, config=STRICT)
class Param:
    """One param of a dag, from `GET /dags/{dag_id}/details`."""

    name: str
    value: Json
    """The default. None means "no default", "the default is null" or, from 3.2 on, "the default is invalid": Airflow
    does not distinguish them."""
    schema: Mapping[str, Json]
    """JSON Schema plus Airflow's form keys (`section`, `values_display`, …); `{}` for a plain default."""
    description: str | None

    @classmethod
    def from_json(cls, name: str, data: Mapping[str, Json]) -> Self:
        """Read `{"value": 3, "schema": {"type": "integer"}, "description": null}`."""
        return cls(name, data["value"], data["schema"], data["description"])


@dataclass(frozen=True, slots=True, config=STRICT)
class DagSummary:
    """A dag in a list (`GET /dags`)."""

    dag_id: str
    tags: frozenset[str]
    is_paused: bool
    is_stale: bool
    has_import_errors: bool
    allowed_run_types: frozenset[str] | None
    """None: every type (always so below 3.2, which has no such restriction)."""
    max_active_runs: int | None = None
    """Maximum concurrent runs of the dag."""
    display_name: str = ""
    description: str | None = None
    parsed_at: datetime | None = field(default=None, compare=False, repr=False)
    """When Airflow last parsed the dag's file. It does so every 30 s by default, whether the file has changed or not,
    and writes the dag in the same transaction. Two summaries that differ only in this are equal."""

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
            max_active_runs=data.get("max_active_runs"),
            display_name=data["dag_display_name"],
            description=data["description"],
            parsed_at=_date(data.get("last_parsed_time")),
        )


@dataclass(frozen=True, slots=True, config=STRICT)
class DagVersion:
    """A version of a dag (`GET /dags/~/dagVersions`).

    Not every change of a dag makes one: while no run has created task instances of the newest version, Airflow rewrites
    it in place, with the same id and number.
    """

    dag_id: str
    number: int
    version_id: str
    """A UUID of version 7: as text, a later one is greater."""

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read one element of `GET /dags/~/dagVersions`."""
        return cls(data["dag_id"], data["version_number"], data["id"])


@dataclass(frozen=True, slots=True, config=STRICT)
class Dag:
    """A dag with everything that its tool is made from (`GET /dags/{dag_id}/details`)."""

    summary: DagSummary
    doc_md: str | None
    params: tuple[Param, ...]
    version: int | None = None
    """Its newest version. Airflow creates a new version only after runs have created task instances of the last one."""

    @property
    def dag_id(self) -> str:
        """The dag's id, unique in one Airflow."""
        return self.summary.dag_id

    @property
    def display_name(self) -> str:
        """The dag's name for people."""
        return self.summary.display_name

    @property
    def description(self) -> str | None:
        """The dag's description, in one line."""
        return self.summary.description

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read the answer of `GET /dags/{dag_id}/details`."""
        return cls(
            summary=DagSummary.from_json(data),
            doc_md=data["doc_md"],
            params=tuple(Param.from_json(name, param) for name, param in (data["params"] or {}).items()),
            version=(data["latest_dag_version"] or {}).get("version_number"),
        )


@dataclass(frozen=True, slots=True, config=STRICT)
class Task:
    """A task of a dag (`GET /dags/{dag_id}/tasks`)."""

    task_id: str
    downstream_task_ids: frozenset[str]
    trigger_rule: str | None
    is_mapped: bool = False
    """Whether the task itself is expanded; False for a task that is expanded with its group."""
    start_date: datetime | None = None
    """Runs with an earlier logical date have no instance of the task. Airflow repeats the dag's dates in each task."""
    end_date: datetime | None = None
    """Likewise for later logical dates."""

    @property
    def is_teardown(self) -> bool:
        """Whether the task only cleans up. Airflow gives teardowns, and nothing else, this trigger rule."""
        return self.trigger_rule == "all_done_setup_success"

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read one element of `GET /dags/{dag_id}/tasks`."""
        return cls(
            task_id=data["task_id"],
            downstream_task_ids=frozenset(data["downstream_task_ids"] or ()),
            trigger_rule=data.get("trigger_rule"),
            is_mapped=bool(data["is_mapped"]),
            start_date=_date(data.get("start_date")),
            end_date=_date(data.get("end_date")),
        )


def leaf_task_ids(tasks: tuple[Task, ...]) -> tuple[str, ...]:
    """Return the tasks that only teardowns follow, sorted; teardowns themselves are not leaves."""
    teardowns = {task.task_id for task in tasks if task.is_teardown}
    return tuple(
        sorted(
            task.task_id for task in tasks if task.task_id not in teardowns and task.downstream_task_ids <= teardowns
        )
    )


@dataclass(frozen=True, slots=True, config=STRICT)
class Run:
    """A dag run."""

    dag_id: str
    run_id: str
    state: RunState
    conf: Mapping[str, Json]
    run_after: datetime
    """When Airflow created the run, by Airflow's clock."""
    end_date: datetime | None
    note: str
    dag_version: int | None = None
    """The dag version of its tasks; None while it has no tasks."""
    logical_date: datetime | None = None
    start_date: datetime | None = None
    """None before it starts."""

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read the answer of `GET /dags/{dag_id}/dagRuns/{dag_run_id}` or one element of a list of runs."""
        versions = [version["version_number"] for version in data["dag_versions"]]
        return cls(
            dag_id=data["dag_id"],
            run_id=data["dag_run_id"],
            state=RunState(data["state"]),
            conf=data["conf"] or {},
            run_after=datetime.fromisoformat(data["run_after"]),
            end_date=_date(data["end_date"]),
            note=data.get("note") or "",
            dag_version=max(versions, default=None),
            logical_date=_date(data["logical_date"]),
            start_date=_date(data.get("start_date")),
        )


def run_key(data: Mapping[str, Json]) -> tuple[str, str]:
    """Return dag id and run id of an element of a list."""
    key = data["dag_id"], data["dag_run_id"]
    if not all(isinstance(part, str) for part in key):
        raise TypeError(f"{key} is not a run")
    return key


def instance_name(task_id: str, map_index: int) -> str:
    """Return `task`, or `task[2]` for an instance of a mapped task."""
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


@dataclass(frozen=True, slots=True, config=STRICT)
class TaskInstance:
    """A task in a run; a mapped task has one instance per index."""

    task_id: str
    map_index: int
    """-1 for a task that is not mapped."""
    state: str | None
    """Airflow's `TaskInstanceState`; None before it is scheduled."""
    try_number: int
    max_tries: int
    """Maximum retries: 0 means one try."""
    pool: str = "default_pool"
    ready_at: datetime | None = None
    """Since when it has been `scheduled` or `queued`, by Airflow's clock."""
    end_date: datetime | None = None
    """Also None for instances that Airflow skipped because the run exceeded its time-out."""
    start_date: datetime | None = None

    @property
    def name(self) -> str:
        """`task`, or `task[2]` for an instance of a mapped task."""
        return instance_name(self.task_id, self.map_index)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read one element of a list of task instances."""
        since = data.get({"scheduled": "scheduled_when", "queued": "queued_when"}.get(data["state"], ""))
        return cls(
            task_id=data["task_id"],
            map_index=data["map_index"],
            state=data["state"],
            try_number=data["try_number"],
            max_tries=data["max_tries"],
            pool=data["pool"],
            ready_at=_date(since),
            end_date=_date(data["end_date"]),
            start_date=_date(data.get("start_date")),
        )


@dataclass(frozen=True, slots=True, config=STRICT)
class Frame:
    """One step of a traceback."""

    filename: str
    line: int
    function: str


@dataclass(frozen=True, slots=True, config=STRICT)
class LoggedException:
    """An exception in a log."""

    kind: str
    """Its class name, without the module."""
    message: str
    frames: tuple[Frame, ...] = ()
    """From the outermost call to the place where it was raised."""


@dataclass(frozen=True, slots=True, config=STRICT)
class LogEvent:
    """One event of a task's log; it may have several lines."""

    level: str | None
    event: str
    logger: str | None = None
    """`task` is Airflow's own account of the task, `task.stdout` what the task printed."""
    exceptions: tuple[LoggedException, ...] = ()
    """From the one raised to what it began with, where the line reports an exception."""
    signal: str | None = None
    """Which signal ended the task's process, e.g. `SIGKILL`."""
    exit_code: int | str | None = None
    """The exit code of the task's process: a number, or the text given to `sys.exit`."""

    @classmethod
    def from_json(cls, data: Mapping[str, Json] | str) -> Self:
        """Read one element of `content` of `GET …/logs/{try_number}`: an object, or a bare line."""
        if isinstance(data, str):
            return cls(None, data)
        return cls(
            level=_text(data.get("level")),
            event=str(data.get("event", "")),
            logger=_text(data.get("logger")),
            exceptions=_exceptions(data.get("error_detail")),
            signal=_text(data.get("signal_name")),
            exit_code=_exit_code(data["exit_code"]) if "exit_code" in data else None,
        )


def _text(value: Json) -> str | None:
    """Return a text; None for anything else: a task may log anything under any name."""
    return value if isinstance(value, str) else None


def _exit_code(code: Json) -> int | str:
    """Read the argument of `sys.exit`; as in Python, None is 0, and anything but a number is a message."""
    return int(code or 0) if code is None or isinstance(code, int) else str(code)


def _exceptions(detail: Json) -> tuple[LoggedException, ...]:
    """Read structlog's form of an exception; the members of a group follow it.

    A task may log any `error_detail`: what does not look like structlog's is ignored.
    """
    found: list[LoggedException] = []
    for item in detail if isinstance(detail, list) else ():
        if not isinstance(item, Mapping) or "exc_type" not in item:
            continue
        frames = tuple(
            Frame(str(frame.get("filename")), int(frame.get("lineno", 0)), str(frame.get("name")))
            for frame in item.get("frames") or ()
            if isinstance(frame, Mapping)
        )
        lines = [item.get("exc_value", ""), *(item.get("exc_notes") or ())]
        found.append(LoggedException(str(item["exc_type"]), "\n".join(map(str, lines)), frames))
        for member in item.get("exceptions") or ():
            found += _exceptions(member)
    return tuple(found)
