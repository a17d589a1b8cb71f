import asyncio
from collections.abc import Iterable

import pytest

from dagcall.airflow.gate import Gate, Purpose
from dagcall.airflow.overload import FAILURES_TO_OPEN, FIRST_LIMIT, FIRST_PAUSE_SECONDS
from dagcall.errors import CircuitOpen, RetryLater


async def let_in_order(gate: Gate, purposes: Iterable[Purpose]) -> list[Purpose]:
    """Queue for a full gate in this order; return the order in which the gate admits."""
    order: list[Purpose] = []

    async def enter(purpose: Purpose) -> None:
        async with gate.place(purpose):
            order.append(purpose)

    async with gate.place(Purpose.RESULT):
        tasks = [asyncio.create_task(enter(purpose)) for purpose in purposes]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return order


async def test_results_precede_triggers_and_triggers_precede_discovery() -> None:
    order = await let_in_order(Gate(1), [Purpose.DISCOVERY, Purpose.TRIGGER, Purpose.RESULT, Purpose.TRIGGER])

    assert order == [Purpose.RESULT, Purpose.TRIGGER, Purpose.TRIGGER, Purpose.DISCOVERY]


async def test_requests_in_flight_never_exceed_the_limit() -> None:
    gate, most = Gate(3, floor=3), 0

    async def enter() -> None:
        nonlocal most
        async with gate.place(Purpose.RESULT):
            most = max(most, gate.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(enter() for _ in range(20)))

    assert (most, gate.in_flight) == (3, 0)


@pytest.mark.parametrize(("limit", "discoveries"), [(1, 1), (2, 2), (8, 2), (16, 4)])
async def test_discovery_gets_two_or_a_quarter_of_the_places(limit: int, discoveries: int) -> None:
    gate, most = Gate(limit, floor=limit), 0

    async def enter() -> None:
        nonlocal most
        async with gate.place(Purpose.DISCOVERY):
            most = max(most, gate.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(enter() for _ in range(20)))

    assert most == discoveries


async def test_streams_get_half_as_many_places_of_their_own_and_never_queue() -> None:
    gate = Gate(4)

    assert [gate.try_enter(Purpose.STREAM) for _ in range(3)] == [True, True, False]

    gate.leave(Purpose.STREAM)
    assert gate.try_enter(Purpose.STREAM)


async def test_queued_discovery_does_not_block_other_purposes() -> None:
    gate = Gate(8, floor=8)
    for _ in range(2):
        await gate.enter(Purpose.DISCOVERY, "")
    waiting = asyncio.create_task(gate.enter(Purpose.DISCOVERY, ""))
    await asyncio.sleep(0)

    assert gate.waiting(Purpose.DISCOVERY) == 1
    assert [gate.try_enter(Purpose.STREAM) for _ in range(5)] == [True] * 4 + [False]
    async with gate.place(Purpose.TRIGGER), gate.place(Purpose.RESULT):
        assert gate.in_flight == 8
    gate.leave(Purpose.DISCOVERY)
    await waiting


async def test_queue_is_first_in_first_out_within_a_purpose() -> None:
    gate = Gate(4)
    order: list[str] = []

    async def enter(name: str) -> None:
        async with gate.place(Purpose.DISCOVERY):
            order.append(name)

    await gate.enter(Purpose.DISCOVERY, "")
    first = asyncio.create_task(enter("first"))
    await asyncio.sleep(0)
    gate.leave(Purpose.DISCOVERY)  # reserves the place for the first task, which has not run yet
    second = asyncio.create_task(enter("second"))
    await asyncio.gather(first, second)

    assert order == ["first", "second"]


async def test_gate_of_one_place_admits_no_stream() -> None:
    assert not Gate(1).try_enter(Purpose.STREAM)


