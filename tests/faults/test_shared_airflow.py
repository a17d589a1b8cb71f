"""Several gates, who know nothing of each other, before one stock api-server."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bench.stock_airflow import StockAirflow, stock_airflow

from tests.faults.matrix import fault
from tests.support.terminal import terminal_of

SECONDS = 20.0
START_SECONDS = 10.0
TRIGGERS = 100
SHARE = 0.2


@pytest.fixture
async def stock(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[StockAirflow]:
    async with stock_airflow(tmp_path_factory.mktemp("stock"), terminal_of(request.config)) as airflow:
        yield airflow


async def hot_gates(url: str, token: str, number: int, *limits: str) -> list[dict[str, Any]]:
    """Run so many gates at the same time, each in a process of its own; return what each saw."""
    at = time.time() + START_SECONDS
    command = ["-m", "tests.faults.hot_gate", url, str(at), str(SECONDS), str(TRIGGERS // number), *limits]

    async def one() -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate(f"{token}\n".encode())
        seen: dict[str, Any] = json.loads(output)
        return seen

    return await asyncio.gather(*(one() for _ in range(number)))


@fault(
    "1, 2, 4 and 8 gates at once ask a stock Airflow as much as they let in",
    seen="every answer",
    checked="every request is answered, no breaker opens, and each gate gets the same share within 20 %",
)
@pytest.mark.overload
async def test_gates_share_a_stock_api_server_without_wedging_it(
    stock: StockAirflow, request: pytest.FixtureRequest
) -> None:
    url, token = f"http://127.0.0.1:{stock.port}", stock.http.headers["Authorization"].removeprefix("Bearer ")
    tell = terminal_of(request.config)
    for number in (1, 2, 4, 8):
        seen = await hot_gates(url, token, number)
        reads = [gate["reads"] for gate in seen]
        slowest = max(gate["trigger_seconds"] for gate in seen)
        tell(
            f"{number} gates: {sum(reads) / SECONDS:.0f} reads a second, shares {min(reads)} to {max(reads)}, limits "
            f"{min(gate['limit'] for gate in seen):.1f} to {max(gate['limit'] for gate in seen):.1f}; "
            f"{TRIGGERS} triggers in {slowest:.1f} s"
        )

        assert [error for gate in seen for error in gate["errors"]] == []
        assert not any(gate["is_open"] for gate in seen)
        assert sum(gate["triggered"] for gate in seen) == TRIGGERS // number * number
        assert [count for count in reads if abs(count - sum(reads) / number) > SHARE * sum(reads) / number] == []
