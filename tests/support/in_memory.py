"""The whole of dagcall, in memory, in front of the fake Airflow."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
import stamina
from hypothesis import settings as hypothesis_settings

from dagcall.app import Dagcall, assembled
from dagcall.settings.settings import Settings
from dagcall.tools.pins import Pins
from tests.fake_airflow import FakeAirflow
from tests.support.virtual_time import VirtualTimeLoop

# The time of an example depends more on the machine than on the code.
hypothesis_settings.register_profile("dagcall", deadline=None)
hypothesis_settings.load_profile("dagcall")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Use the virtual time loop for tests marked `virtual_time`."""
    return {"virtual": VirtualTimeLoop} if item.get_closest_marker("virtual_time") else {"real": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def no_back_off(request: pytest.FixtureRequest) -> Iterator[None]:
    """Retry without pauses, unless the clock is virtual and pauses take no time."""
    if request.node.get_closest_marker("virtual_time"):
        yield
        return
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


Served = Callable[..., AbstractAsyncContextManager[Dagcall]]


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's settings from the environment."""
    import os  # noqa: PLC0415 - used only here

    for name in [name for name in os.environ if name.startswith("DAGCALL_")]:  # noqa: TID251 - to clean it
        monkeypatch.delenv(name)


@pytest.fixture
def served() -> Served:
    """Return a context manager that runs dagcall on an Airflow: `async with served(airflow, tools=[…]) as dagcall`."""

    @asynccontextmanager
    async def serve(
        airflow: FakeAirflow,
        /,
        *,
        wait_seconds: float = 5.0,
        pins: dict[str, dict[str, Any]] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        **settings: Any,
    ) -> AsyncIterator[Dagcall]:
        login = {"url": airflow.url, "username": "admin", "password": "admin", **settings.pop("airflow", {})}
        allowed = settings or {"dags": ["*"]}
        async with assembled(
            Settings.model_validate({"airflow": login, **allowed}),
            wait_seconds=wait_seconds,
            read_pins=None if pins is None else lambda: Pins(pins),
            transport=transport or airflow.transport,
        ) as dagcall:
            await dagcall.catalog.refresh()
            yield dagcall

    return serve
