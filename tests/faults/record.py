"""Reads and changes Airflow directly, bypassing the proxy and dagcall."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import httpx
from mcp_types import CallToolResult

from tests.support.clients import text_of
from tests.support.plain_http import PLAIN

Json = dict[str, Any]
T = TypeVar("T")
TASK = "total"
UNTIL_SECONDS = 180.0
ARGUMENTS = 1000
"""How many arguments each test has for itself."""


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Poll until there is a result: the change happens in another process."""
    async with asyncio.timeout(UNTIL_SECONDS):
        while not (seen := await look()):  # noqa: ASYNC110 - other processes send no event
            await asyncio.sleep(0.1)
        return seen


class Record:
    """Airflow's REST API, as its administrator sees it.

    Args:
        url: Airflow's URL.
        password: the administrator's password.
    """

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self._password = password
        self._http = httpx.AsyncClient(base_url=url, trust_env=False, verify=PLAIN, timeout=120)

    async def __aenter__(self) -> Self:
        user = {"username": "admin", "password": self._password}
        token = (await self._http.post("/auth/token", json=user)).raise_for_status().json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def has_dag(self, dag_id: str) -> bool:
        return (await self._http.get(f"/api/v2/dags/{dag_id}")).is_success

    async def make_pool(self, name: str, slots: int) -> None:
        answer = await self._http.post("/api/v2/pools", json={"name": name, "slots": slots})
        assert answer.is_success or answer.status_code == httpx.codes.CONFLICT

    async def runs(self, dag_id: str) -> list[Json]:
        body = {"dag_ids": [dag_id], "page_limit": 5000}
        answer = await self._http.post("/api/v2/dags/~/dagRuns/list", json=body)
        found: list[Json] = answer.raise_for_status().json()["dag_runs"]
        return found

    async def runs_with(self, dag_id: str, x: int) -> list[Json]:
        """Return the runs started with this argument."""
        return [run for run in await self.runs(dag_id) if run["conf"] == {"x": x}]

    async def runs_from(self, dag_id: str, first: int) -> dict[int, Json]:
        """Return a test's runs by argument, of which it has one (I1); `first` is the test's first argument."""
        runs = [run for run in await self.runs(dag_id) if first <= run["conf"]["x"] < first + ARGUMENTS]
        by_x = {run["conf"]["x"]: run for run in runs}
        assert len(by_x) == len(runs)
        return by_x

    async def tries(self, run: Json) -> int:
        """Return how often the run's task was started."""
        answer = await self._http.get(f"{_path(run)}/taskInstances/{TASK}")
        return int(answer.raise_for_status().json()["try_number"])

    async def xcom(self, run: Json) -> Any:
        """Return the value that the run's task returned."""
        path = f"{_path(run)}/taskInstances/{TASK}/xcomEntries/return_value"
        return (await self._http.get(path)).raise_for_status().json()["value"]

    async def xcom_or_none(self, run: Json) -> Any:
        """Return the value that the run's task returned, or None."""
        answer = await self._http.get(f"{_path(run)}/taskInstances/{TASK}/xcomEntries/return_value")
        return answer.json()["value"] if answer.is_success else None

    async def end(self, run: Json) -> None:
        """End a run of `held` as if its task had returned x + 1."""
        xcom = {"key": "return_value", "value": run["conf"]["x"] + 1}
        path = f"{_path(run)}/taskInstances/{TASK}/xcomEntries"
        (await self._http.post(path, json=xcom)).raise_for_status()
        await self.set_state(run, "success")

    async def set_state(self, run: Json, state: str) -> None:
        """Set a run's state, as a user of Airflow can."""
        await self._done(lambda: self._http.patch(_path(run), json={"state": state}))

    async def set_note(self, run: Json, note: str) -> None:
        """Set a run's note, as a user of Airflow can."""
        await self._done(lambda: self._http.patch(_path(run), json={"note": note}))

    async def clear(self, run: Json) -> None:
        """Clear a run, so that its tasks run again."""
        await self._done(lambda: self._http.post(f"{_path(run)}/clear", json={"dry_run": False}))

    async def delete(self, run: Json) -> None:
        """Delete a run. Airflow refuses to delete a running run, and its scheduler soon starts a queued one."""

        async def is_gone() -> bool:
            await self.set_state(run, "queued")
            answer = await self._http.delete(_path(run))
            assert answer.is_success or answer.status_code == httpx.codes.CONFLICT or answer.is_server_error
            return answer.is_success

        await until(is_gone)

    async def _done(self, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
        """Retry until it succeeds: Airflow sometimes answers 500 because of a deadlock with its scheduler."""

        async def is_done() -> bool:
            answer = await ask()
            assert answer.is_success or answer.is_server_error, answer.text
            return answer.is_success

        await until(is_done)

    async def the_run(self, dag_id: str, x: int) -> Json:
        """Wait for the run started with this argument."""
        (run,) = await until(lambda: self.runs_with(dag_id, x))
        return run

    async def the_new_run(self, dag_id: str, x: int) -> Json:
        """Wait for the run started with this argument, reading only the newest runs."""
        body = {"dag_ids": [dag_id], "order_by": "-run_after", "page_limit": 50}

        async def look() -> Json | None:
            answer = await self._http.post("/api/v2/dags/~/dagRuns/list", json=body)
            runs = [run for run in answer.raise_for_status().json()["dag_runs"] if run["conf"] == {"x": x}]
            return runs[0] if runs else None

        return await until(look)

    async def same(self, run: Json) -> Json:
        """Return the current state of a run."""
        found: Json = (await self._http.get(_path(run))).raise_for_status().json()
        return found

    async def count(self, path: str, **query: str) -> int:
        """Return the number of entries in a list of Airflow, such as `dags/add/dagRuns` or `eventLogs`."""
        answer = await self._http.get(f"/api/v2/{path}", params={"limit": 1, **query})
        return int(answer.raise_for_status().json()["total_entries"])

    async def the_ended_run(self, dag_id: str, x: int, state: str | None = None) -> Json:
        """Wait until the run started with this argument has ended.

        Args:
            dag_id: the run's dag.
            x: its argument.
            state: the expected state; the scheduler may briefly make a run a success that was set to failed.
        """

        async def ended() -> Json | None:
            run = await self.the_run(dag_id, x)
            return run if run["end_date"] and state in {None, run["state"]} else None

        return await until(ended)

    async def require_one_run(self, dag_id: str, x: int, results: Sequence[CallToolResult]) -> str:
        """Check that there is one run (I1) and that every answer is its result (I2); return the run id."""
        (run,) = await self.runs_with(dag_id, x)
        for result in results:
            self.require_answer(result, run)
        assert (run["state"], await self.xcom(run)) == ("success", x + 1)
        run_id: str = run["dag_run_id"]
        return run_id

    def require_answer(self, result: CallToolResult, run: Json) -> None:
        assert not result.is_error, text_of(result)
        content = dict(result.structured_content or {})
        content.pop("replayed", None)
        content.pop("url")
        assert content == {
            "state": "success",
            "dag_run_id": run["dag_run_id"],
            "results": {TASK: run["conf"]["x"] + 1},
        }

    @asynccontextmanager
    async def burst(self, dag_id: str, count: int) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
        """Trigger `count` runs at the same time, as an impatient script does."""
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(
            base_url=self.url, trust_env=False, verify=PLAIN, timeout=180, limits=limits, headers=self._http.headers
        ) as http:
            tasks = [
                asyncio.create_task(
                    http.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {"x": -number}})
                )
                for number in range(1, count + 1)
            ]
            yield tasks
            await asyncio.gather(*tasks, return_exceptions=True)


def _path(run: Json) -> str:
    return f"/api/v2/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}"
