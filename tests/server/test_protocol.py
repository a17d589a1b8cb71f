"""Capabilities, notifications and errors of the server in each protocol revision."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams, ToolListChangedNotification

from dagcall.tools.tool import Tool
from tests.fake_airflow import FakeAirflow
from tests.server.test_calls import Mode, add
from tests.support.in_memory import Served

RESOURCE_NOT_FOUND = -32002
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@ERAS
async def test_capabilities_announce_only_what_the_server_sends(served: Served, mode: Mode) -> None:
    async with served(FakeAirflow()) as dagcall, Client(dagcall.mcp.sdk, mode=mode) as client:
        promised = client.server_capabilities

    assert promised is not None
    assert promised.resources is not None
    assert not promised.resources.subscribe
    assert not promised.resources.list_changed
    assert (promised.prompts, promised.logging, promised.completions) == (None, None, None)
    assert bool(promised.extensions) == (mode == "auto")  # the tasks extension exists since 2026-07-28


async def test_only_supported_subscriptions_are_acknowledged(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with (
        asyncio.timeout(10),
        served(airflow) as dagcall,
        Client(dagcall.mcp.sdk) as client,
        client.listen(
            tools_list_changed=True,
            prompts_list_changed=True,
            resources_list_changed=True,
            resource_subscriptions=["dagcall://runs/add/x/results"],
        ) as changes,
    ):
        acknowledged = changes.honored.model_dump(exclude_none=True)
        airflow.add_dag(add(dag_id="added"))
        await dagcall.catalog.refresh()
        await anext(aiter(changes))

    assert acknowledged == {"tools_list_changed": True}


async def test_client_is_notified_only_after_it_has_listed_the_tools(served: Served) -> None:
    """Otherwise the first refresh sends a notification between a client's first request and its answer."""
    airflow = FakeAirflow()
    told: list[object] = []

    async def note(message: object) -> None:
        told.append(message)

    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk, mode="legacy", message_handler=note) as client:
        for name in ("first", "second"):
            airflow.add_dag(add(dag_id=name))
            await dagcall.catalog.refresh()
            await client.list_resources()  # earlier notifications arrive before this answer
        assert told == []
        assert [tool.name for tool in (await client.list_tools()).tools][:2] == ["first", "second"]
        airflow.add_dag(add(dag_id="third"))
        await dagcall.catalog.refresh()
        await client.list_resources()
    assert [type(message) for message in told] == [ToolListChangedNotification]


async def test_client_that_has_read_the_new_list_is_not_notified(served: Served) -> None:
    airflow = FakeAirflow()
    told: list[object] = []

    async def note(message: object) -> None:
        told.append(message)

    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk, mode="legacy", message_handler=note) as client:
        announce = dagcall.catalog.on_change
        assert announce is not None

        async def list_first(changed: Collection[Tool]) -> None:
            await client.list_tools()
            await announce(changed)

        dagcall.catalog.on_change = list_first
        airflow.add_dag(add())
        await dagcall.catalog.refresh()
        await client.list_resources()
    assert told == []


@ERAS
@pytest.mark.parametrize("what", ["list_tools", "list_resources", "list_resource_templates"])
async def test_unknown_cursor_is_refused(served: Served, what: str, mode: Mode) -> None:
    async with served(FakeAirflow()) as dagcall, Client(dagcall.mcp.sdk, mode=mode) as client:
        ask: Any = getattr(client.session, what)
        with pytest.raises(MCPError) as refused:
            await ask(params=PaginatedRequestParams(cursor="bogus"))
        await ask(params=PaginatedRequestParams(cursor=None))

    assert refused.value.error.code == INVALID_PARAMS
    assert refused.value.error.message == "Unknown cursor 'bogus': the list has one page."


@ERAS
@pytest.mark.parametrize("uri", ["dagcall://runs/add/mcp__none/results", "dagcall://nothing", "file:///etc/passwd"])
async def test_unknown_resource_has_the_revisions_error_code(served: Served, uri: str, mode: Mode) -> None:
    async with served(FakeAirflow()) as dagcall, Client(dagcall.mcp.sdk, mode=mode) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)

    assert refused.value.error.code == (INVALID_PARAMS if mode == "auto" else RESOURCE_NOT_FOUND)
    assert refused.value.error.data == {"uri": uri}
