"""The messages of MCP's tasks extension.

Pure. Implements `io.modelcontextprotocol/tasks` (2026-07-28): a task is a handle to a call in progress. Its id contains
the tool's name and the run id, so that every replica can read it and nothing is stored: the run in Airflow is the task,
and the run id shows whose it is. It exists as long as the run, which dagcall never deletes.

A failed call has no run: its task's id contains the error, sealed for its caller.
"""

import base64
import hmac
import json
import zlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, Self

from mcp_types import CallToolResult, RequestParams

from dagcall.plain_json import Json
from dagcall.runs import LONGEST_SECONDS, POLL_SHORTEST_SECONDS, Answer, Started, interval_seconds

EXTENSION = "io.modelcontextprotocol/tasks"
REQUIRED_CAPABILITIES: dict[str, Json] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
"""The error data for a client that did not declare the extension."""

Status = Literal["working", "input_required", "completed", "cancelled"]
"""Without `failed`, which is for calls that end in a protocol error; ours end in results."""


class TaskParams(RequestParams):
    """The params of `tasks/get` and `tasks/cancel`."""

    task_id: str


class UpdateParams(TaskParams):
    """The params of `tasks/update`."""

    input_responses: dict[str, Any]


Provenance = Literal["", "replayed", "reused", "shared"]
"""How a call got its run, if it did not start it; the answer says so on every replica."""
PROVENANCES: tuple[Provenance, ...] = ("replayed", "reused", "shared")
MAX_SEALED = 3000
"""Maximum characters of a sealed error: ids are also sent as an HTTP header, and proxies limit headers to 4 or 8 kB."""


@dataclass(frozen=True, slots=True)
class Handle:
    """The content of a task's id."""

    tool: str
    run_id: str
    provenance: Provenance = ""

    @property
    def task_id(self) -> str:
        """The id. Neither tool names nor run ids contain a full stop."""
        return ".".join(filter(None, (self.tool, self.run_id, self.provenance)))

    @classmethod
    def from_task_id(cls, task_id: str) -> Self:
        """Parse an id; any text yields a handle, perhaps to a run that does not exist."""
        tool, _, rest = task_id.partition(".")
        for provenance in PROVENANCES:
            if rest.endswith(f".{provenance}"):
                return cls(tool, rest.removesuffix(f".{provenance}"), provenance)
        return cls(tool, rest)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call, as its task's id describes it."""

    task_id: str
    text: str
    """The error text for its caller."""
    at: datetime


class Sealer:
    """Makes the ids of tasks that are over before they begin.

    Args:
        key: of 32 bytes, the same for all replicas.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sealed(self, text: str, *, tool: str, caller: str, at: datetime) -> Failure:
        """Return the task of a call that came to nothing.

        Args:
            text: the error text; a very long one is cut.
            tool: what was called.
            caller: who alone may ask for it.
            at: when it came.
        """
        while len(payload := _packed(text, at)) > MAX_SEALED:
            text = f"{text[: len(text) * 3 // 4]}…"
        return Failure(f"{tool}.{_SEALED}.{payload}.{self._seal(tool, payload, caller)}", text, at)

    def opened(self, task_id: str, *, caller: str) -> Failure | None:
        """Return what an id says; None for one that was not made here, or for another caller."""
        tool, *parts = task_id.rsplit(".", 3)
        match parts:
            case [kind, payload, seal] if kind == _SEALED:
                if hmac.compare_digest(seal.encode(errors="replace"), self._seal(tool, payload, caller).encode()):
                    text, at = _unpacked(payload)
                    return Failure(task_id, text, at)
        return None

    def _seal(self, *parts: str) -> str:
        return _base64(hmac.digest(self._key, json.dumps(parts).encode(), "sha256")[:16])


_SEALED = "failed"
"""Takes the place of the run id in other ids."""


def _packed(text: str, at: datetime) -> str:
    return _base64(zlib.compress(json.dumps([text, at.isoformat()], ensure_ascii=False).encode(errors="replace")))


def _unpacked(payload: str) -> tuple[str, datetime]:
    data = zlib.decompress(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    text, at = json.loads(data)
    return text, datetime.fromisoformat(at)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """A task at one moment."""

    task_id: str
    status: Status
    message: str
    """For the person or model behind the client."""
    created_at: datetime
    updated_at: datetime
    poll_seconds: float = LONGEST_SECONDS

    def as_json(self, **outcome: Json) -> dict[str, Json]:
        """Return the answer of `tasks/get`, with the content of its status: `result` or `inputRequests`."""
        return {
            "taskId": self.task_id,
            "status": self.status,
            "statusMessage": self.message,
            "createdAt": self.created_at.isoformat(),
            "lastUpdatedAt": max(self.created_at, self.updated_at).isoformat(),
            "ttlMs": None,
            "pollIntervalMs": round(self.poll_seconds * 1000),
            **outcome,
        }


def poll_seconds(age_seconds: float) -> float:
    """Return how long a client should wait before it polls a task of this age again."""
    return interval_seconds(age_seconds, shortest=POLL_SHORTEST_SECONDS)


def status_message(handle: Handle, stage: str, *, progress_text: str = "", usual_seconds: float | None = None) -> str:
    """Return the status, e.g. `slow_steps: running: 3 of 8 tasks done; running: bake[2]; usually about 9 s`."""
    usual = "" if usual_seconds is None else f"; usually about {usual_seconds:.0f} s"
    return ": ".join(filter(None, (handle.tool, stage, progress_text))) + usual


def result_json(result: CallToolResult) -> Json:
    """Return the result of a call as part of a completed task."""
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def provenance_of(started: Started) -> Provenance:
    """Return how a call got its run. It is part of the task's id, so that every replica says the same."""
    if started.is_replayed:
        return "replayed"
    if started.is_reused:
        return "reused"
    return "shared" if started.is_shared else ""


def with_provenance(answer: Answer, provenance: Provenance) -> Answer:
    """Return the answer as the call's task has it, whatever this process knows of how the call got its run."""
    return replace(
        answer,
        is_replayed=provenance == "replayed",
        is_reused=provenance == "reused",
        is_shared=provenance == "shared",
    )
