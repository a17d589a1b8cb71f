"""The life of a run: states, task instances, XComs. Independent of HTTP and JSON."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from tests.fake_airflow.dags import FakeDag, FakeQuestion, FakeTask, SkipTask, as_params

FINAL_STATES = frozenset({"success", "failed"})
FINAL_TASK_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
PARKED_STATES = frozenset({"deferred", "awaiting_input"})


class Clock(Protocol):
    """Airflow's clock, which may differ from ours."""

    def now(self) -> datetime: ...
    async def sleep(self, seconds: float) -> None: ...


class FakeClock:
    """A clock that advances when code sleeps, and slightly at each reading, so that all times differ."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self.time = start

    def now(self) -> datetime:
        self.time += timedelta(microseconds=100)
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@dataclass(eq=False)
class FakeXCom:
    task: FakeTask
    map_index: int
    key: str
    value: Any
    timestamp: datetime
    dag_result: bool


@dataclass(eq=False)
class FakeResponse:
    chosen_options: list[str]
    params_input: dict[str, Any]
    user: str
    at: datetime

    def as_xcom(self) -> dict[str, Any]:
        return {
            "chosen_options": self.chosen_options,
            "params_input": self.params_input,
            "responded_by_user": {"id": self.user, "name": self.user},
        }


@dataclass(eq=False)
class FakeAsking:
    """A question and its response."""

    question: FakeQuestion
    at: datetime
    response: FakeResponse | None = None


@dataclass(eq=False)
class FakeTaskInstance:
    task: FakeTask
    map_index: int
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    state: str | None = None
    try_number: int = 0
    start_date: datetime | None = None
    end_date: datetime | None = None
    logs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """Events by try number, as `GET …/logs/{try_number}` returns them."""
    asking: FakeAsking | None = None

    @property
    def task_id(self) -> str:
        return self.task.task_id

    @property
    def is_parked(self) -> bool:
        """Whether it waits for a person."""
        return self.asking is not None and self.asking.response is None and self.state in PARKED_STATES

    def ask(self, question: FakeQuestion, state: str, now: datetime) -> None:
        """Wait for a person."""
        self.start(now)
        self.state, self.asking = state, FakeAsking(question, now)

    def start(self, now: datetime) -> None:
        if self.state is None or self.state in {"scheduled", "queued"}:
            self.state, self.try_number, self.start_date = "running", 1, now

    def end(self, state: str, now: datetime) -> None:
        self.state, self.end_date = state, now
        self.start_date = self.start_date or now


@dataclass(eq=False)
class FakeRun:
    """A dag run. Tests may read it, but change it through `FakeAirflow`."""

    dag: FakeDag
    run_id: str
    conf: dict[str, Any]
    logical_date: datetime | None
    data_interval: tuple[datetime, datetime] | None
    run_after: datetime
    queued_at: datetime
    triggering_user_name: str
    triggered_by: str = "rest_api"
    note: str | None = None
    state: str = "queued"
    start_date: datetime | None = None
    end_date: datetime | None = None
    updated_at: datetime = field(init=False)
    checks: int = 0
    """How often its state was read."""
    task_instances: list[FakeTaskInstance] = field(default_factory=list)
    xcoms: list[FakeXCom] = field(default_factory=list)
    waiting_state: str = "awaiting_input"
    """The state of a task that waits for a person."""
    is_deleted: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set and replaced at each change of state."""

    def __post_init__(self) -> None:
        self.updated_at = self.queued_at
        for task in self.dag.in_order():
            if not self.dag.has_instance(task, self.logical_date):
                continue
            literal = 0 if isinstance(task.mapped, bool) else task.mapped
            indices = range(literal) if literal else (-1,)
            self.task_instances += [FakeTaskInstance(task, index) for index in indices]

    @property
    def dag_id(self) -> str:
        return self.dag.dag_id

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def is_held(self) -> bool:
        """Whether reading it, no matter how often, cannot end it."""
        moves = self.dag.checks is not None or self.dag.seconds is not None
        return not self.is_final and (self.dag.is_paused or not moves or self.is_parked)

    @property
    def is_parked(self) -> bool:
        """Whether one of its tasks waits for a person."""
        return any(instance.is_parked for instance in self.task_instances)

    @property
    def params(self) -> dict[str, Any]:
        """The params of the tasks: the defaults, overridden by the conf."""
        return {name: param.default for name, param in as_params(self.dag.params).items()} | self.conf

    def instances_of(self, task_id: str) -> list[FakeTaskInstance]:
        return [instance for instance in self.task_instances if instance.task_id == task_id]

    def set_state(self, state: str, now: datetime) -> None:
        self.dag.running += (state == "running") - (self.state == "running")
        self.state, self.updated_at = state, now
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def start(self, now: datetime, *, with_tasks: bool = True) -> None:
        if self.state == "queued":
            self.start_date = now
            self.set_state("running", now)
            if not with_tasks:
                return
            upstream = {task_id for task in self.dag.tasks for task_id in task.downstream}
            for instance in self.task_instances:
                if instance.task_id not in upstream and not instance.task.hindrances:
                    instance.start(now)

    def requeue(self, now: datetime) -> None:
        self.start_date = self.end_date = None
        self.queued_at = now
        self.checks = 0
        self.set_state("queued", now)

    def set_xcom(
        self, task_id: str, value: Any, now: datetime, *, map_index: int = -1, key: str = "return_value"
    ) -> None:
        task = self.dag.task(task_id)
        same = (task_id, map_index, key)
        self.xcoms = [xcom for xcom in self.xcoms if (xcom.task.task_id, xcom.map_index, xcom.key) != same]
        dag_result = task.is_result and key == "return_value"
        self.xcoms.append(FakeXCom(task, map_index, key, value, now, dag_result))

    def end(self, state: str, now: datetime) -> None:
        self.end_date = now
        self.set_state(state, now)

    def end_by_hand(self, state: str, now: datetime, *, pending: str) -> None:
        """End it as `PATCH {"state": …}` does: running tasks get the run's state, waiting ones get `pending`.

        If `pending` is `success`, failed and skipped tasks also become successful.
        """
        for instance in self.task_instances:
            if pending == "success" or instance.state in {"running", "deferred", "awaiting_input"}:
                instance.end(state, now)
            elif instance.state not in FINAL_TASK_STATES:
                instance.end(pending, now)
        self.end(state, now)

    def execute(self, clock: Clock) -> None:
        """Run the remaining tasks in order, and end as in Airflow: failed if a leaf failed.

        The run does not end while a task waits for a person.
        """
        self.start(clock.now())
        for task in self.dag.in_order():
            if any(instance.state not in FINAL_TASK_STATES for instance in self.instances_of(task.task_id)):
                self._execute_task(task, clock)
        if any(instance.state not in FINAL_TASK_STATES for instance in self.task_instances):
            return
        leaves = [instance for instance in self.task_instances if not instance.task.downstream]
        bad = any(instance.state in {"failed", "upstream_failed"} for instance in leaves)
        self.end("failed" if bad else "success", clock.now())

    def _execute_task(self, task: FakeTask, clock: Clock) -> None:
        upstream = [
            i.state for t in self.dag.tasks if task.task_id in t.downstream for i in self.instances_of(t.task_id)
        ]
        if any(state not in FINAL_TASK_STATES for state in upstream):
            return
        if task.trigger_rule == "all_success" and not all(state == "success" for state in upstream):
            blocked = "upstream_failed" if {"failed", "upstream_failed"} & set(upstream) else "skipped"
            for instance in self.instances_of(task.task_id):
                instance.end(blocked, clock.now())
            return
        if task.question is not None:
            for instance in self.instances_of(task.task_id):
                self._ask(task.question, instance, clock)
            return
        outcome = _outcome(task, self.params)
        if task.mapped and not isinstance(outcome, Exception):
            self._execute_mapped(task, list(outcome), clock)
        else:
            for instance in self.instances_of(task.task_id):
                self._end_instance(instance, outcome, clock)

    def _ask(self, question: FakeQuestion, instance: FakeTaskInstance, clock: Clock) -> None:
        if instance.asking is None:
            instance.ask(question, self.waiting_state, clock.now())
        elif instance.asking.response is not None and instance.state not in FINAL_TASK_STATES:
            self._end_instance(instance, instance.asking.response.as_xcom(), clock)

    def _execute_mapped(self, task: FakeTask, outcomes: list[Any], clock: Clock) -> None:
        if not outcomes:  # the only instance becomes `skipped`, without a start or an end date
            self.instances_of(task.task_id)[0].state = "skipped"
            return
        known = {instance.map_index: instance for instance in self.instances_of(task.task_id)}
        instances = [known.get(index) or FakeTaskInstance(task, index) for index in range(len(outcomes))]
        place = self.task_instances.index(next(iter(known.values())))
        rest = [instance for instance in self.task_instances if instance.task is not task]
        self.task_instances = [*rest[:place], *instances, *rest[place:]]
        for instance, outcome in zip(instances, outcomes, strict=True):
            self._end_instance(instance, outcome, clock)

    def _end_instance(self, instance: FakeTaskInstance, outcome: Any, clock: Clock) -> None:
        task = instance.task
        instance.start(clock.now())
        failed = isinstance(outcome, Exception) and not isinstance(outcome, SkipTask)
        instance.try_number = task.retries + 1 if failed else 1
        for try_number in range(1, instance.try_number + 1):
            lines = [_log_event("info", line, clock.now()) for line in task.log]
            instance.logs[try_number] = lines + ([_error_event(outcome, clock.now())] if failed else [])
        if isinstance(outcome, Exception):
            instance.end("failed" if failed else "skipped", clock.now())
            return
        if outcome is not None:
            self.set_xcom(task.task_id, outcome, clock.now(), map_index=instance.map_index)
        instance.end("success", clock.now())


def _outcome(task: FakeTask, params: Mapping[str, Any]) -> Any:
    """Return the task's return value, or the exception it raises."""
    try:
        return None if task.call is None else task.call(params)
    except Exception as error:  # noqa: BLE001 - a task may raise anything
        return error


def _log_event(level: str, event: str, now: datetime) -> dict[str, Any]:
    return {
        "timestamp": now.isoformat().replace("+00:00", "Z"),
        "event": event,
        "level": level,
        "logger": "task.stdout",
    }


def _error_event(error: Exception, now: datetime) -> dict[str, Any]:
    chain = list[BaseException]()
    cause: BaseException | None = error
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__
    details = [
        {
            "exc_type": type(item).__name__,
            "exc_value": str(item),
            "exc_notes": [],
            "syntax_error": None,
            "is_cause": item is not error,
            "frames": [{"filename": "/dags/dags.py", "lineno": 1, "name": "call"}],
            "is_group": False,
            "exceptions": [],
        }
        for item in chain
    ]
    return _log_event("error", "Task failed with exception", now) | {"logger": "task", "error_detail": details}
