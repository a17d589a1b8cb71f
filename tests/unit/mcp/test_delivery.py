"""Whether an answer reached its caller."""

from typing import Any, cast

import anyio
import pytest
from mcp.server import ServerRequestContext
from mcp.server.session import ServerSession
from mcp_types import RequestId

from dagcall.mcp.delivery import StdioDeliveries
from dagcall.runs.ledger import Entry

Context = ServerRequestContext[Any, Any]


def request(request_id: RequestId | None) -> Context:
    no_session = cast("ServerSession", None)
    return ServerRequestContext(
        session=no_session,
        lifespan_context={},
        protocol_version="2025-11-25",
        method="tools/call",
        request_id=request_id,
    )


async def answered_at_once(_: Context) -> dict[str, Any]:
    return {}


def entry() -> Entry:
    return Entry("mcp__a_b_0", 0)


async def test_outcome_is_delivered_once_its_answer_is_written() -> None:
    deliveries, first, second = StdioDeliveries(), entry(), entry()

    async def answered(_: Context) -> dict[str, Any]:
        deliveries.add("7", first)
        return {"done": True}

    deliveries.add(7, second)
    assert await deliveries.watch(request("7"), answered) == {"done": True}
    assert (first.waiting, first.is_delivered) == (1, False)
    deliveries.written("another")
    deliveries.written("7")
    deliveries.written("7")

    assert (first.waiting, first.is_delivered) == (0, True)
    assert (second.waiting, second.is_delivered) == (1, False)


async def test_stopping_server_waits_for_each_result_to_be_written() -> None:
    """Between two writes, nothing is being written, but a result may still be on its way."""
    deliveries = StdioDeliveries()
    for request_id in (7, "7", 8):
        await deliveries.watch(request(request_id), answered_at_once)
    await deliveries.watch(request(None), answered_at_once)
    seen = [deliveries.all_written.is_set()]
    for request_id in (7, 7, "7", 8):
        deliveries.written(request_id)
        seen.append(deliveries.all_written.is_set())
    assert seen == [False, False, False, False, True]


async def test_stopping_server_does_not_wait_for_a_client_that_left() -> None:
    deliveries = StdioDeliveries()
    await deliveries.watch(request(7), answered_at_once)
    deliveries.client_left()
    assert deliveries.all_written.is_set()


async def test_outcome_of_a_failed_request_is_not_delivered() -> None:
    deliveries, pending = StdioDeliveries(), entry()

    async def failing(_: Context) -> None:
        deliveries.add(7, pending)
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await deliveries.watch(request(7), failing)
    deliveries.written(7)

    assert (pending.waiting, pending.is_delivered) == (0, False)


async def test_outcome_of_a_request_cancelled_at_its_end_is_not_delivered() -> None:
    """The SDK never answers a cancelled request, even if its handler has just finished."""
    deliveries, pending = StdioDeliveries(), entry()

    async def cancelled_meanwhile(_: Context) -> dict[str, Any]:
        deliveries.add(7, pending)
        scope.cancel()
        return {}

    with anyio.CancelScope() as scope:
        await deliveries.watch(request(7), cancelled_meanwhile)

    assert scope.cancelled_caught
    assert (pending.waiting, pending.is_delivered) == (0, False)


async def test_failed_notification_does_not_release_the_entry() -> None:
    deliveries, pending = StdioDeliveries(), entry()
    deliveries.add(7, pending)

    async def failing(_: Context) -> None:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await deliveries.watch(request(None), failing)

    assert pending.waiting == 1
