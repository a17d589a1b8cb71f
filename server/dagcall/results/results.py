"""Stored XComs -> the results of a run: plain JSON that every MCP client can read.

Pure, and total: every value from `json.loads` becomes JSON without `NaN`, in valid Unicode, at most `MAX_DEPTH` levels
deep.

Airflow stores XComs as JSON. Values of types that JSON lacks are in an envelope
`{"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1, 2]}` (`airflow.sdk.serde`, in 3.1
`airflow.serialization.serde`). Types, and what they become here:

* tuple, set, frozenset, and named tuples as tuples: an array
* datetime, pendulum's DateTime: ISO 8601 with an offset. Airflow stores the moment; values without a time zone, or with
  an unnamed one, become UTC
* date: ISO text; timedelta: seconds; Decimal and numpy scalars: the number (with the digits of a float, as Airflow
  stores it); UUID and time zones: text
* pydantic models, dataclasses, attrs classes, Kubernetes objects, classes with a `serialize` method that returns an
  object: the object of their fields
* Asset, Iceberg and Delta tables: their names, the same in every version, without encrypted properties;
  ObjectStoragePath: the path, without the options, which may contain credentials
* pandas DataFrame: stored as Parquet in hexadecimal, becomes a sentence
* any other class: an array or object unchanged, a bare scalar with its class name

Airflow cannot store anything else (bytes, enums that are neither text nor number, numpy arrays, pandas Series, paths,
exceptions) as an XCom: the task fails. This includes `NaN` and infinities, which the workers' API cannot carry; if they
are stored in another way, they become null, as in `xcomEntries`. Airflow 2's form, `{"__type": …, "__var": …}`, is
still read.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from dagcall.airflow import Run, Task, TaskInstance
from dagcall.plain_json import Json

MAX_DEPTH = 100
"""Levels of arrays and objects; deeper values become JSON text. pydantic stops at 255."""
FAILED = frozenset({"failed", "upstream_failed"})

_DATETIMES = frozenset({"datetime.datetime", "pendulum.datetime.DateTime"})
_SPEAKING = frozenset(
    {"builtins.tuple", "builtins.set", "builtins.frozenset", "datetime.date", "datetime.timedelta", "decimal.Decimal"}
    | {"pendulum.date.Date", "pendulum.tz.timezone.FixedTimezone", "pendulum.tz.timezone.Timezone", "uuid.UUID"}
    | {"zoneinfo.ZoneInfo"}
)
"""Classes whose data is clear without the class name."""
_NAMING_FIELDS = {
    "airflow.sdk.definitions.asset.Asset": ("name", "uri", "group", "extra"),
    "deltalake.table.DeltaTable": ("table_uri", "version"),
    "pyiceberg.table.Table": ("identifier",),
}
_OLD_CLASSES = {
    "dict": "builtins.dict",
    "tuple": "builtins.tuple",
    "set": "builtins.set",
    "frozenset": "builtins.frozenset",
    "datetime": "datetime.datetime",
    "timedelta": "datetime.timedelta",
}
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

InstanceKey = tuple[str, int]
"""task id, map index; -1 for a task that is not mapped"""


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a run.

    Names in `skipped` and `failed` are `task`, or `task[2]` for one instance of a mapped task.
    """

    values: dict[str, Json]
    """Task id -> plain JSON; for a mapped task, a list in map-index order. Null means that a task, or an instance in
    such a list, returned nothing; tasks without an instance in the run are missing."""
    skipped: tuple[str, ...] = ()
    """Which are null because they were skipped."""
    failed: tuple[str, ...] = ()
    """Which are null because they failed, or because an earlier task failed."""
    absent: tuple[str, ...] = ()
    """Result tasks without an instance in the run."""
    has_no_tasks: bool = False
    """Whether the dag has no tasks, so that nothing was done."""

    @property
    def are_complete(self) -> bool:
        """Whether the run produced its whole result."""
        return not (self.failed or self.absent or self.has_no_tasks)


