"""Settings that are reread while dagcall serves: what applies, when, and what a mistake does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dagcall.app import Dagcall
from dagcall.cli import reload
from dagcall.cli.reload import Reloader, stamp_of
from dagcall.errors import UnknownTool
from dagcall.settings import Settings, load_settings
from tests.fake_airflow import FakeAirflow, FakeDag, Fault
from tests.server.test_calls import add, answer, call, refusal, until
from tests.support.in_memory import Served
from tests.unit.runs.test_quotas import waits


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "LOOK_SECONDS", 0.01)


def airflow_of(*dag_ids: str) -> FakeAirflow:
    airflow = FakeAirflow()
    for dag_id in dag_ids:
        airflow.add_dag(add(dag_id))
    return airflow


class File:
    """A settings file, and dagcall that follows it."""

    def __init__(self, path: Path, airflow: FakeAirflow) -> None:
        self.path = path
        self._head = f'[airflow]\nurl = "{airflow.url}"\nusername = "admin"\npassword = "admin"\n'
        self.reloader: Reloader
        self.seen: list[Settings] = []

    def write(self, text: str, more: str = "") -> Settings:
        self.path.write_text(f"{text}\n{self._head}{more}", encoding="utf-8")
        return load_settings(self.path, environ={})

    @asynccontextmanager
    async def followed(self, served: Served, airflow: FakeAirflow, text: str, more: str = "") -> AsyncIterator[Dagcall]:
        settings = self.write(text, more)
        self.reloader = Reloader(
            settings,
            self.path,
            reread=lambda: (load_settings(self.path, environ={}), None),
            on_settings=self.seen.append,
        )
        async with (
            asyncio.timeout(30),
            served(airflow, **settings.model_dump(include={"dags", "limits"}, exclude_none=True)) as dagcall,
        ):
            tasks = [
                asyncio.create_task(dagcall.catalog.keep_fresh(30)),
                asyncio.create_task(self.reloader.run(dagcall)),
            ]
            try:
                yield dagcall
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def test_changed_allow_list_applies_and_clients_hear_of_it(served: Served, tmp_path: Path) -> None:
    airflow = airflow_of("one", "two")
    file = File(tmp_path / "dagcall.toml", airflow)
    async with file.followed(served, airflow, 'dags = ["one"]') as dagcall:
        heard: list[set[str]] = []
        announce = dagcall.catalog.on_change
        assert announce is not None

        async def listen(changed: Any) -> None:
            heard.append({tool.name for tool in changed})
            await announce(changed)

        dagcall.catalog.on_change = listen
        file.write('dags = ["two"]')
        await until(lambda: list(dagcall.catalog.snapshot.tools) == ["two"])
        await answer(dagcall, "two", x=1)

    assert heard[0] == {"one"}
    assert {"two"} in heard


async def test_withdrawn_tool_goes_at_once_although_airflow_does_not_answer(served: Served, tmp_path: Path) -> None:
    airflow = airflow_of("one", "two")
    file = File(tmp_path / "dagcall.toml", airflow)
    async with file.followed(served, airflow, 'dags = ["one", "two"]') as dagcall:
        airflow.add_fault(Fault(status=503, times=None))
        file.write('dags = ["two"]')
        await until(lambda: list(dagcall.catalog.snapshot.tools) == ["two"])
        with pytest.raises(UnknownTool):
            dagcall.catalog.tool("one")


async def test_call_in_progress_survives_the_withdrawal_of_its_tool(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(waits())
    airflow.add_dag(add("other"))
    file = File(tmp_path / "dagcall.toml", airflow)
    async with file.followed(served, airflow, 'dags = ["waits"]') as dagcall:
        calling = asyncio.create_task(call(dagcall, "waits", x=1))
        await until(lambda: dagcall.waiter.watched == 1)
        file.write('dags = ["other"]')
        await until(lambda: list(dagcall.catalog.snapshot.tools) == ["other"])
        airflow.finish(airflow.runs[0])
        result = await calling

    assert not result.is_error


async def test_refresh_in_progress_does_not_bring_back_the_old_allow_list(served: Served, tmp_path: Path) -> None:
    airflow = airflow_of("one", "two")
    file = File(tmp_path / "dagcall.toml", airflow)
    async with file.followed(served, airflow, 'dags = ["one", "two"]') as dagcall:
        held = airflow.hold("dag")
        refreshing = asyncio.create_task(dagcall.catalog.refresh())
        await held.arrived()
        file.write('dags = ["two"]')
        await until(lambda: list(dagcall.catalog.snapshot.tools) == ["two"])
        held.release()
        await refreshing

        assert list(dagcall.catalog.snapshot.tools) == ["two"]


async def test_limits_apply_to_the_next_call(served: Served, tmp_path: Path) -> None:
    airflow = airflow_of("add")
    file = File(tmp_path / "dagcall.toml", airflow)
    async with file.followed(served, airflow, 'dags = ["add"]') as dagcall:
        await answer(dagcall, "add", x=1)
        file.write('dags = ["add"]', "[limits]\ncalls_per_minute = 1\n")
        await until(lambda: len(file.seen) == 1)
        await answer(dagcall, "add", x=2)
        text = await refusal(dagcall, "add", x=3)

    assert "at most once a minute" in text


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        ('dags = ["two"', "is not valid TOML"),
        ('dag = ["two"]', "dag is not a dagcall setting"),
    ],
)
async def test_mistake_leaves_the_old_settings_and_is_logged(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture, mistake: str, reason: str
) -> None:
    airflow = airflow_of("one", "two")
    file = File(tmp_path / "dagcall.toml", airflow)
    async with file.followed(served, airflow, 'dags = ["one"]') as dagcall:
        file.path.write_text(mistake, encoding="utf-8")
        await until(lambda: any("not reloaded" in record.message for record in caplog.records))
        assert list(dagcall.catalog.snapshot.tools) == ["one"]
        file.write('dags = ["two"]')
        await until(lambda: list(dagcall.catalog.snapshot.tools) == ["two"])

    (said,) = [record.message for record in caplog.records if "not reloaded" in record.message]
    assert said.startswith("the settings were not reloaded, and the old ones stay: ")
    assert reason in said


async def test_vanished_file_leaves_the_old_settings(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = airflow_of("one")
    file = File(tmp_path / "dagcall.toml", airflow)
    async with file.followed(served, airflow, 'dags = ["one"]') as dagcall:
        file.path.unlink()
        await until(lambda: any("cannot be read" in record.message for record in caplog.records))
        assert list(dagcall.catalog.snapshot.tools) == ["one"]


async def test_settings_that_need_a_restart_are_named(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = airflow_of("one")
    file = File(tmp_path / "dagcall.toml", airflow)
    with caplog.at_level(logging.INFO):
        async with file.followed(served, airflow, 'dags = ["one"]'):
            file.write('dags = ["one"]\nrefresh_seconds = 7', "[server]\nport = 9000\n")
            await until(lambda: len(file.seen) == 1)

    said = [record.message for record in caplog.records if record.name == "dagcall.cli.reload"]
    assert said == [
        "changed, but only a restart applies it: server.port",
        "the settings were reloaded; changed: refresh_seconds",
    ]


async def test_reload_on_request_reads_the_dags_again(served: Served, tmp_path: Path) -> None:
    airflow = airflow_of("one")
    file = File(tmp_path / "dagcall.toml", airflow)
    async with file.followed(served, airflow, 'dags = ["*"]') as dagcall:
        airflow.add_dag(FakeDag("new"))
        file.reloader.wanted.set()
        await until(lambda: "new" in dagcall.catalog.snapshot.tools)


async def test_file_that_is_still_being_written_is_not_read(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file would withdraw every tool."""
    airflow = airflow_of("one", "two")
    file = File(tmp_path / "dagcall.toml", airflow)
    looks: list[Callable[[], object]] = [
        lambda: file.path.write_text("", encoding="utf-8"),
        lambda: file.write('dags = ["two"]'),
    ]

    def looked_at(path: Path) -> Any:
        if looks:
            looks.pop(0)()
        return stamp_of(path)

    async with file.followed(served, airflow, 'dags = ["one"]') as dagcall:
        monkeypatch.setattr(reload, "stamp_of", looked_at)
        await until(lambda: list(dagcall.catalog.snapshot.tools) == ["two"])

    assert [settings.dags for settings in file.seen] == [("two",)]
