"""A client of the tasks extension that returns the JSON on the wire."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, cast

from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp_types import CallToolResult, Request, RequestParams, RequestParamsMeta, Result
from pydantic import ConfigDict

from dagcall.mcp.task_protocol import EXTENSION

Wire = dict[str, Any]
FINAL = {"completed", "failed", "cancelled"}


class Created(Result):
    """A task instead of a result."""

    model_config = ConfigDict(extra="allow")

    result_type: Literal["task"] = "task"


class Wired(Result):
    """Any result as on the wire."""

    model_config = ConfigDict(extra="allow")


class TaskParams(RequestParams):
    task_id: str
    input_responses: dict[str, Any] | None = None


class TaskRequest(Request[TaskParams, str]):
    name_param = "taskId"

    method: str
    params: TaskParams


async def _resolve(created: Created, context: ClaimContext) -> CallToolResult:
    raise NotImplementedError  # the tests use the task itself


class Declared(ClientExtension):
    identifier = EXTENSION

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Created, resolve=_resolve)]


class TaskClient:
    """Sends task requests; every answer is the JSON on the wire.

    Args:
        client: must declare the extension if `call` should get tasks.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, arguments: Wire | None = None, meta: Wire | None = None) -> Wire:
        result = await self.client.session.call_tool(
            tool, arguments, meta=cast("RequestParamsMeta | None", meta), allow_claimed=True
        )
        return result.model_dump(mode="json", by_alias=True, exclude_unset=True)

    async def get(self, task_id: str) -> Wire:
        return await self.send("tasks/get", task_id)

    async def cancel(self, task_id: str) -> Wire:
        return await self.send("tasks/cancel", task_id)

    async def update(self, task_id: str, responses: Mapping[str, Any]) -> Wire:
        return await self.send("tasks/update", task_id, dict(responses))

    async def until(self, task_id: str, *statuses: str) -> Wire:
        """Poll without pauses until the task has one of these states, by default any final one."""
        while True:
            task = await self.get(task_id)
            if task["status"] in (statuses or FINAL):
                return task

    async def send(self, method: str, task_id: str, responses: dict[str, Any] | None = None) -> Wire:
        request = TaskRequest(method=method, params=TaskParams(task_id=task_id, input_responses=responses))
        answer = await self.client.session.send_request(request, Wired)
        return answer.model_dump(mode="json", by_alias=True, exclude_unset=True)


@asynccontextmanager
async def task_client(server: Any, **more: Any) -> AsyncIterator[TaskClient]:
    """Connect to a server; the arguments are those of `mcp.Client`."""
    async with Client(server, extensions=[Declared()], **more) as client:
        yield TaskClient(client)
