"""What Airflow accepts in queries and bodies, and how it refuses the rest (422).

The models have the fields of `airflow.api_fastapi.core_api.datamodels`, and the error messages are pydantic's, as in
Airflow. Bodies forbid unknown keys; unknown query params are ignored.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar, cast

import httpx
from jsonschema import FormatChecker, validate
from jsonschema import ValidationError as JsonSchemaError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from tests.fake_airflow.dags import NOTSET, FakeDag, as_params
from tests.fake_airflow.wire import Refusal

Version: TypeAlias = Literal["3.1.8", "3.2.2", "3.3.2"]

MAXIMUM_PAGE_LIMIT = 100
"""Airflow's `[api] maximum_page_limit`. It applies to the limit in a query, but not in a body."""

RUN_ID_PATTERN = r"^[A-Za-z0-9_.~:+-]+$"
RUN_ID_OF_AIRFLOW = r"^(?:manual|scheduled|asset_triggered)__(?:\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00)$"


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


class SettableState(StrEnum):
    QUEUED = "queued"
    SUCCESS = "success"
    FAILED = "failed"


TASK_STATES = (
    "removed",
    "scheduled",
    "queued",
    "running",
    "success",
    "restarting",
    "failed",
    "up_for_retry",
    "up_for_reschedule",
    "upstream_failed",
    "skipped",
    "deferred",
)


def task_states(version: Version) -> tuple[str, ...]:
    return (*TASK_STATES, "awaiting_input") if version >= "3.3" else TASK_STATES


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Query(BaseModel):
    model_config = ConfigDict(extra="ignore", validate_default=True)


Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Body)
M = TypeVar("M", bound=BaseModel)


class TriggerBody(Body):
    dag_run_id: str | None = None
    data_interval_start: AwareDatetime | None = None
    data_interval_end: AwareDatetime | None = None
    logical_date: AwareDatetime | None
    run_after: datetime | None = None
    conf: dict[str, Any] | None = Field(default_factory=dict)
    note: str | None = None

    @model_validator(mode="after")
    def check_data_intervals(self) -> Self:
        if (self.data_interval_start is None) != (self.data_interval_end is None):
            raise ValueError(
                "Either both data_interval_start and data_interval_end must be provided or both must be None"
            )
        return self


class TriggerBody32(TriggerBody):
    partition_key: str | None = None


class PatchRunBody(Body):
    state: SettableState | None = None
    note: str | None = Field(None, max_length=1000)


class ClearRunBody(Body):
    dry_run: bool = True
    only_failed: bool = False


class BackfillBody(Body):
    dag_id: str
    from_date: datetime
    to_date: datetime


class BulkRun(Body):
    dag_run_id: str
    dag_id: str | None = None
    state: SettableState | None = None
    note: str | None = Field(None, max_length=1000)


class BulkUpdate(Body):
    action: Literal["update"]
    entities: list[BulkRun]
    update_mask: list[str] | None = None
    action_on_non_existence: Literal["fail", "skip"] = "fail"


class BulkRunsBody(Body):
    """The fake supports only updates of notes."""

    actions: list[BulkUpdate]


class ResponseBody(Body):
    model_config = ConfigDict(extra="ignore")

    chosen_options: list[str] = Field(min_length=1)
    params_input: dict[str, Any] = Field(default_factory=dict)


class PatchDagBody(Body):
    is_paused: bool


class RunsBody(Body):
    order_by: str | None = None
    page_offset: NonNegativeInt = 0
    page_limit: NonNegativeInt = 100
    dag_ids: list[str] | None = None
    states: list[RunState | None] | None = None
    run_after_gte: AwareDatetime | None = None
    run_after_gt: AwareDatetime | None = None
    run_after_lte: AwareDatetime | None = None
    run_after_lt: AwareDatetime | None = None
    logical_date_gte: AwareDatetime | None = None
    logical_date_lte: AwareDatetime | None = None
    start_date_gte: AwareDatetime | None = None
    start_date_lte: AwareDatetime | None = None
    end_date_gte: AwareDatetime | None = None
    end_date_gt: AwareDatetime | None = None
    end_date_lte: AwareDatetime | None = None
    end_date_lt: AwareDatetime | None = None


class TaskInstancesBody(Body):
    dag_ids: list[str] | None = None
    dag_run_ids: list[str] | None = None
    task_ids: list[str] | None = None
    state: list[str | None] | None = None
    page_offset: NonNegativeInt = 0
    page_limit: NonNegativeInt = 100
    order_by: str | None = None


class PageQuery(Query):
    limit: NonNegativeInt = 50
    offset: NonNegativeInt = 0
    order_by: list[str] = []

    @property
    def page_limit(self) -> int:
        return min(self.limit, MAXIMUM_PAGE_LIMIT)


class DagsQuery(PageQuery):
    tags: list[str] = []
    tags_match_mode: Literal["any", "all"] | None = None
    dag_id_pattern: str | None = None
    exclude_stale: bool = True
    paused: bool | None = None
    has_import_errors: bool | None = None


