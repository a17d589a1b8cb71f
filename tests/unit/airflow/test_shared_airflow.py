"""Gates in front of a simulated Airflow: what several of them do together, who know nothing of each other.

The simulation is random; a failed test shows its seed in its name. `SEEDS=20 pytest …` tries more of them.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from dagcall.airflow.gate import Gate, Purpose
from dagcall.airflow.overload import FIRST_LIMIT
from tests.support.simulated_airflow import Replica, Request, SimulatedAirflow

pytestmark = [pytest.mark.virtual_time, pytest.mark.untraced]
SEEDS = range(int(os.environ.get("SEEDS", "1")))  # noqa: TID251 - for experiments
LOOPS = 40
TAKEN_BY_TEST = 0.9
SHARE = 0.2
MIXED = (Request.READ, Request.READ, Request.TRIGGER, Request.LOG)


@asynccontextmanager
async def noise(airflow: SimulatedAirflow) -> AsyncIterator[None]:
    task = asyncio.create_task(airflow.be_noisy())
    yield
    task.cancel()


async def answered(
    airflow: SimulatedAirflow,
    replicas: Sequence[Replica],
    seconds: float,
    requests: Sequence[Request] = (Request.READ,),
) -> list[int]:
    """Let the replicas ask all the time, all from the same moment; return how many answers each got after a while."""
    async with noise(airflow):
        asked = asyncio.gather(*(replica.ask_all_the_time(seconds, LOOPS, requests) for replica in replicas))
        await asyncio.sleep(seconds / 4)
        before = [replica.answered.total() for replica in replicas]
        await asyncio.sleep(seconds * 3 / 4)
        counts = [replica.answered.total() - was for replica, was in zip(replicas, before, strict=True)]
        await asked
    return counts


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("requests", [(Request.READ,), MIXED], ids=["reads", "mixed"])
@pytest.mark.parametrize("replicas", [2, 4, 8])
async def test_replicas_share_one_api_server_without_wedging_it(
    replicas: int, requests: Sequence[Request], seed: int
) -> None:
    airflow = SimulatedAirflow(1, seed)
    counts = await answered(airflow, [Replica(airflow) for _ in range(replicas)], 60, requests)

    mean = sum(counts) / replicas
    assert not airflow.is_wedged
    assert [count for count in counts if abs(count - mean) > SHARE * mean] == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("servers", [1, 2, 4])
async def test_one_replica_uses_all_api_servers(servers: int, seed: int) -> None:
    async def rate(gate: Gate) -> int:
        airflow = SimulatedAirflow(servers, seed)
        (count,) = await answered(airflow, [Replica(airflow, gate)], 20)
        assert not airflow.is_wedged
        return count

    most = 6 * servers
    assert await rate(Gate()) >= TAKEN_BY_TEST * await rate(Gate(most, floor=most))


@pytest.mark.parametrize("seed", SEEDS)
async def test_bursts_that_reach_idle_replicas_at_once_wedge_nothing(seed: int) -> None:
    airflow = SimulatedAirflow(1, seed)
    replicas = [Replica(airflow) for _ in range(8)]
    async with noise(airflow):
        for _ in range(3):
            await asyncio.gather(*(replica.ask(Request.TRIGGER) for replica in replicas for _ in range(12)))
            await asyncio.gather(*(replica.ask_now_and_then(5, 1) for replica in replicas))

    assert not airflow.is_wedged
    assert airflow.most_inside <= 8 * FIRST_LIMIT


@pytest.mark.parametrize("seed", SEEDS)
async def test_replica_that_comes_later_gets_no_more_than_its_share(seed: int) -> None:
    airflow = SimulatedAirflow(1, seed)
    old, new = [Replica(airflow) for _ in range(3)], Replica(airflow)
    await answered(airflow, old, 10)
    counts = await answered(airflow, [*old, new], 60)

    assert not airflow.is_wedged
    assert counts[-1] <= (1 + SHARE) * sum(counts) / 4


@pytest.mark.parametrize("seed", SEEDS)
async def test_light_use_changes_no_limit_whatever_the_noise(seed: int) -> None:
    airflow = SimulatedAirflow(1, seed)
    replica, limits = Replica(airflow), set()
    async with noise(airflow):
        for _ in range(300):
            await replica.ask_now_and_then(1, 0.3)
            limits.add(replica.gate.limit)

    assert limits == {FIRST_LIMIT}


@pytest.mark.parametrize("seed", SEEDS)
async def test_open_streams_take_no_part_in_the_limit(seed: int) -> None:
    airflow = SimulatedAirflow(2, seed)
    replica = Replica(airflow)
    streams = sum(replica.gate.try_enter(Purpose.STREAM) for _ in range(10))
    await answered(airflow, [replica], 5)

    assert streams == 4
    assert replica.gate.limit > FIRST_LIMIT
    assert replica.gate.in_flight >= streams


@pytest.mark.parametrize("seed", SEEDS)
async def test_airflow_that_has_become_slower_is_used_fully_after_some_minutes(seed: int) -> None:
    airflow = SimulatedAirflow(4, seed)
    replica = Replica(airflow)
    await replica.ask_now_and_then(50, 2)
    airflow.become(6)
    (at_first,) = await answered(airflow, [replica], 20)
    await replica.ask_now_and_then(100, 10)
    (later,) = await answered(airflow, [replica], 20)

    assert later > 2 * at_first