async def test_cancelled_request_gives_up_its_place_in_the_queue() -> None:
    gate = Gate(1)

    async def enter() -> None:
        async with gate.place(Purpose.RESULT):
            await asyncio.sleep(0)

    async with gate.place(Purpose.RESULT):
        first, second, third = (asyncio.create_task(enter()) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
    second.cancel()  # admitted at the end of the block, and cancelled before it runs
    await third

    assert gate.in_flight == 0


async def test_caller_that_left_the_queue_is_forgotten() -> None:
    gate = Gate(1)

    async def enter(who: str) -> None:
        async with gate.place(Purpose.TRIGGER, who=who):
            pass

    async with gate.place(Purpose.RESULT):
        leaving = asyncio.create_task(enter("a/tool"))
        await asyncio.sleep(0)
        leaving.cancel()
        staying = asyncio.create_task(enter("b/tool"))
        await asyncio.sleep(0)
        assert (gate.waiting_for(Purpose.TRIGGER, "a"), gate.waiting_for(Purpose.TRIGGER, "b")) == (0, 1)
    await staying


async def test_queued_callers_take_turns() -> None:
    gate = Gate(1)
    order: list[str] = []

    async def enter(who: str) -> None:
        async with gate.place(Purpose.TRIGGER, who=who):
            order.append(who)

    async with gate.place(Purpose.RESULT):
        tasks = [asyncio.create_task(enter(who)) for who in ("a", "a", "a", "b", "c")]
        await asyncio.sleep(0)
        assert gate.waiting(Purpose.TRIGGER) == 5
    await asyncio.gather(*tasks)

    assert order == ["a", "b", "c", "a", "a"]


async def test_overload_halves_the_limit() -> None:
    gate = Gate(8)

    gate.failed(is_overload=False)
    assert gate.limit == FIRST_LIMIT

    gate.failed(is_overload=True)
    assert (gate.limit, gate.ceiling) == (FIRST_LIMIT // 2, 8)


async def enter(gate: Gate) -> None:
    async with gate.place(Purpose.TRIGGER):
        pass


@pytest.mark.virtual_time
async def test_open_streams_do_not_block_requests_after_an_overload() -> None:
    gate = Gate(8)
    streams = sum(gate.try_enter(Purpose.STREAM) for _ in range(8))
    for _ in range(3):
        gate.failed(is_overload=True)
        await asyncio.sleep(2)

    async with asyncio.timeout(1), gate.place(Purpose.RESULT):
        inside = gate.in_flight

    assert (streams, gate.limit, inside) == (4, 1, 5)
    assert not gate.try_enter(Purpose.STREAM)


async def test_full_queue_advises_a_retry_within_a_minute() -> None:
    seconds = 0.0
    gate = Gate(1, queue=10, now=lambda: seconds)
    async with gate.place(Purpose.TRIGGER):
        seconds = 1000.0  # the process was suspended
    async with gate.place(Purpose.RESULT):
        queued = [asyncio.create_task(enter(gate)) for _ in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(RetryLater, match=r"try again in 60 s\.$"):
            await enter(gate)
    await asyncio.gather(*queued)


async def test_full_queue_rejects_requests() -> None:
    gate = Gate(1, queue=0)

    async with gate.place(Purpose.RESULT):
        with pytest.raises(RetryLater, match="Nothing was started: too many calls are queued; try again in"):
            async with gate.place(Purpose.TRIGGER):
                pass


async def test_open_breaker_admits_one_request_after_a_pause() -> None:
    now = 0.0
    gate = Gate(8, now=lambda: now)
    for _ in range(FAILURES_TO_OPEN):
        gate.failed(is_overload=False)

    with pytest.raises(CircuitOpen, match="Airflow has not answered for 0 s; dagcall checks every few seconds"):
        async with gate.place(Purpose.TRIGGER):
            pass
    assert not gate.try_enter(Purpose.STREAM)

    now = FIRST_PAUSE_SECONDS
    async with gate.place(Purpose.RESULT):
        with pytest.raises(CircuitOpen):
            async with gate.place(Purpose.RESULT):
                pass
        gate.answered()
    async with gate.place(Purpose.TRIGGER):
        assert gate.in_flight == 1
