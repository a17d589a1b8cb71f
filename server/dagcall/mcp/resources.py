"""The results of a caller's own runs, in parts: through `read_dag_result`, and as resources.

Both return the same parts, so that a client without resources can use the tool. A resource is also a part, never the
bare value: Python clients reject an answer above 1 MiB, and if a document were the value when small and something else
when large, clients would take it for the value.

A part is found by the run id, which is stored in Airflow and shows whose run it is; so any replica can read it.
"""

import logging
from collections.abc import Mapping

from mcp import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceResult,
    ResourceTemplate,
    TextResourceContents,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from dagcall.auth import Caller
from dagcall.errors import CallerError, DagcallError, InvalidArguments, UnknownTool, Unreadable
from dagcall.mcp.answers import JSON_TYPE, RESULTS_URI, part_result
from dagcall.plain_json import Json
from dagcall.results import Page, json_text, part
from dagcall.runs import Runs
from dagcall.text import did_you_mean, shortened, visible
from dagcall.tools import READ_TOOL_NAME, Catalog

logger = logging.getLogger(__name__)

RESOURCE_NOT_FOUND = -32002
"""The error code in revisions before 2026-07-28; the SDK no longer defines it."""


class PartOfResult(BaseModel):
    """What to read: the arguments of `read_dag_result`, and the variables of the resource template."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: str
    dag_run_id: str
    path: str = ""
    offset: int = Field(default=0, ge=0)
    limit: int | None = Field(default=None, ge=1)

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Json]) -> "PartOfResult":
        """Validate arguments; numbers may come as text, as in a URI.

        Raises:
            InvalidArguments: with one sentence per bad argument.
        """
        try:
            return cls.model_validate(arguments)
        except ValidationError as error:
            problems = tuple(_sentence(item) for item in error.errors(include_url=False, include_context=False))
            raise InvalidArguments(READ_TOOL_NAME, problems) from error


class Resources:
    """Reads parts of results.

    Args:
        catalog: the published tools.
        runs: reads runs, and knows their callers.
        max_bytes: maximum size of a part, as JSON text.
    """

    def __init__(self, catalog: Catalog, runs: Runs, *, max_bytes: int) -> None:
        self._catalog = catalog
        self._runs = runs
        self._max_bytes = max_bytes

    async def call(self, arguments: Mapping[str, Json], *, caller: Caller) -> CallToolResult:
        """Answer a call of `read_dag_result`.

        Raises:
            InvalidArguments, UnknownRun, Unreadable: nothing can be read there.
            RunError, AirflowError: as for a call that waits for the run.
        """
        wanted = PartOfResult.from_arguments(arguments)
        try:
            return part_result(await self._part(wanted, caller))
        except UnknownTool as error:
            raise InvalidArguments(READ_TOOL_NAME, (f"tool: {error}",)) from error

    async def read(self, uri: str, *, caller: Caller, revision: str) -> ReadResourceResult:
        """Answer `resources/read`.

        Args:
            uri: the resource.
            caller: who reads it.
            revision: the protocol revision, which decides the error code of an unknown resource.

        Raises:
            MCPError: the resource does not exist for this caller (-32602, before 2026-07-28 -32002), the URI has bad
                arguments (-32602), or it cannot be read now (-32603). The URI is in the error's data.
        """
        try:
            shown = (await self._part(_part_from_uri(uri), caller)).as_json()
        except CallerError as error:
            is_unknown = not isinstance(error, InvalidArguments) and revision not in MODERN_PROTOCOL_VERSIONS
            code = RESOURCE_NOT_FOUND if is_unknown else INVALID_PARAMS
            raise MCPError(code=code, message=visible(str(error)), data={"uri": uri}) from error
        except DagcallError as error:
            raise MCPError(code=INTERNAL_ERROR, message=visible(str(error)), data={"uri": uri}) from error
        except Exception as error:
            logger.exception("reading %s failed inside dagcall", uri)
            message = "dagcall failed while reading this resource; see its log."
            raise MCPError(code=INTERNAL_ERROR, message=message, data={"uri": uri}) from error
        return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=JSON_TYPE, text=json_text(shown))])

    async def _part(self, wanted: PartOfResult, caller: Caller) -> Page:
        tool = self._catalog.tool(wanted.tool, caller)
        results = await self._runs.fetch_results(tool, wanted.dag_run_id, caller=caller.id)
        return part(results, wanted.path, offset=wanted.offset, limit=wanted.limit, max_bytes=self._max_bytes)


def listed_resources() -> ListResourcesResult:
    """Return no resources: callers know their runs from their answers; dagcall keeps no list."""
    return ListResourcesResult(resources=[])


def listed_templates() -> ListResourceTemplatesResult:
    """Return the only kind of resource."""
    template = ResourceTemplate(
        name="dag_run_results",
        title="Results of a dag run",
        uri_template=str(RESULTS_URI),
        description=(
            "The results of a run that you started, as JSON. path is a JSON Pointer into the results (task id -> "
            "value); offset and limit select items of a list, characters of a text or keys of an object. `value` is "
            "the value at the path, `next_offset` the offset of the next part, and `omitted` what this part omits."
        ),
        mime_type=JSON_TYPE,
    )
    return ListResourceTemplatesResult(resource_templates=[template])


def tool_of(uri: str) -> str | None:
    """Return the tool name in a URI of results, known or not; None for another kind of URI."""
    found = RESULTS_URI.match(uri)
    return None if found is None else str(found["tool"])


def _part_from_uri(uri: str) -> PartOfResult:
    if (found := RESULTS_URI.match(uri)) is None:
        raise Unreadable(f"Unknown resource {shortened(uri)!r}; resources have the form {RESULTS_URI}.")
    return PartOfResult.from_arguments(found)


def _sentence(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{name}: there is no such argument{did_you_mean(name, PartOfResult.model_fields)}"
    if error["type"] == "missing":
        return f"{name}: required"
    return f"{name}: {error['msg'].replace('Input should', 'it should')}"
