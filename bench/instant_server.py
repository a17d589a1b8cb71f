"""`dagcall` with an Airflow in its own memory, which answers a call at once. Run as a process.

python instant_server.py DAGS serve …
"""

import json
import sys
import time
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import Any

import httpx

from bench.fake_server import doubling_airflow
from dagcall.__main__ import main as command
from dagcall.app import assembled
from dagcall.cli import serve

HEADERS = httpx.Headers({"content-type": "application/json"})


class InstantAirflow(httpx.AsyncBaseTransport):
    """tests/fake_airflow for whoever starts up, and for a call as little as can be: its runs have ended at once.

    The first run is the fake's, and shows what a run looks like.
    """

    def __init__(self, dags: int) -> None:
        self._fake = doubling_airflow(dags).transport
        self._like = ""
        """What all runs have in common, as the beginning of a JSON object."""
        self._numbers: dict[str, int] = {}
        """Run id -> the number that it doubles."""
        self._ended: list[tuple[str, str]] = []
        """When each run ended, and the run but for that."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer what a call asks, and leave the rest to the fake."""
        path = request.extensions["target"].decode()
        if path.endswith("/dagRuns") and request.method == "POST":
            body = request.read()
            asked = json.loads(body)
            if not self._like:
                await self._look_at_a_run(request, asked)
            return self._triggered(path.split("/")[4], asked, body.decode())
        run, is_wait, query = path.partition("/wait?")
        if is_wait:
            number = self._numbers[run.rpartition("/")[2]]
            results = f'{{"double": {{"double": {2 * number}}}}}' if "result=double" in query else "{}"
            return _answer(f'{{"state": "success", "results": {results}}}')
        if path.endswith("/~/dagRuns/list"):
            return self._listed(json.loads(request.read()))
        if path.endswith("/~/dagRuns"):  # receipts
            return _answer('{"create": null, "update": {"success": [], "errors": []}, "delete": null}')
        return await self._fake.handle_async_request(request)

    async def _look_at_a_run(self, request: httpx.Request, asked: dict[str, Any]) -> None:
        response = await self._fake.handle_async_request(request)
        alike = json.loads(response.content)
        for name in (*asked, "dag_id", "run_after", "state", "end_date"):
            del alike[name]
        self._like = json.dumps(alike)[:-1]

    def _triggered(self, dag_id: str, asked: dict[str, Any], body: str) -> httpx.Response:
        now = datetime.now(UTC).isoformat()  # noqa: TID251 - this is Airflow's clock
        self._numbers[asked["dag_run_id"]] = asked["conf"]["n"]
        run = f'{self._like}, "dag_id": "{dag_id}", "run_after": "{now}", {body[1:-1]}'
        self._ended.append((now, run))
        return _answer(f'{run}, "state": "queued", "end_date": null}}')

    def _listed(self, asked: dict[str, Any]) -> httpx.Response:
        """Return the runs that have ended. A run ends when it is triggered, so there are no others."""
        found = []
        if "success" in asked["states"]:  # it has no unfinished runs
            since = max(asked.get("end_date_gte", ""), asked["run_after_gte"])
            first = bisect_left(self._ended, since, key=itemgetter(0))
            last = bisect_right(self._ended, asked.get("run_after_lte", "9"), key=itemgetter(0))
            found = self._ended[first + asked.get("page_offset", 0) : last]
        page = found[: asked["page_limit"]]
        runs = ",".join(f'{run}, "state": "success", "end_date": "{ended}"}}' for ended, run in page)
        return _answer(f'{{"dag_runs": [{runs}], "total_entries": {len(found)}}}')


def _answer(text: str) -> httpx.Response:
    return httpx.Response(200, headers=HEADERS, stream=httpx.ByteStream(text.encode()))


def _request(method: str, target: str, **more: Any) -> httpx.Request:
    return httpx.Request(method, "http://airflow.test", extensions={"target": target.encode()}, **more)


async def own_ms_per_call(calls: int = 2000) -> float:
    """Return the CPU that the two requests of a call take in here: Airflow's part of what the process takes."""
    airflow, path = InstantAirflow(1), "/api/v2/dags/double_0/dagRuns"
    log_in = _request("POST", "/auth/token", json={"username": "admin", "password": "admin"})
    token = json.loads(await (await airflow.handle_async_request(log_in)).aread())["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    bodies = [
        {"dag_run_id": f"mcp__{n}", "logical_date": None, "conf": {"n": n}, "note": "Called"} for n in range(calls)
    ]
    triggers = [_request("POST", path, headers=headers, json=body) for body in bodies]
    waits = [_request("GET", f"{path}/mcp__{n}/wait?interval=0.05&result=double") for n in range(calls)]
    before = time.process_time()
    for trigger, wait in zip(triggers, waits, strict=True):
        await airflow.handle_async_request(trigger)
        await airflow.handle_async_request(wait)
    return (time.process_time() - before) * 1000 / calls


if __name__ == "__main__":
    # All else is as when the command itself runs, and the command has no word for where Airflow is but a URL.
    serve.assembled = partial(  # type: ignore[attr-defined]
        assembled, transport=InstantAirflow(int(sys.argv.pop(1)))
    )
    command()
