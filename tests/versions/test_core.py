"""Tests of tests/e2e, unchanged, on older versions of Airflow; and a question to a person, whose form differs."""

from pathlib import Path
from typing import Any

import pytest
from mcp.client.context import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitResult

from tests.e2e.test_arguments import *  # noqa: F403
from tests.e2e.test_demo_calls import *  # noqa: F403
from tests.e2e.test_failures import *  # noqa: F403
from tests.e2e.test_large_results import *  # noqa: F403
from tests.e2e.test_results import *  # noqa: F403
from tests.support.clients import connected
from tests.support.running_demo import RunningDemo

del test_author_declares_the_result_task  # noqa: F821 - from Airflow 3.3 on
# Airflow 3.1 stores no UUID and says something else of NaN.
del test_values_of_every_class_become_json  # noqa: F821
del test_value_that_airflow_cannot_store_fails_the_run  # noqa: F821

pytestmark = pytest.mark.long
REFUND: dict[str, Any] = {"order_id": "SO-2026-A7K2", "amount": 180, "reason": "The bag of coffee arrived open."}


async def approve(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG001 - the SDK passes them by name
    return ElicitResult(action="accept", content={"answer": "Approve", "pay_only": 120})


@pytest.mark.parametrize("connection", ["http 2026-07-28", "stdio 2025-11-25"])
async def test_person_approves_a_part_of_a_refund(demo: RunningDemo, connection: str, tmp_path: Path) -> None:
    async with connected(demo, connection, tmp_path / "errors", on_question=approve) as client:
        answer = await client.call_tool("approve_refund", REFUND)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    decided = answer.structured_content["results"]["answer"]
    assert (decided["decision"], decided["paid"], decided["asked"]) == ("approved", 120.0, 180.0)