class RunsQuery(PageQuery):
    run_id_pattern: str | None = None
    run_id_prefix_pattern: str | None = None
    dag_id_pattern: str | None = None
    triggering_user_name_pattern: str | None = None
    state: list[str] = []
    run_after_gte: datetime | None = None
    run_after_lte: datetime | None = None
    start_date_gte: datetime | None = None
    start_date_lte: datetime | None = None
    end_date_gte: datetime | None = None
    end_date_lte: datetime | None = None
    updated_at_gte: datetime | None = None
    updated_at_lte: datetime | None = None


class TaskInstancesQuery(PageQuery):
    state: list[str] = []
    task_id: str | None = None


class HitlDetailsQuery(PageQuery):
    state: list[str] = []
    task_id: str | None = None
    map_index: int | None = None
    response_received: bool | None = None


class XComsQuery(PageQuery):
    xcom_key: str | None = None
    map_index: Annotated[int, Field(ge=-1)] | None = None


class XComQuery(Query):
    map_index: Annotated[int, Field(ge=-1)] = -1


class WaitQuery(Query):
    interval: Annotated[float, Field(gt=0.0)]
    result: list[str] = []


class LogQuery(Query):
    map_index: int = -1


class PatchRunQuery(Query):
    update_mask: list[str] | None = None


def read_query(kind: type[Q], request: httpx.Request) -> Q:
    """Read the request's query as `kind`, or refuse it with FastAPI's 422."""
    params = request.url.params
    data: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if name in params:
            is_list = "list[" in str(field.annotation)
            data[name] = params.get_list(name) if is_list else params.get_list(name)[-1]
    return _validated(kind, data, "query")


def read_body(kind: type[B], request: httpx.Request) -> B:
    """Read the request's JSON as `kind`, or refuse it with FastAPI's 422."""
    try:
        data = json.loads(request.content) if request.content else None
    except json.JSONDecodeError as error:
        detail = {"type": "json_invalid", "loc": ["body", error.pos], "msg": "JSON decode error", "input": {}}
        raise Refusal(422, [detail | {"ctx": {"error": error.msg}}]) from None
    if data is None:
        raise Refusal(422, [{"type": "missing", "loc": ["body"], "msg": "Field required", "input": None}])
    return _validated(kind, data, "body")


def _validated(kind: type[M], data: Any, where: str) -> M:
    try:
        return kind.model_validate(data, from_attributes=where == "body")
    except ValidationError as error:
        raise Refusal(422, [_refusal_detail(dict(item), where) for item in error.errors(include_url=False)]) from None


def _refusal_detail(item: dict[str, Any], where: str) -> dict[str, Any]:
    if item["type"] == "missing" and where == "query":
        item["input"] = None
    if item["type"] == "value_error":
        item["ctx"] = {"error": {}}
    return item | {"loc": [where, *cast("Sequence[str | int]", item["loc"])]}


def check_states(states: Sequence[str | None], known: Sequence[str], *, none_is: str | None = None) -> None:
    """Refuse unknown states in a query, with a sentence instead of a list of errors."""
    if any(state not in known and state != none_is for state in states):
        raise Refusal(422, f"Invalid value for state. Valid values are {', '.join(known)}")


def check_run_id(run_id: str, version: Version) -> None:
    """Refuse a run id that Airflow does not accept for a manual run (400)."""
    if ".." in run_id and version >= "3.3":
        raise Refusal(400, f"The run_id '{run_id}' must not contain '..' to prevent path traversal")
    if not re.match(RUN_ID_PATTERN, run_id):
        raise Refusal(
            400,
            f"The run_id provided '{run_id}' does not match regex pattern '{RUN_ID_PATTERN}' or '{RUN_ID_OF_AIRFLOW}'",
        )
    for run_type in _reserved_run_types(version):
        if run_id.startswith(f"{run_type}__"):
            raise Refusal(400, f"A manual DAG run cannot use ID '{run_id}' since it is reserved for {run_type} runs")


def _reserved_run_types(version: Version) -> list[str]:
    since = {"backfill": "3", "scheduled": "3", "operator_triggered": "3.3", "asset_triggered": "3"}
    return [run_type for run_type, first in (since | {"asset_materialization": "3.2"}).items() if version >= first]


def check_conf(dag: FakeDag, conf: dict[str, Any], version: Version) -> None:
    """Refuse a conf that does not match a param's schema (400), with jsonschema's message for the first invalid param.

    Airflow 3.1 checks the given params first; later versions check all params in order.
    """
    params = as_params(dag.params)
    values = {name: conf.get(name, param.default) for name, param in params.items()}
    given_first = version < "3.2"
    names = [*(name for name in conf if name in params), *params] if given_first else list(params)
    for name in names:
        if values[name] is NOTSET:
            missing = "No value passed and Param has no default value" if given_first else "No value passed"
            raise Refusal(400, f"Invalid input for param {name}: {missing}")
        try:
            validate(values[name], params[name].schema, format_checker=FormatChecker())
        except JsonSchemaError as error:
            raise Refusal(400, f"Invalid input for param {name}: {error}") from None
