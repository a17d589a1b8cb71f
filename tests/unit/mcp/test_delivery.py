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


def entry() -> Entry:
    return Entry("mcp__a_b_0", 0)


async def test_an_outcome_has_arrived_when_its_answer_was_written() -> None:
    deliveries, first, second = StdioDeliveries(), entry(), entry()

    async def answered(_: Context) -> dict[str, Any]:
        deliveries.carry("7", first)
        return {"done": True}

    deliveries.carry(7, second)
    assert await deliveries.watch(request("7"), answered) == {"done": True}
    assert (first.waiting, first.is_delivered) == (1, False)
    deliveries.written("another")
    deliveries.written("7")
    deliveries.written("7")

    assert (first.waiting, first.is_delivered) == (0, True)
    assert (second.waiting, second.is_delivered) == (1, False)


async def test_an_outcome_whose_request_ends_in_an_error_has_not_arrived() -> None:
    deliveries, carried = StdioDeliveries(), entry()

    async def failing(_: Context) -> None:
        deliveries.carry(7, carried)
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await deliveries.watch(request(7), failing)
    deliveries.written(7)

    assert (carried.waiting, carried.is_delivered) == (0, False)


async def test_an_outcome_whose_request_is_cancelled_at_the_last_moment_has_not_arrived() -> None:
    """The SDK answers no request that was cancelled, not even one whose handler has just come to its end."""
    deliveries, carried = StdioDeliveries(), entry()

    async def cancelled_meanwhile(_: Context) -> dict[str, Any]:
        deliveries.carry(7, carried)
        scope.cancel()
        return {}

    with anyio.CancelScope() as scope:
        await deliveries.watch(request(7), cancelled_meanwhile)

    assert scope.cancelled_caught
    assert (carried.waiting, carried.is_delivered) == (0, False)


async def test_a_notification_that_fails_lets_go_of_nothing() -> None:
    deliveries, carried = StdioDeliveries(), entry()
    deliveries.carry(7, carried)

    async def failing(_: Context) -> None:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await deliveries.watch(request(None), failing)

    assert carried.waiting == 1