def results_from(
    run: Run,
    task_ids: Sequence[str],
    stored: Mapping[InstanceKey, Json],
    instances: Iterable[TaskInstance],
    empty: Container[str] = (),
) -> Results:
    """Assemble the results of a run.

    Args:
        run: the run.
        task_ids: the result tasks.
        stored: the `return_value` XComs, as stored.
        instances: the task instances, at least of the tasks that have no value in `stored` or are mapped.
        empty: the tasks that were mapped over an empty list, from `mapped_over_nothing`.
    """
    by_task = _by_task(instances)
    values: dict[str, Json] = {}
    without: list[TaskInstance] = []
    for task_id in task_ids:
        known = by_task[task_id]
        live = [instance for instance in known if instance.state != "removed"]
        mapped = [instance for instance in live if instance.map_index >= 0]
        without += [instance for instance in mapped or live if (task_id, instance.map_index) not in stored]
        if mapped:
            values[task_id] = [_value(run, (task_id, instance.map_index), stored) for instance in mapped]
        elif (task_id, -1) in stored:
            values[task_id] = _value(run, (task_id, -1), stored)
        elif task_id in empty or _is_expanded_to_zero(known):
            values[task_id] = []
            without = [instance for instance in without if instance.task_id != task_id]
        elif live:
            values[task_id] = None
    return Results(
        values,
        absent=tuple(task_id for task_id in task_ids if task_id not in values),
        skipped=tuple(instance.name for instance in without if instance.state == "skipped"),
        failed=tuple(instance.name for instance in without if instance.state in FAILED),
    )


def mapped_over_nothing(tasks: Sequence[Task], instances: Iterable[TaskInstance]) -> frozenset[str]:
    """Return the tasks that were mapped over an empty list, including those that Airflow only reports as skipped.

    This also applies to a task that is mapped over the results of such a task, and to all tasks of a group in which one
    unmapped task was expanded to nothing.

    Args:
        tasks: all tasks of the dag.
        instances: all task instances of a run that succeeded.
    """
    by_task = _by_task(instances)
    empty = {task.task_id for task in tasks if _is_expanded_to_zero(by_task[task.task_id])}
    groups = {task.task_id.rpartition(".")[0] for task in tasks if task.task_id in empty and not task.is_mapped}
    skipped = [task for task in tasks if [(i.state, i.map_index) for i in by_task[task.task_id]] == [("skipped", -1)]]
    for group in groups - {""}:
        empty |= {task.task_id for task in skipped if task.task_id.startswith(f"{group}.")}
    upstream: dict[str, set[str]] = defaultdict(set)
    for task in tasks:
        for task_id in task.downstream_task_ids:
            upstream[task_id].add(task.task_id)
    while found := {
        task.task_id
        for task in skipped
        if task.is_mapped and task.task_id not in empty and upstream[task.task_id] and upstream[task.task_id] <= empty
    }:
        empty |= found
    return frozenset(empty)


def _is_expanded_to_zero(instances: Sequence[TaskInstance]) -> bool:
    """Return whether Airflow expanded a task to nothing, from all its instances in a run that succeeded.

    Airflow calls that skipped, too, but without an end date. After a run was cleared, all instances of its first
    execution may be removed.
    """
    if any(instance.map_index >= 0 for instance in instances):
        return all(instance.state == "removed" for instance in instances)
    return any(instance.state == "skipped" and instance.end_date is None for instance in instances)


def _by_task(instances: Iterable[TaskInstance]) -> defaultdict[str, list[TaskInstance]]:
    """Return the instances of each task, in map-index order."""
    found: defaultdict[str, list[TaskInstance]] = defaultdict(list)
    for instance in sorted(instances, key=lambda instance: instance.map_index):
        found[instance.task_id].append(instance)
    return found


