"""Airflow's human-in-the-loop details (3.1 to 3.3): what a task asks a person, and what it is answered.

Pure. Airflow does not show when a question's time runs out, nor what happens then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from urllib.parse import quote

from pydantic.dataclasses import dataclass as checked

from dagcall.airflow.model import STRICT, Param
from dagcall.plain_json import Json

MAY_WAIT_FOR_PEOPLE = frozenset({"awaiting_input", "deferred"})
"""A task that waits for a person is `awaiting_input` from 3.3, and before that `deferred`, as is one that waits for
an event."""


@checked(frozen=True, slots=True, config=STRICT)
class Question:
    """A task instance that waits for a person."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    """-1 for a task that is not mapped."""
    asked_at: datetime
    """By Airflow's clock."""
    subject: str
    body: str
    """Markdown; empty without one."""
    options: tuple[str, ...]
    defaults: tuple[str, ...]
    """The options that Airflow takes when the time runs out, where the dag's author said so."""
    is_multiple: bool
    """Whether more than one option may be chosen."""
    params: tuple[Param, ...]
    """The fields to fill in beside the options."""
    assigned_users: tuple[str, ...]
    """The names of those who alone may answer; empty: everybody who may change the run."""
    assigned_ids: tuple[str, ...]
    """Their ids."""
    url: str
    """Where it is answered in Airflow's UI."""

    @property
    def key(self) -> str:
        """What tells this question from every other of its run."""
        return f"{self.name}@{self.asked_at.isoformat()}"

    @property
    def name(self) -> str:
        """Who asks: `task`, or `task[2]` for one of a mapped task."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @classmethod
    def from_json(cls, data: Mapping[str, Json], *, ui_url: str) -> Self:
        """Read one element of `hitl_details` of `GET …/hitlDetails`.

        Args:
            data: what Airflow sent.
            ui_url: where Airflow's UI is.
        """
        instance = data["task_instance"]
        map_index = instance["map_index"]
        parts = ["dags", instance["dag_id"], "runs", instance["dag_run_id"], "tasks", instance["task_id"]]
        parts += [] if map_index < 0 else ["mapped", str(map_index)]
        return cls(
            dag_id=instance["dag_id"],
            run_id=instance["dag_run_id"],
            task_id=instance["task_id"],
            map_index=map_index,
            asked_at=datetime.fromisoformat(data["created_at"]),
            subject=data["subject"],
            body=data["body"] or "",
            options=tuple(data["options"]),
            defaults=tuple(data["defaults"] or ()),
            is_multiple=bool(data["multiple"]),
            params=tuple(Param.from_json(name, param) for name, param in data["params"].items()),
            assigned_users=tuple(user["name"] for user in data["assigned_users"]),
            assigned_ids=tuple(user["id"] for user in data["assigned_users"]),
            url=f"{ui_url}/{'/'.join(quote(part, safe='') for part in parts)}/required_actions",
        )


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent to Airflow."""

    chosen_options: tuple[str, ...]
    params_input: Mapping[str, Json]


def is_open(data: Mapping[str, Json]) -> bool:
    """Say whether an element of `hitl_details` still waits; Airflow keeps those whose task failed or was cleared."""
    return not data["response_received"] and data["task_instance"]["state"] in MAY_WAIT_FOR_PEOPLE
