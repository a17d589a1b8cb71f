"""The envelopes that airflow.sdk.serde writes (3.1 to 3.3)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.results import MAX_DEPTH, placed_by_map_index, plain_json


def envelope(classname: str, data: Any, version: int = 1) -> dict[str, Any]:
    return {"__classname__": classname, "__version__": version, "__data__": data}


UTC_ZONE = envelope("builtins.tuple", ["UTC", "pendulum.tz.timezone.FixedTimezone", 1, True])
PARIS = envelope("builtins.tuple", ["Europe/Paris", "pendulum.tz.timezone.Timezone", 1, True])
HALF_PAST = envelope("builtins.tuple", [19_800, "pendulum.tz.timezone.FixedTimezone", 1, True])


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        pytest.param(envelope("builtins.tuple", [1, envelope("builtins.set", [2])]), [1, [2]], id="tuple and set"),
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
            envelope("datetime.datetime", {"timestamp": 0, "tz": None}, 2), "1970-01-01T00:00:00", id="no zone"
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0, "tz": "UTC"}),
            "1970-01-01T00:00:00+00:00",
            id="first version",
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 0, "tz": "Not/AZone"}),
            "1970-01-01T00:00:00+00:00",
            id="unknown zone",
        ),
        pytest.param(
            envelope("datetime.datetime", {"timestamp": 1e30, "tz": None}),
            {"timestamp": 1e30, "tz": None},
            id="no such time",
        ),
        pytest.param(envelope("datetime.date", "2026-01-31"), "2026-01-31", id="date"),
        pytest.param(envelope("datetime.timedelta", 90.5, 2), 90.5, id="timedelta in seconds"),
        pytest.param(envelope("decimal.Decimal", 1.25), 1.25, id="decimal"),
        pytest.param(envelope("numpy.int64", 7), 7, id="numpy"),
        pytest.param(
            envelope("shop.Order", {"n": envelope("builtins.tuple", [1])}), {"n": [1]}, id="dataclass or model"
        ),
        pytest.param(
            envelope("pandas.core.frame.DataFrame", "00ff"),
            "a pandas.core.frame.DataFrame stored as Parquet (2 bytes); have the task return records to read it here",
            id="data frame",
        ),
        pytest.param({"__type": "dict", "__var": {"a": 1}}, {"a": 1}, id="the older spelling"),
        pytest.param({"__classname__": "x"}, {"__classname__": "x"}, id="no envelope: no version"),
        pytest.param([float("nan"), float("inf"), 1.5], [None, None, 1.5], id="NaN and infinity"),
        pytest.param("a\ud83d\ude00\ud800", "a\U0001f600\ufffd", id="surrogates"),
        pytest.param({"\ud800": 1}, {"\ufffd": 1}, id="surrogate in a key"),
    ],
)
def test_a_stored_value_reads_as(stored: Any, plain: Any) -> None:
    assert plain_json(stored) == plain


STORED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(), max_size=4) | st.sampled_from(["__type", "__var"]), inner, max_size=4
        )
        | st.builds(
            envelope,
            st.sampled_from(["datetime.datetime", "pendulum.datetime.DateTime", "builtins.tuple", "pandas.x", "y.Z"]),
            inner | st.fixed_dictionaries({"timestamp": inner, "tz": inner}),
        )
    ),
    max_leaves=20,
)


@given(STORED)
def test_whatever_is_stored_comes_out_as_strict_json(stored: Any) -> None:
    json.dumps(plain_json(stored), allow_nan=False, ensure_ascii=False).encode()


def test_what_lies_too_deep_comes_as_its_text() -> None:
    deep: Any = "the end"
    for _ in range(MAX_DEPTH + 300):
        deep = [deep]

    plain = plain_json(deep)
    for _ in range(MAX_DEPTH):
        (plain,) = plain

    assert plain == "[" * 300 + '"the end"' + "]" * 300


def test_values_of_a_mapped_task_stand_where_they_belong() -> None:
    assert placed_by_map_index(["b", "d"], stored=[1, 3], expanded=[3, 0, 1, 2]) == [None, "b", None, "d"]
    assert placed_by_map_index([], stored=[], expanded=[0, 1]) == [None, None]
