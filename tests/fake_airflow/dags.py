"""What a test declares: dags, tasks, params. Data only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

NOTSET: Final = object()
"""A param without a default."""

NO_SUCH_POOL: Final = ("Pool Slots Available", "Tasks using non-existent pool 'nowhere' will not be scheduled")
"""Keeps a task from starting."""

TaskCallable: TypeAlias = Callable[[Mapping[str, Any]], Any]


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
    """What a task asks a person, as `HITLOperator` does; its arguments, too."""

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
    the XCom as it is stored: JSON, so a tuple is `{"__classname__": "builtins.tuple", …}`. It may raise: an exception
    fails the task, `SkipTask` skips it. None stores no XCom, like in Airflow.
    """

    task_id: str = field(kw_only=False)
    call: TaskCallable | None = field(default=None, kw_only=False)
    downstream: Sequence[str] = ()
    mapped: bool | int = False
    """True: as many task instances as `call` returns elements, once it ran (an element may be an exception: that index
    fails). A number: so many from the start, as for a literal `expand`."""
    retries: int = 0
    """A task that fails does so on its last try."""
    trigger_rule: str = "all_success"
    params: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[str] = ()
    """What the task prints."""
    is_result: bool = False
    """Whether the dag declared it as (part of) its result; Airflow 3.3 and later."""
    doc_md: str | None = None
    pool: str = "default_pool"
    start_date: datetime | None = None
    """Of the dag where the task has none; likewise `end_date`. Runs outside of these dates do without the task."""
    end_date: datetime | None = None
    depends_on_past: bool = False
    """Keeps the task from starting after a run with an earlier logical date in which it did not succeed."""
    hindrances: Sequence[tuple[str, str]] = ()
    """What keeps the task from starting as long as its run is not ended by hand: names of dependencies, and reasons."""
    question: FakeQuestion | None = None
    """The task waits until a person has answered this, and then returns the answer; `call` is not called."""


@dataclass(kw_only=True)
class FakeDag:
    """A dag, and how its runs go.

    A run moves when its state is looked at (`checks`), when the clock says so (`seconds`), or only when it is told to
    (`checks=None`): by `FakeAirflow.start`, `finish`, or a PATCH.
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
    start_date: datetime | None = None
    end_date: datetime | None = None

    checks: int | None = 1
    """How often a look at the state shows an unfinished run: with 1 the first shows `running`, the second the end."""
    seconds: float | None = None
    """From trigger to end, by the fake's clock; takes the place of `checks`."""

    running: int = field(default=0, init=False)
    """How many of its runs are running."""

    def task(self, task_id: str) -> FakeTask:
        """Return the task; KeyError when there is none."""
        return {task.task_id: task for task in self.tasks}[task_id]

    def dates_of(self, task: FakeTask) -> tuple[datetime | None, datetime | None]:
        """Return the start and the end date of a task."""
        return task.start_date or self.start_date, task.end_date or self.end_date

    def has_instance(self, task: FakeTask, logical_date: datetime | None) -> bool:
        """Say whether a run of this logical date has an instance of the task."""
        start, end = self.dates_of(task)
        return logical_date is None or (
            (start is None or start <= logical_date) and (end is None or logical_date <= end)
        )

    def in_order(self) -> list[FakeTask]:
        """Return the tasks, each after all that it depends on."""
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
