"""The results of a caller's own runs, part by part: through `read_dag_result`, and as resources.

Knows MCP's messages about resources, and that both ways lead to the same part: a client without resources gets by with
the tool. A resource that is read answers with such a part, too, and never with the bare value: Python clients break off
an answer above 1 MiB, and a document that is the value when it is small and something else when it is large would be
taken for the value.

Every part is read by the run id, which says whose run it is and lives in Airflow; so any replica can, at any time.
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
"""Of the revisions before 2026-07-28; the SDK no longer names it."""


class Place(BaseModel):
    """Where to read: the arguments of `read_dag_result`, and the variables of the resource template."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: str
    dag_run_id: str
    path: str = ""
    offset: int = Field(default=0, ge=0)
    limit: int | None = Field(default=None, ge=1)

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Json]) -> "Place":
        """Check what a caller gave; numbers may come as text, as in a URI they do.

        Raises:
            InvalidArguments: with one sentence for each bad argument.
        """
        try:
            return cls.model_validate(arguments)
        except ValidationError as error:
            problems = tuple(_sentence(item) for item in error.errors(include_url=False, include_context=False))
            raise InvalidArguments(READ_TOOL_NAME, problems) from error


class Resources:
    """Reads parts of results.

    Args:
        catalog: knows the tools.
        runs: knows the runs, and whose they are.
        max_bytes: what one part may take, as JSON text.
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
        place = Place.from_arguments(arguments)
        try:
            return part_result(await self._part(place, caller))
        except UnknownTool as error:
            raise InvalidArguments(READ_TOOL_NAME, (f"tool: {error}",)) from error

    async def read(self, uri: str, *, caller: Caller, revision: str) -> ReadResourceResult:
        """Answer `resources/read`.

        Args:
            uri: what to read.
            caller: who asks.
            revision: of the protocol, for the code of an unknown resource.

        Raises:
            MCPError: there is no such resource for this caller (-32602, before 2026-07-28 -32002), the URI holds bad
                arguments (-32602), or it cannot be read now (-32603). The URI is in the error's data.
        """
        try:
            shown = (await self._part(_place_from_uri(uri), caller)).as_json()
        except CallerError as error:
            is_unknown = not isinstance(error, InvalidArguments) and revision not in MODERN_PROTOCOL_VERSIONS
            code = RESOURCE_NOT_FOUND if is_unknown else INVALID_PARAMS
            raise MCPError(code=code, message=visible(str(error)), data={"uri": uri}) from error
        except DagcallError as error:
            raise MCPError(code=INTERNAL_ERROR, message=visible(str(error)), data={"uri": uri}) from error
        except Exception as error:
            logger.exception("reading %s failed inside dagcall", uri)
            message = "dagcall itself failed while it read this resource; its log says how."
            raise MCPError(code=INTERNAL_ERROR, message=message, data={"uri": uri}) from error
        return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=JSON_TYPE, text=json_text(shown))])

    async def _part(self, place: Place, caller: Caller) -> Page:
        tool = self._catalog.tool(place.tool, caller)
        results = await self._runs.fetch_results(tool, place.dag_run_id, caller=caller.id)
        return part(results, place.path, offset=place.offset, limit=place.limit, max_bytes=self._max_bytes)


def listed_resources() -> ListResourcesResult:
    """Return no resources: only a caller knows which of the runs in Airflow it may read, from the answers it got."""
    return ListResourcesResult(resources=[])


def listed_templates() -> ListResourceTemplatesResult:
    """Return the one kind of resource that there is."""
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
    """Return the name of the tool whose results a URI is about, known or not; None for a URI of another kind."""
    found = RESULTS_URI.match(uri)
    return None if found is None else str(found["tool"])


def _place_from_uri(uri: str) -> Place:
    if (found := RESULTS_URI.match(uri)) is None:
        raise Unreadable(f"There is no resource {shortened(uri)!r}; there is {RESULTS_URI}.")
    return Place.from_arguments(found)


def _sentence(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown argument{did_you_mean(name, Place.model_fields)}"
    if error["type"] == "missing":
        return f"{name}: required"
    return f"{name}: {error['msg'].replace('Input should', 'it should')}"
