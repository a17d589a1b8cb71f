"""What the latest successful runs of each dag were like: how long they took, and how large their results were.

Like `dagcall tools`, it starts nothing. A dag whose runs cannot be read counts as one without runs.
"""

import asyncio
import logging
from collections.abc import Collection
from statistics import median

from dagcall.airflow import AirflowApi, fetch_durations, fetch_latest_successes
from dagcall.errors import AirflowAnswerTooLarge, AirflowError
from dagcall.lint.rules import RecentRuns
from dagcall.results import ResultReader, json_size
from dagcall.runs import usual_seconds
from dagcall.tools import Tool

logger = logging.getLogger(__name__)

SAMPLE = 3
"""How many runs' results are read. Reading them costs Airflow as much as answering three calls."""


async def read_recent_runs(api: AirflowApi, tools: Collection[Tool], *, max_answer_bytes: int) -> dict[str, RecentRuns]:
    """Return what is usual for each tool, by name.

    Args:
        api: Airflow.
        tools: the published tools.
        max_answer_bytes: how large an answer of Airflow may be; larger results count with this size.
    """
    reader = ResultReader(api)
    read = await asyncio.gather(*(_read(api, reader, tool, max_answer_bytes) for tool in tools))
    return {tool.name: recent for tool, recent in zip(tools, read, strict=True)}


async def _read(api: AirflowApi, reader: ResultReader, tool: Tool, max_answer_bytes: int) -> RecentRuns:
    try:
        seconds = usual_seconds(await fetch_durations(api.rest, tool.dag_id))
        sizes: list[int] = []
        for run in await fetch_latest_successes(api.rest, tool.dag_id, most=SAMPLE):
            try:
                sizes.append(json_size((await reader.results(tool, run)).values))
            except AirflowAnswerTooLarge:
                sizes.append(max_answer_bytes)
    except AirflowError as error:
        logger.warning("the recent runs of dag %s could not be read: %s", tool.dag_id, error)
        return RecentRuns()
    return RecentRuns(seconds, round(median(sizes)) if sizes else None)