def _value(run: Run, place: InstanceKey, stored: Mapping[InstanceKey, Json]) -> Json:
    value = stored.get(place)
    if isinstance(value, str) and _is_reference(value, run, place[0]):
        return {
            "stored_at": _valid_unicode(value),
            "message": "Airflow's XCom backend has stored this value in object storage, and Airflow returns only its "
            "address.",
        }
    return plain_json(value)


def _is_reference(text: str, run: Run, task_id: str) -> bool:
    """Return whether a text is a reference that `XComObjectStorageBackend` stores instead of a large value.

    That is `<configured path>/<dag id>/<run id>/<task id>/<uuid>`, with a suffix if compressed. Other texts are not
    references: a task may return the address of a file that it wrote.
    """
    tail = "/".join(map(re.escape, (run.dag_id, run.run_id, task_id)))
    return re.fullmatch(rf"[a-z][a-z0-9+.-]*://.*/{tail}/{_UUID}(\.\w+)?", text) is not None


def plain_json(value: Json, depth: int = 0) -> Json:
    """Return the value without Airflow's envelopes. `NaN` and infinities become null."""
    if isinstance(value, str):
        return _valid_unicode(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, list | dict):
        return value
    if depth >= MAX_DEPTH:
        return _valid_unicode(json.dumps(value, ensure_ascii=False))
    if isinstance(value, list):
        return [plain_json(item, depth + 1) for item in value]
    if isinstance(value.get("__classname__"), str) and "__version__" in value:
        return _from_envelope(value["__classname__"], value.get("__data__"), depth)
    if value.keys() == {"__type", "__var"} and isinstance(value["__type"], str) and value["__type"] in _OLD_CLASSES:
        return _from_envelope(_OLD_CLASSES[value["__type"]], value["__var"], depth)
    return {_valid_unicode(key): plain_json(item, depth + 1) for key, item in value.items()}


def _from_envelope(classname: str, data: Json, depth: int) -> Json:
    special = _special(classname, data)
    if special is not None:
        return plain_json(special, depth + 1)
    plain = plain_json(data, depth + 1)
    if isinstance(data, list | dict) or classname in _SPEAKING or classname.startswith("numpy."):
        return plain
    return {"class": _valid_unicode(classname), "value": plain}


def _special(classname: str, data: Json) -> Json:
    """Return a replacement for data that cannot be returned as it is; None if it can."""
    if classname in _DATETIMES:
        return _iso_datetime(data)
    if classname.startswith("pandas.") and isinstance(data, str):
        return (
            f"a {classname}, stored as {len(data) // 2:,} bytes of Parquet, which dagcall does not read; let the task "
            "return records instead, such as to_dict('records')"
        )
    if classname.startswith("numpy.complex"):
        return f"a {classname}, of which Airflow has stored only the real part, {data}"
    if not isinstance(data, Mapping):
        return None
    if classname == "airflow.sdk.io.path.ObjectStoragePath":
        return data.get("path")
    if classname in _NAMING_FIELDS:
        return {field: data[field] for field in _NAMING_FIELDS[classname] if field in data}
    return None


def _iso_datetime(data: Json) -> str | None:
    """Return ISO 8601 text, or None if the data does not have Airflow's form.

    That is `{"timestamp": seconds, "tz": null | name | [name or offset, class, version, true]}`, formerly only seconds.
    """
    stored = data if isinstance(data, Mapping) else {"timestamp": data, "tz": None}
    try:
        moment = datetime.fromtimestamp(stored["timestamp"], UTC)
        return moment.astimezone(_time_zone(plain_json(stored["tz"]))).isoformat()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def _time_zone(described: Json) -> tzinfo:
    """Read a zone's name or its offset in seconds; an unknown zone becomes UTC, which keeps the moment."""
    name = described[0] if isinstance(described, list) and described else described
    try:
        if isinstance(name, int | float):
            return timezone(timedelta(seconds=name))
        return ZoneInfo(name) if isinstance(name, str) else UTC
    except (ValueError, OSError, OverflowError, KeyError):  # ZoneInfo raises KeyError for "not found"
        return UTC


def _valid_unicode(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
