"""Airflow's human-in-the-loop details (3.1 to 3.3): a task's question to a person, and the response.

Pure. Airflow's API shows neither a question's time-out nor what happens then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from urllib.parse import quote

from pydantic.dataclasses import dataclass as checked

from dagcall.airflow.model import STRICT, Param, instance_name
from dagcall.plain_json import Json

MAY_WAIT_FOR_PEOPLE = frozenset({"awaiting_input", "deferred"})
"""A task that waits for a person is `awaiting_input` from 3.3 on; before, it is `deferred`, like a task that waits for
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
    """The options that Airflow chooses on time-out, if the dag's author set them."""
    is_multiple: bool
    """Whether more than one option may be chosen."""
    params: tuple[Param, ...]
    """The fields to fill in, besides the options."""
    assigned_users: tuple[str, ...]
    """The names of the only users who may answer; empty: everyone who may change the run."""
    assigned_ids: tuple[str, ...]
    """Their ids."""
    url: str
    """The address at which it is answered in Airflow's UI."""

    @property
    def key(self) -> str:
        """Identifies the question within its run."""
        return f"{self.name}@{self.asked_at.isoformat()}"

    @property
    def name(self) -> str:
        """The asking task instance: `task`, or `task[2]` for one of a mapped task."""
        return instance_name(self.task_id, self.map_index)

    @classmethod
    def from_json(cls, data: Mapping[str, Json], *, ui_url: str) -> Self:
        """Read one element of `hitl_details` of `GET …/hitlDetails`.

        Args:
            data: Airflow's JSON.
            ui_url: the address of Airflow's UI.
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
    """The response sent to Airflow."""

    chosen_options: tuple[str, ...]
    params_input: Mapping[str, Json]


def is_open(data: Mapping[str, Json]) -> bool:
    """Return whether an element of `hitl_details` still waits; Airflow keeps those of failed or cleared tasks."""
    return not data["response_received"] and data["task_instance"]["state"] in MAY_WAIT_FOR_PEOPLE
