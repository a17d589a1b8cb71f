"""The schedule of the chaos tests is determined by its seed."""

import pytest

from tests.chaos.schedule import (
    CALLERS,
    REPLICAS,
    ByHand,
    LineFault,
    ProcessFault,
    ProxyFault,
    schedule,
)

seeds = pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])


@seeds
@pytest.mark.parametrize("seconds", [30.0, 60.0, 600.0])
def test_same_seed_gives_the_same_schedule(seed: int, seconds: float) -> None:
    assert schedule(seed, seconds) == schedule(seed, seconds)


@seeds
def test_other_seed_gives_another_schedule(seed: int) -> None:
    assert schedule(seed, 60).faults != schedule(seed + 1, 60).faults
    assert schedule(seed, 60).callers != schedule(seed + 1, 60).callers


@seeds
def test_faults_are_sorted_and_within_the_duration(seed: int) -> None:
    times = [fault.at for fault in schedule(seed, 60).faults]

    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= 61


@seeds
def test_one_minute_has_process_faults_of_every_target(seed: int) -> None:
    faults = schedule(seed, 60).faults
    processes = [fault for fault in faults if isinstance(fault, ProcessFault)]

    assert {(fault.target, fault.deed) for fault in processes} >= {
        *((f"replica {number}", deed) for number in range(REPLICAS) for deed in ("stop", "kill")),
        *((part, "stop") for part in ("api-server", "scheduler", "postgres", "triggerer")),
    }
    assert any(isinstance(fault, ProxyFault | LineFault) for fault in faults)


@seeds
def test_ten_minutes_have_every_kind_of_fault(seed: int) -> None:
    faults = schedule(seed, 600).faults

    assert len({fault.name for fault in faults if isinstance(fault, ProxyFault)}) == 11
    assert {fault.deed for fault in faults if isinstance(fault, ByHand)} == {"delete", "clear", "success", "failed"}
    killed = {fault.target for fault in faults if isinstance(fault, ProcessFault) and fault.deed == "kill"}
    assert killed >= {"api-server", "postgres", "scheduler"}


@seeds
def test_ten_minutes_have_every_kind_of_caller_and_move(seed: int) -> None:
    callers = schedule(seed, 600).callers
    calls = [call for caller in callers for call in caller]
    moves = [move for call in calls for move in call.moves]

    assert len(callers) == CALLERS
    assert {bool(call.key) for call in calls} == {True, False}
    assert {call.tool for call in calls} == {"quick", "slow", "approved", "failing"}
    assert {move.way for move in moves} == {"stays", "times out", "drops", "hangs up", "resets", "says nothing"}
    assert {move.replica for move in moves} == set(range(REPLICAS))
    assert any(move.cancels for move in moves)
    assert any(move.looks for move in moves)
    assert any(move.is_task for move in moves)
    assert any(len({move.replica for move in call.moves}) > 1 for call in calls)


@seeds
def test_calls_with_the_same_arguments_have_the_same_tool_and_key(seed: int) -> None:
    by_x: dict[int, set[tuple[str, str | None]]] = {}
    for caller in schedule(seed, 60).callers:
        for call in caller:
            by_x.setdefault(call.x, set()).add((call.tool, call.key))

    assert all(len(same) == 1 for same in by_x.values())
