"""The tools of the previous process, listed before Airflow answers."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dagcall.airflow.client import AirflowApi
from dagcall.airflow.credentials import Credentials
from dagcall.airflow.gate import Gate
from dagcall.airflow.model import Dag
from dagcall.airflow.rest import AirflowRest
from dagcall.app import remembered_file
from dagcall.settings.settings import Settings
from dagcall.tools.catalog import Catalog
from dagcall.tools.dag_cache import DagCache
from dagcall.tools.pins import Pins
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.tool import Tool, tool_from_dag
from tests.fake_airflow import FakeAirflow, FakeDag, FakeParam, Fault
from tests.server.test_calls import until

ALL = ToolPolicy(dags="*")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "dags.json"


def write(file: Path, content: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, encoding="utf-8")


def mode_of(file: Path) -> int:
    return file.stat().st_mode


def airflow_with(*dag_ids: str) -> FakeAirflow:
    airflow = FakeAirflow(all_admins=True)
    for dag_id in dag_ids:
        airflow.add_dag(FakeDag(dag_id, params={"n": FakeParam(1, type="integer")}))
    return airflow


@asynccontextmanager
async def started(airflow: FakeAirflow, file: Path, *policies: ToolPolicy, pins: Any = None) -> AsyncIterator[Catalog]:
    """Start publishing, as a server does when it starts."""
    rest = AirflowRest(airflow.url, Credentials(None, now=lambda: 0.0), gate=Gate(), transport=airflow.transport)
    read_pins = None if pins is None else lambda: Pins(pins)
    catalog = Catalog(AirflowApi(rest), policies or (ALL,), read_pins=read_pins, remembered=DagCache(file))
    refreshing = asyncio.create_task(catalog.keep_fresh(60))
    try:
        yield catalog
    finally:
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)


async def tools_before_an_answer(file: Path, *policies: ToolPolicy, pins: Any = None) -> list[str]:
    """Return the tools that a server publishes while its Airflow does not answer yet."""
    airflow = airflow_with()
    airflow.hold("version")
    async with started(airflow, file, *policies, pins=pins) as catalog:
        await catalog.wait_until_read(0.2)
        return list(catalog.snapshot.tools)


async def read_once(file: Path, *dag_ids: str) -> None:
    async with started(airflow_with(*dag_ids), file) as catalog:
        await until(file.exists)
        assert list(catalog.snapshot.tools) == sorted(dag_ids)


async def test_a_restarted_server_lists_its_tools_before_airflow_answers(file: Path) -> None:
    assert await tools_before_an_answer(file) == []
    await read_once(file, "one", "two")
    assert await tools_before_an_answer(file) == ["one", "two"]
    assert mode_of(file) & 0o077 == 0


async def test_airflows_answer_replaces_the_cached_tools(file: Path) -> None:
    await read_once(file, "one", "two")
    airflow = airflow_with("two", "three")
    held = airflow.hold("version")
    async with started(airflow, file) as catalog:
        await catalog.wait_until_read(5)
        assert list(catalog.snapshot.tools) == ["one", "two"]
        held.release()
        await until(lambda: '"three"' in file.read_text(encoding="utf-8"))
        assert list(catalog.snapshot.tools) == ["three", "two"]


async def test_only_cached_dags_on_the_allow_list_are_listed(file: Path) -> None:
    await read_once(file, "one", "two", "three")
    named = ToolPolicy(dag="two", name="second")
    assert await tools_before_an_answer(file, ToolPolicy(dags="t*"), named) == ["second", "three"]
    assert await tools_before_an_answer(file, ToolPolicy(dag="one", fixed={"nosuch": 1}), named) == ["second"]


async def test_cached_tool_that_differs_from_its_pin_is_not_listed(file: Path) -> None:
    await read_once(file, "one")
    assert await tools_before_an_answer(file, pins={"one": {"name": "one"}}) == []


@pytest.mark.parametrize("content", ["", "[{}]", "{", "\x00"])
async def test_unusable_cache_file_is_ignored_and_reported(
    file: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dagcall.tools.dag_cache")
    write(file, content)
    assert await tools_before_an_answer(file) == []
    assert "is unusable and will be rewritten" in caplog.text


async def test_unwritable_cache_does_not_affect_the_tools(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dagcall.tools.dag_cache")
    write(file.parent, "a file where a folder should be")
    async with started(airflow_with("one"), file) as catalog:
        await until(lambda: "cannot be cached" in caplog.text)
        assert list(catalog.snapshot.tools) == ["one"]


async def test_cached_dag_that_cannot_become_a_tool_does_not_hide_others(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = airflow_with("bad", "good")
    async with started(airflow, file) as catalog:
        await until(file.exists)
    monkeypatch.setattr("dagcall.tools.catalog.tool_from_dag", failing_for("bad"))
    airflow.add_fault(Fault(error=httpx.ConnectError, times=None))

    async with started(airflow, file) as catalog:
        await until(lambda: bool(catalog.snapshot.tools))
        assert list(catalog.snapshot.tools) == ["good"]
    assert "no tool could be made of the cached dag bad" in caplog.text


async def test_failing_cache_does_not_prevent_a_refresh(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(DagCache, "load", fail)
    monkeypatch.setattr("dagcall.loops.FIRST_PAUSE_SECONDS", 0.01)
    async with started(airflow_with("good"), file) as catalog:
        await until(lambda: bool(catalog.snapshot.tools))


def failing_for(dag_id: str) -> Callable[..., Tool]:
    def make(dag: Dag, policy: ToolPolicy, **more: Any) -> Tool:
        if dag.dag_id == dag_id:
            raise ZeroDivisionError
        return tool_from_dag(dag, policy, **more)

    return make


def file_for(folder: Path, *, dags: str = "*", **airflow: object) -> Path | None:
    login = {"url": "http://airflow.test", **airflow}
    return remembered_file(Settings.model_validate({"airflow": login, "dags": dags, "cache_folder": folder}))


def jwt(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{payload}.signature"


def test_every_airflow_account_and_allow_list_has_a_separate_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("opaque", encoding="utf-8")
    files = [
        file_for(tmp_path),
        file_for(tmp_path, url="http://other.test"),
        file_for(tmp_path, dags="ml_*"),
        file_for(tmp_path, username="ann", password="p"),
        file_for(tmp_path, username="bob", password="p"),
        file_for(tmp_path, token="a" * 20),
        file_for(tmp_path, token="b" * 20),
        file_for(tmp_path, token=jwt(sub="1")),
        file_for(tmp_path, token=jwt(sub="2")),
        file_for(tmp_path, token=jwt(sub="2", iss="other")),
        file_for(tmp_path, token_file=tmp_path / "token"),
        file_for(tmp_path, token_command="print-token ann"),
        file_for(tmp_path, token_command="print-token bob"),
    ]
    assert len(set(files)) == len(files)
    assert all(file is not None and file.parent == tmp_path for file in files)


def test_file_depends_on_neither_secrets_nor_the_order_of_the_allow_list(tmp_path: Path) -> None:
    assert file_for(tmp_path, username="ann", password="p") == file_for(tmp_path, username="ann", password="q")
    assert file_for(tmp_path, token=jwt(sub="1", exp=1)) == file_for(tmp_path, token=jwt(sub="1", exp=2))
    assert file_for(tmp_path, dags="a,b") == file_for(tmp_path, dags="b,a")


def test_there_is_no_cache_file_if_remember_is_off() -> None:
    assert remembered_file(Settings.model_validate({"remember": False})) is None
