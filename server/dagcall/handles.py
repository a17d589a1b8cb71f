"""A task of MCP's tasks extension, as it goes over the wire.

Pure. Knows the words of `io.modelcontextprotocol/tasks` (2026-07-28): a task is a handle to a call that goes on. Ours
is made of the tool's name and the run's id, so that every replica can read it and nothing has to be kept: the run in
Airflow is the task, and the run id shows whose it is. It lives as long as the run does, which dagcall never deletes.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from mcp_types import CallToolResult, RequestParams

from dagcall.model import Json
from dagcall.waiting import LONGEST_SECONDS, POLL_SHORTEST_SECONDS, interval_seconds

EXTENSION = "io.modelcontextprotocol/tasks"
REQUIRED_CAPABILITIES: dict[str, Json] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
"""What an error says about a client that did not declare the extension."""

Status = Literal["working", "input_required", "completed", "cancelled"]
"""`failed` is missing: it is for calls that end in a protocol error, and ours end in results."""


class TaskParams(RequestParams):
    """The params of `tasks/get` and `tasks/cancel`."""

    task_id: str


class UpdateParams(TaskParams):
    """The params of `tasks/update`."""

    input_responses: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Handle:
    """What a task's id says."""

    tool: str
    run_id: str

    @property
    def task_id(self) -> str:
        """The id. Tool names hold no full stop."""
        return f"{self.tool}.{self.run_id}"

    @classmethod
    def from_task_id(cls, task_id: str) -> Self:
        """Read an id; any text makes a handle, though perhaps to nothing."""
        tool, _, run_id = task_id.partition(".")
        return cls(tool, run_id)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A task at one moment."""

    handle: Handle
    status: Status
    message: str
    """For the person or the model behind the client."""
    created_at: datetime
    updated_at: datetime
    poll_seconds: float = LONGEST_SECONDS

    def as_json(self, **outcome: Json) -> dict[str, Json]:
        """Return the task as `tasks/get` answers, with what belongs to its status: `result`, or `inputRequests`."""
        return {
            "taskId": self.handle.task_id,
            "status": self.status,
            "statusMessage": self.message,
            "createdAt": self.created_at.isoformat(),
            "lastUpdatedAt": max(self.created_at, self.updated_at).isoformat(),
            "ttlMs": None,
            "pollIntervalMs": round(self.poll_seconds * 1000),
            **outcome,
        }


def poll_seconds(age_seconds: float) -> float:
    """Return how long a client should wait before it asks again for a task of this age."""
    return interval_seconds(age_seconds, shortest=POLL_SHORTEST_SECONDS)


def status_message(handle: Handle, stage: str, *, standing: str = "", usual_seconds: float | None = None) -> str:
    """Return what goes on, e.g. `slow_steps: running: 3 of 8 tasks done; running: bake[2]; usually about 9 s`."""
    usual = "" if usual_seconds is None else f"; usually about {usual_seconds:.0f} s"
    return ": ".join(filter(None, (handle.tool, stage, standing))) + usual


def result_json(result: CallToolResult) -> Json:
    """Return the result of a call as it stands in a completed task."""
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)
