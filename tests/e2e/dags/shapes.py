# ruff: noqa: INP001, AIR002, ANN001, ANN201, ANN202 - a file in a dags folder; its dags share what they are made with
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Dags whose results have every shape: values of many classes, mapped tasks and groups, branches."""

from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pydantic
from airflow.sdk import Asset, ObjectStoragePath, Param, dag, get_current_context, task, task_group

try:
    from airflow.sdk.exceptions import AirflowSkipException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowSkipException

DAG = {"schedule": None, "tags": ["mcp"], "max_active_runs": 16}
ITEMS = {"items": Param([1, 2, 3], type="array", items={"type": "integer"})}


@dataclass
class Order:
    lines: tuple[int, ...]
    due: date


@attrs.define
class Box:
    colours: set[str]


class Offer(pydantic.BaseModel):
    price: Decimal
    until: datetime
    seal: bytes


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def serialize(self) -> int:
        return self.cents

    @staticmethod
    def deserialize(data: int, version: int) -> "Money":  # noqa: ARG004 - Airflow's signature
        return Money(data)


class Colour(StrEnum):
    RED = "red"


Point = namedtuple("Point", "x y")  # noqa: PYI024 - many dags use them


@task
def everything() -> dict:
    return {
        "tuple": (1, (2,)),
        "set": {1},
        "frozenset": frozenset({1}),
        "namedtuple": Point(1, 2),
        "utc": datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC),
        "zone": datetime(2026, 7, 2, tzinfo=ZoneInfo("Europe/Paris")),
        "date": date(2026, 1, 2),
        "timedelta": timedelta(minutes=1.5),
        "decimal": Decimal("1.10"),
        "uuid": UUID(int=1),
        "enum": Colour.RED,
        "dataclass": Order((1, 2), date(2026, 1, 2)),
        "attrs": Box({"red"}),
        "pydantic": Offer(price=Decimal("9.90"), until=datetime(2026, 1, 2, tzinfo=UTC), seal=b"seal"),
        "unknown": Money(1250),
        "asset": Asset(name="orders", uri="s3://shop/orders"),
        "path": ObjectStoragePath("file:///tmp/orders"),
        "keys": {1: "one"},
    }


@dag(description="Return a value of every class that Airflow can store.", **DAG)
def shape_values():
    everything()


@task
def in_object_storage() -> str:
    """Return the reference that Airflow's object storage backend stores instead of a large value."""
    run_id = get_current_context()["run_id"]
    return f"s3://xcoms/shape_reference/{run_id}/in_object_storage/00000000-0000-0000-0000-000000000001"


@dag(description="Return a reference to a large value.", **DAG)
def shape_reference():
    in_object_storage()


@task
def as_bytes() -> bytes:
    return b"bytes"


@dag(description="Return what Airflow cannot store.", **DAG)
def shape_bytes():
    as_bytes()


@task
def not_a_number() -> float:
    return float("nan")


@dag(description="Return a number that Airflow's API between tasks and database cannot carry.", **DAG)
def shape_nan():
    not_a_number()


@task
def items() -> list[int]:
    return get_current_context()["params"]["items"]


@task
def double(item: int) -> int:
    return 2 * item


@task
def plus_one(item: int) -> int | None:
    """Skip the value that comes from 1, and return None for the one that comes from 2."""
    if item == 2:
        raise AirflowSkipException
    return None if item == 4 else item + 1


@dag(description="Map a task over what a mapped task returned.", params=ITEMS, **DAG)
def shape_mapped():
    plus_one.expand(item=double.expand(item=items()))


@dag(description="Map a group of tasks.", params=ITEMS, **DAG)
def shape_group():
    @task_group
    def each(item):
        return plus_one(double(item))

    each.expand(item=items())


@task.branch
def choose() -> str:
    return "chosen"


@task
def chosen() -> None:
    pass


@task
def passed_over() -> str:
    return "never"


@dag(description="Take one of two ways; nothing comes of it.", **DAG)
def shape_branch():
    choose() >> [chosen(), passed_over()]


@task
def answer() -> int:
    return 42


@task
def afterwards(value: int) -> int:
    return -value


@dag(description="Return a result that is not the last.", **DAG)
def shape_declared():
    value = answer()
    afterwards(value)
    return value


shape_values()
shape_reference()
shape_bytes()
shape_nan()
shape_mapped()
shape_group()
shape_branch()
shape_declared()
