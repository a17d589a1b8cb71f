"""What a test declares: dags, tasks, params. Data only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, TypeAlias
from uuid import UUID

NOTSET: Final = object()
"""A param without a default."""

NO_SUCH_POOL: Final = ("Pool Slots Available", "Tasks using non-existent pool 'nowhere' will not be scheduled")
"""Keeps a task from starting."""

PARSED_AT = datetime(2029, 12, 31, tzinfo=UTC)

TaskCallable: TypeAlias = Callable[[Mapping[str, Any]], Any]


_version_ids = (UUID(int=(int(PARSED_AT.timestamp() * 1000) + n << 80) + (7 << 76) + (2 << 62)) for n in count())
"""UUIDs of version 7, as Airflow's are: a later one is greater."""


class SkipTask(Exception):
    """Raised by a task to end as skipped."""


class FakeParam:
    """Airflow's `Param`, with the same arguments: `FakeParam(3, type="integer", description="…")`."""

    def __init__(self, default: Any = NOTSET, *, description: str | None = None, **schema: Any) -> None:
        self.default = default
        self.description = description
        self.schema = schema


def as_params(params: Mapping[str, Any]) -> dict[str, FakeParam]:
    """Wrap plain defaults, as Airflow does."""
    return {name: param if isinstance(param, FakeParam) else FakeParam(param) for name, param in params.items()}


@dataclass(kw_only=True)
class FakeQuestion:
    """A task's question to a person, with the arguments of `HITLOperator`."""

    subject: str = field(kw_only=False)
    options: Sequence[str] = ("Approve", "Reject")
    body: str | None = None
    defaults: Sequence[str] | None = None
    multiple: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    assigned_users: Sequence[str] = ()


@dataclass(kw_only=True)
class FakeTask:
    """One task of a dag.

    `task_id` and `call` may be given by position. `call` gets the run's params (defaults and conf merged) and returns
    the XCom as it is stored: JSON, so a tuple is `{"__classname__": "builtins.tuple", …}`. An exception fails the task,
    `SkipTask` skips it. None stores no XCom, as in Airflow.
    """

    task_id: str = field(kw_only=False)
    call: TaskCallable | None = field(default=None, kw_only=False)
    downstream: Sequence[str] = ()
    mapped: bool | int = False
    """True: one task instance per element that `call` returns, once it has run (an element that is an exception fails
    its instance). A number: that many instances from the start, as for a literal `expand`."""
    retries: int = 0
    """A failing task fails on all its tries."""
    trigger_rule: str = "all_success"
    params: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[str] = ()
    """What the task prints."""
    is_result: bool = False
    """Whether the dag declares it as (part of) its result; since Airflow 3.3."""
    doc_md: str | None = None
    pool: str = "default_pool"
    start_date: datetime | None = None
    """The dag's date is the default, as for `end_date`. Runs outside these dates do not have the task."""
    end_date: datetime | None = None
    depends_on_past: bool = False
    """Keeps the task from starting if it did not succeed in the run with the previous logical date."""
    hindrances: Sequence[tuple[str, str]] = ()
    """Unmet dependencies (name, reason) that keep the task from starting until a test ends the run."""
    question: FakeQuestion | None = None
    """The task waits for a person's answer and returns it; `call` is not called."""


@dataclass(kw_only=True)
class FakeDag:
    """A dag, and how its runs advance.

    A run advances each time its state is read (`checks`), with the clock (`seconds`), or only when a test advances it
    (`checks=None`) with `FakeAirflow.start`, `finish` or a PATCH.
    """

    dag_id: str = field(kw_only=False)
    params: Mapping[str, Any] = field(default_factory=dict)
    tasks: Sequence[FakeTask] = (FakeTask("work"),)
    tags: Sequence[str] = ()
    display_name: str | None = None
    description: str | None = None
    doc_md: str | None = None
    owners: Sequence[str] = ("airflow",)
    is_paused: bool = False
    is_paused_upon_creation: bool | None = None
    is_stale: bool = False
    has_import_errors: bool = False
    allowed_run_types: Sequence[str] | None = None
    max_active_runs: int = 16
    relative_fileloc: str = "dags.py"
    version_number: int = 1
    """A change of the other attributes keeps it, as for a dag without runs in Airflow."""
    start_date: datetime | None = None
    end_date: datetime | None = None

    checks: int | None = 1
    """How many reads show an unfinished run: with 1, the first read shows `running`, the second the final state."""
    seconds: float | None = None
    """The time from trigger to end, by the fake's clock; replaces `checks`."""

    parsed_at: datetime = field(default=PARSED_AT, init=False)
    """When its file was last parsed; see `FakeAirflow.parse`."""
    running: int = field(default=0, init=False)
    """How many of its runs are running."""
    _version_ids: list[UUID] = field(default_factory=list, init=False)

    def version_ids(self) -> list[UUID]:
        """Return the ids of its versions; those that are new since the last time get theirs."""
        self._version_ids += (next(_version_ids) for _ in range(len(self._version_ids), self.version_number))
        return self._version_ids[: self.version_number]

    def task(self, task_id: str) -> FakeTask:
        """Return the task; KeyError if there is none."""
        return {task.task_id: task for task in self.tasks}[task_id]

    def dates_of(self, task: FakeTask) -> tuple[datetime | None, datetime | None]:
        """Return the start and the end date of a task."""
        return task.start_date or self.start_date, task.end_date or self.end_date

    def has_instance(self, task: FakeTask, logical_date: datetime | None) -> bool:
        """Return whether a run with this logical date has an instance of the task."""
        start, end = self.dates_of(task)
        return logical_date is None or (
            (start is None or start <= logical_date) and (end is None or logical_date <= end)
        )

    def in_order(self) -> list[FakeTask]:
        """Return the tasks in topological order."""
        waiting, ordered = list(self.tasks), list[FakeTask]()
        while waiting:
            ready = [
                t for t in waiting if not any(t.task_id in other.downstream for other in waiting if other is not t)
            ]
            if not ready:
                raise ValueError(f"the tasks of {self.dag_id} depend on each other in a circle")
            ordered += ready
            waiting = [t for t in waiting if t not in ready]
        return ordered
