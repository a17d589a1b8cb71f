"""Results of every shape from a real Airflow, in both protocol eras and over both transports."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import CONNECTIONS, connected, text_of
from tests.support.running_demo import RunningDemo

SECONDS = 240
VALUES = {
    "tuple": [1, [2]],
    "set": [1],
    "frozenset": [1],
    "namedtuple": [1, 2],
    "utc": "2026-01-02T03:04:05.600000+00:00",
    "zone": "2026-07-02T00:00:00+02:00",
    "date": "2026-01-02",
    "timedelta": 90.0,
    "decimal": 1.1,
    "uuid": "00000000-0000-0000-0000-000000000001",
    "enum": "red",
    "dataclass": {"lines": [1, 2], "due": "2026-01-02"},
    "attrs": {"colours": ["red"]},
    "pydantic": {"price": "9.90", "until": "2026-01-02T00:00:00Z", "seal": "seal"},
    "asset": {"name": "orders", "uri": "s3://shop/orders", "group": "asset", "extra": {}},
    "path": "file:///tmp/orders",
    "keys": {"1": "one"},
}
CALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # 1 -> 2 -> skipped, 2 -> 4 -> None, 3 -> 6 -> 7
    ("shape_mapped", {}, {"results": {"plus_one": [None, None, 7]}, "skipped": ["plus_one[0]"]}),
    ("shape_mapped", {"items": [5]}, {"results": {"plus_one": [11]}}),
    ("shape_mapped", {"items": []}, {"results": {"plus_one": []}}),
    ("shape_group", {}, {"results": {"each.plus_one": [None, None, 7]}, "skipped": ["each.plus_one[0]"]}),
    ("shape_group", {"items": []}, {"results": {"each.plus_one": []}}),
    ("shape_branch", {}, {"results": {"chosen": None, "passed_over": None}, "skipped": ["passed_over"]}),
]


@pytest.mark.parametrize("connection", CONNECTIONS)
async def test_results_of_mapped_grouped_and_branched_tasks(demo: RunningDemo, tmp_path: Path, connection: str) -> None:
    async with asyncio.timeout(SECONDS), connected(demo, connection, tmp_path / "errors", allowed="shape_*") as client:
        given = await asyncio.gather(*(client.call_tool(tool, arguments) for tool, arguments, _ in CALLS))

    contents = [result.structured_content or {} for result in given]
    found = [{key: content[key] for key in ("results", "skipped") if key in content} for content in contents]
    assert found == [expected for _, _, expected in CALLS]


async def test_author_declares_the_result_task(demo: RunningDemo, tmp_path: Path) -> None:
    """From Airflow 3.3 on."""
    async with asyncio.timeout(SECONDS), connected(demo, CONNECTIONS[0], tmp_path / "errors") as client:
        result = await client.call_tool("shape_declared", {})
    assert (result.structured_content or {})["results"] == {"answer": 42}


@pytest.mark.parametrize("connection", CONNECTIONS)
async def test_values_of_every_class_become_json(demo: RunningDemo, tmp_path: Path, connection: str) -> None:
    async with asyncio.timeout(SECONDS), connected(demo, connection, tmp_path / "errors", allowed="shape_*") as client:
        result = await client.call_tool("shape_values", {})

    assert not result.is_error, text_of(result)
    values = (result.structured_content or {})["results"]["everything"]
    money = values.pop("unknown")
    assert money["class"].endswith(".Money")  # in a module whose name is generated
    assert money["value"] == 1250
    assert values == VALUES


async def test_object_storage_reference_is_reported_as_such(demo: RunningDemo, tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), connected(demo, CONNECTIONS[0], tmp_path / "errors") as client:
        content = (await client.call_tool("shape_reference", {})).structured_content or {}

    reference = content["results"]["in_object_storage"]
    assert reference["stored_at"].startswith(f"s3://xcoms/shape_reference/{content['dag_run_id']}/")
    assert "object storage" in reference["message"]


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        pytest.param("shape_bytes", "annot serialize object of type <class 'bytes'>", id="bytes"),
        pytest.param("shape_nan", "Out of range float values are not JSON compliant", id="NaN"),
    ],
)
async def test_value_that_airflow_cannot_store_fails_the_run(
    demo: RunningDemo, tmp_path: Path, tool: str, words: str
) -> None:
    async with asyncio.timeout(SECONDS), connected(demo, CONNECTIONS[0], tmp_path / "errors") as client:
        result = await client.call_tool(tool, {})

    assert result.is_error
    assert words in text_of(result)
