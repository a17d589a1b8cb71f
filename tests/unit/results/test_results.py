"""The envelopes that Airflow's serialisation writes (3.1 to 3.3), and how a run's values become its results."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.airflow.model import Run, RunState, Task, TaskInstance
from dagcall.results.results import MAX_DEPTH, Results, mapped_over_nothing, plain_json, results_from

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Run("shop.north", "mcp__a+b", RunState.SUCCESS, {}, NOW, NOW, "")


def envelope(classname: str, data: Any, version: int = 1) -> dict[str, Any]:
    return {"__classname__": classname, "__version__": version, "__data__": data}


UTC_ZONE = envelope("builtins.tuple", ["UTC", "pendulum.tz.timezone.FixedTimezone", 1, True])
PARIS = envelope("builtins.tuple", ["Europe/Paris", "zoneinfo.ZoneInfo", 1, True])
HALF_PAST = envelope("builtins.tuple", [19_800, "pendulum.tz.timezone.FixedTimezone", 1, True])
NAMELESS = envelope("builtins.tuple", ["", "", 0, False])
ASSET = "airflow.sdk.definitions.asset.Asset"


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        pytest.param(envelope("builtins.tuple", [1, envelope("builtins.set", [2])]), [1, [2]], id="tuple and set"),
        pytest.param(envelope("builtins.frozenset", [1]), [1], id="frozenset"),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0.5, "tz": UTC_ZONE}, 2),
            "1970-01-01T00:00:00.500000+00:00",
            id="UTC",
        ),
        pytest.param(
            envelope("pendulum.datetime.DateTime", {"timestamp": 0, "tz": PARIS}, 2),
            "1970-01-01T01:00:00+01:00",
            id="zone by name",
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0, "tz": HALF_PAST}, 2),
            "1970-01-01T05:30:00+05:30",
            id="zone by offset",
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0, "tz": NAMELESS}, 2),
            "1970-01-01T00:00:00+00:00",
            id="datetime.timezone, which Airflow stores without its offset",
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0, "tz": None}, 2), "1970-01-01T00:00:00+00:00", id="no zone"
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0, "tz": "UTC"}),
            "1970-01-01T00:00:00+00:00",
            id="first version",
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0, "tz": "Europe/Paris"}),
            "1970-01-01T01:00:00+01:00",
            id="first version, zone by name",
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0, "tz": envelope("builtins.tuple", [])}, 2),
            "1970-01-01T00:00:00+00:00",
            id="an empty zone",
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0, "tz": "Not/AZone"}),
            "1970-01-01T00:00:00+00:00",
            id="unknown zone",
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 1e30, "tz": None}),
            {"timestamp": 1e30, "tz": None},
            id="a time out of range",
        ),
        pytest.param(
            envelope("datetime.datetime", "soon"), {"class": "datetime.datetime", "value": "soon"}, id="not a time"
        ),
        pytest.param(envelope("datetime.date", "2026-01-31"), "2026-01-31", id="date"),
        pytest.param(envelope("pendulum.date.Date", "2026-01-31"), "2026-01-31", id="pendulum's date"),
        pytest.param(envelope("datetime.timedelta", 90.5, 2), 90.5, id="timedelta in seconds"),
        pytest.param(envelope("zoneinfo.ZoneInfo", "Europe/Paris"), "Europe/Paris", id="zone"),
        pytest.param(envelope("decimal.Decimal", 1.25), 1.25, id="decimal"),
        pytest.param(envelope("decimal.Decimal", float("nan")), None, id="decimal NaN"),
        pytest.param(envelope("uuid.UUID", "00000000-0000-0000-0000-000000000001"), f"{0:08}-0000-0000-0000-{1:012}"),
        pytest.param(envelope("numpy.int64", 7), 7, id="numpy integer"),
        pytest.param(envelope("numpy.bool", True), True, id="numpy bool"),  # noqa: FBT003 - a value
        pytest.param(
            envelope("numpy.complex128", 1.5),
            "a numpy.complex128, of which Airflow has stored only the real part, 1.5",
            id="numpy complex",
        ),
        pytest.param(
            envelope("shop.Order", {"n": envelope("builtins.tuple", [1])}), {"n": [1]}, id="dataclass, attrs or model"
        ),
        pytest.param(
            envelope("kubernetes.client.models.v1_pod.V1Pod", {"kind": "Pod"}), {"kind": "Pod"}, id="Kubernetes"
        ),
        pytest.param(envelope("shop.Basket", [1, 2]), [1, 2], id="unknown, an array"),
        pytest.param(envelope("shop.Money", 1250), {"class": "shop.Money", "value": 1250}, id="unknown, not an object"),
        pytest.param({"__classname__": "shop.None", "__version__": 0}, {"class": "shop.None", "value": None}),
        pytest.param(
            envelope("pandas.core.frame.DataFrame", "00ff"),
            "a pandas.core.frame.DataFrame, stored as 2 bytes of Parquet, which dagcall does not read; let the task "
            "return records instead, such as to_dict('records')",
            id="data frame",
        ),
        pytest.param(
            envelope(ASSET, {"name": "n", "uri": "s3://b/k", "group": "asset", "extra": {}, "watchers": []}),
            {"name": "n", "uri": "s3://b/k", "group": "asset", "extra": {}},
            id="asset",
        ),
        pytest.param(
            envelope(
                "airflow.sdk.io.path.ObjectStoragePath", {"path": "s3://c@b/x", "conn_id": "c", "kwargs": {"key": "k"}}
            ),
            "s3://c@b/x",
            id="object storage path",
        ),
        pytest.param(
            envelope(
                "deltalake.table.DeltaTable", {"table_uri": "s3://t", "version": 3, "storage_options": {"a": "gA=="}}
            ),
            {"table_uri": "s3://t", "version": 3},
            id="Delta table",
        ),
        pytest.param(
            envelope("pyiceberg.table.Table", {"identifier": ["c", "t"], "catalog_properties": {"uri": "gA=="}}),
            {"identifier": ["c", "t"]},
            id="Iceberg table",
        ),
        pytest.param({"__type": "dict", "__var": {"a": 1}}, {"a": 1}, id="Airflow 2: dict"),
        pytest.param({"__type": "set", "__var": [1]}, [1], id="Airflow 2: set"),
        pytest.param({"__type": "datetime", "__var": 0.0}, "1970-01-01T00:00:00+00:00", id="Airflow 2: datetime"),
        pytest.param({"__type": "x", "__var": 1}, {"__type": "x", "__var": 1}, id="a dict that looks like it"),
        pytest.param({"__classname__": "x"}, {"__classname__": "x"}, id="no envelope: no version"),
        pytest.param([float("nan"), float("inf"), 1.5], [None, None, 1.5], id="NaN and infinity"),
        pytest.param("a\ud83d\ude00\ud800", "a\U0001f600\ufffd", id="surrogates"),
        pytest.param({"\ud800": 1}, {"\ufffd": 1}, id="surrogate in a key"),
    ],
)
def test_stored_value_becomes_plain_json(stored: Any, plain: Any) -> None:
    assert plain_json(stored) == plain


CLASSES = [
    *("datetime.datetime", "pendulum.datetime.DateTime", "builtins.tuple", "pandas.x", "numpy.complex64", "y.Z"),
    *("airflow.sdk.io.path.ObjectStoragePath", ASSET),
]
STORED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(), max_size=4) | st.sampled_from(["__type", "__var"]), inner, max_size=4
        )
        | st.fixed_dictionaries({"__type": st.sampled_from(["dict", "datetime", "?"]) | inner, "__var": inner})
        | st.builds(
            envelope,
            st.sampled_from(CLASSES),
            inner | st.fixed_dictionaries({"timestamp": inner, "tz": inner, "path": inner, "name": inner}),
        )
    ),
    max_leaves=20,
)


@given(STORED)
def test_any_stored_value_becomes_strict_json(stored: Any) -> None:
    json.dumps(plain_json(stored), allow_nan=False, ensure_ascii=False).encode()


def test_value_nested_too_deep_becomes_text() -> None:
    deep: Any = "the end"
    for _ in range(MAX_DEPTH + 300):
        deep = [deep]

    plain = plain_json(deep)
    for _ in range(MAX_DEPTH):
        (plain,) = plain

    assert plain == "[" * 300 + '"the end"' + "]" * 300


@pytest.mark.parametrize(
    ("wrap", "levels", "text"),
    [
        pytest.param(lambda inner: {"k": inner}, 1, '{"k": "ü"}', id="objects"),
        pytest.param(lambda inner: envelope("shop.Order", {"k": inner}), 2, '["ü"]', id="objects in envelopes"),
        pytest.param(lambda inner: envelope("builtins.tuple", [inner]), 2, '["ü"]', id="arrays in envelopes"),
    ],
)
def test_objects_and_envelopes_count_as_levels(wrap: Callable[[Any], Any], levels: int, text: str) -> None:
    deep: Any = {"k": "ü"} if levels == 1 else ["ü"]
    for _ in range(MAX_DEPTH // levels):
        deep = wrap(deep)

    plain = plain_json(deep)
    for _ in range(MAX_DEPTH // levels):
        (plain,) = plain.values() if isinstance(plain, dict) else plain

    assert plain == text


def test_object_storage_path_counts_as_a_level() -> None:
    deep: Any = envelope("airflow.sdk.io.path.ObjectStoragePath", {"path": ["end"]})
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]

    plain = plain_json(deep)
    for _ in range(MAX_DEPTH - 1):
        (plain,) = plain

    assert plain == '["end"]'


def instance(task_id: str, map_index: int = -1, state: str = "success", *, has_end: bool = True) -> TaskInstance:
    return TaskInstance(task_id, map_index, state, 1, 0, end_date=NOW if has_end else None)


def mapped(*states: str) -> list[TaskInstance]:
    return [instance("t", index, state) for index, state in enumerate(states)][::-1]


@pytest.mark.parametrize(
    ("stored", "instances", "results"),
    [
        pytest.param({("t", -1): [1]}, [instance("t")], Results({"t": [1]}), id="a list that one task returned"),
        pytest.param({("t", -1): 1}, [], Results({"t": 1}), id="a value without task instances"),
        pytest.param({}, [instance("t")], Results({"t": None}), id="returned nothing"),
        pytest.param({}, [instance("t", state="skipped")], Results({"t": None}, skipped=("t",)), id="skipped"),
        pytest.param(
            {}, [instance("t", state="upstream_failed")], Results({"t": None}, failed=("t",)), id="could not start"
        ),
        pytest.param({}, [], Results({}, absent=("t",)), id="not in the run"),
        pytest.param({}, [instance("t", state="removed")], Results({}, absent=("t",)), id="removed from the dag"),
        pytest.param(
            {("t", 0): "a", ("t", 3): "d"},
            mapped("success", "success", "skipped", "success", "failed"),
            Results({"t": ["a", None, None, "d", None]}, skipped=("t[2]",), failed=("t[4]",)),
            id="mapped, with gaps",
        ),
        pytest.param({}, mapped("skipped"), Results({"t": [None]}, skipped=("t[0]",)), id="one instance, skipped"),
        pytest.param({}, mapped("removed"), Results({"t": []}), id="the one instance was removed"),
        pytest.param(
            {("t", 0): "a", ("t", 1): "old"},
            mapped("success", "removed"),
            Results({"t": ["a"]}),
            id="mapped, one instance removed",
        ),
        pytest.param({}, mapped("removed", "removed"), Results({"t": []}), id="mapped again, over nothing"),
        pytest.param({}, [instance("t", state="skipped", has_end=False)], Results({"t": []}), id="mapped over nothing"),
    ],
)
def test_values_are_assigned_to_their_tasks_and_map_indexes(
    stored: dict[tuple[str, int], Any], instances: list[TaskInstance], results: Results
) -> None:
    assert results_from(RUN, ["t"], stored, instances) == results


def test_skipped_and_failed_tasks_are_listed() -> None:
    instances = [instance("a", state="skipped"), instance("b", state="failed"), instance("c", state="skipped")]

    assert results_from(RUN, ["a", "b", "c"], {}, instances) == Results(
        {"a": None, "b": None, "c": None}, skipped=("a", "c"), failed=("b",)
    )


def test_a_task_known_to_be_mapped_over_nothing_is_an_empty_list() -> None:
    assert results_from(RUN, ["t"], {}, [instance("t", state="skipped")], {"t"}) == Results({"t": []})


UUID = "0b2e1c5c-7d52-4b0e-9d57-6a8f4f3b2a10"


@pytest.mark.parametrize(
    "address",
    [f"s3://aws@bucket/xcom/shop.north/mcp__a+b/t/{UUID}", f"file:///x/shop.north/mcp__a+b/t/{UUID}.gz"],
)
def test_value_in_object_storage_is_returned_as_a_reference(address: str) -> None:
    reference = {
        "stored_at": address,
        "message": "Airflow's XCom backend has stored this value in object storage, and Airflow returns only its "
        "address.",
    }
    assert results_from(RUN, ["t"], {("t", -1): address}, []).values == {"t": reference}
    assert results_from(RUN, ["t"], {("t", 0): address}, mapped("success")).values == {"t": [reference]}


@pytest.mark.parametrize(
    "text",
    [
        f"s3://bucket/shop.north/mcp__a+b/other/{UUID}",
        "s3://bucket/shop.north/mcp__a+b/t/report.csv",
        f"shop.north/mcp__a+b/t/{UUID}",
        f"s3://bucket/shopXnorth/mcp__a+b/t/{UUID}",
    ],
)
def test_address_returned_by_a_task_is_not_a_reference(text: str) -> None:
    assert results_from(RUN, ["t"], {("t", -1): text}, []).values == {"t": text}


def task(task_id: str, *downstream: str, is_mapped: bool = False) -> Task:
    return Task(task_id, frozenset(downstream), "all_success", is_mapped)


def test_mapping_over_nothing_extends_to_mapped_and_grouped_successors() -> None:
    tasks = [
        task("first", "second", "total", is_mapped=True),
        task("second", "third", "both", is_mapped=True),
        task("third", is_mapped=True),
        task("branched", "both", is_mapped=True),
        task("both", is_mapped=True),
        task("total"),
        task("each.one", "each.inner.two"),
        task("each.inner.two", "after"),
        task("eacher"),
        task("after"),
        task("alone", is_mapped=True),
    ]
    empty = {"first", "each.one"}
    instances = [instance(task.task_id, state="skipped", has_end=task.task_id not in empty) for task in tasks]

    assert mapped_over_nothing(tasks, instances) == {"first", "second", "third", "each.one", "each.inner.two"}


def test_mapping_over_nothing_is_limited_to_its_task_group() -> None:
    tasks = [task(name) for name in ("outer.each.one", "outer.each.two", "outer.other", "plain.done", "plain.skipped")]
    states = {"plain.done": "success"}
    instances = [
        instance(task.task_id, state=states.get(task.task_id, "skipped"), has_end=task.task_id != "outer.each.one")
        for task in tasks
    ]

    assert mapped_over_nothing(tasks, instances) == {"outer.each.one", "outer.each.two"}


def test_task_mapped_only_over_an_empty_task_is_mapped_over_nothing() -> None:
    tasks = [task("first", "second", is_mapped=True), task("second", is_mapped=True)]
    instances = [instance("first", state="skipped", has_end=False), instance("second", state="skipped")]

    assert mapped_over_nothing(tasks, instances) == {"first", "second"}


def test_expanded_task_was_not_mapped_over_nothing() -> None:
    tasks = [task("first", "second", is_mapped=True), task("second", is_mapped=True)]
    instances = [instance("first", state="skipped", has_end=False), instance("second", 0, "skipped")]

    assert mapped_over_nothing(tasks, instances) == {"first"}
