"""Airflow's REST API (3.1 to 3.3): one method per request.

Knows paths and bodies; `versions` knows the differences between versions, `paging` reads whole lists, and `rest` sends
requests. Knows nothing of tools or MCP, and keeps no state except the version.

`result` is never sent to `/wait` below 3.3, where each use leaks a database connection and mixes up mapped tasks.

One method per request makes it long: whoever looks for a request finds it here.
"""

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from dagcall.airflow.account import Account
from dagcall.airflow.credentials import Credentials
from dagcall.airflow.gate import Purpose
from dagcall.airflow.hitl import MAY_WAIT_FOR_PEOPLE, Question, Response, is_open
from dagcall.airflow.http import Query, Stream
from dagcall.airflow.import_errors import BrokenFile, ImportErrors
from dagcall.airflow.model import Dag, DagSummary, DagVersion, LogEvent, Run, RunState, Task, TaskInstance, run_key
from dagcall.airflow.paging import (
    PAGE,
    RUN_LIST,
    TASK_INSTANCE_LIST,
    all_batches,
    all_pages,
    dag_path,
    run_path,
    segment,
    task_path,
)
from dagcall.airflow.rest import READ_ATTEMPTS, READ_SECONDS, AirflowRest
from dagcall.airflow.versions import BULK_RUNS, OLDEST, RESULTS_THROUGH_WAIT, known_states, version_in
from dagcall.errors import AirflowAnswerUnusable, AirflowNotFound, AirflowRefused
from dagcall.plain_json import Json

ASKED_ONE_BY_ONE = 5
"""Up to how many runs of a dag are asked one by one for questions."""

RunKey = tuple[str, str]
"""dag id, run id"""


@dataclass(frozen=True, slots=True)
class DagQuery:
    """Which dags to list: with this tag, or with this text in the id. Both empty: all."""

    tag: str | None = None
    dag_id_like: str | None = None
    """Airflow matches it as SQL's ILIKE `%…%`: too broad, so filter the answer again."""


@dataclass(slots=True)
class _RunName:
    dag_id: str
    dag_run_id: str


@dataclass(slots=True)
class _RunNames:
    dag_runs: list[_RunName]


@dataclass(slots=True)
class RunEnd:
    """How a run ended, and when."""

    dag_id: str
    dag_run_id: str
    state: RunState
    end_date: datetime | None


@dataclass(slots=True)
class _RunEnds:
    dag_runs: list[RunEnd]


_RUN_NAMES = TypeAdapter(_RunNames)
"""Parses only the ids of a list of runs: twenty fields of ten thousand runs would pause every call."""
_RUN_ENDS = TypeAdapter(_RunEnds)
"""Likewise: the same recently ended runs are listed repeatedly."""


class AirflowApi:
    """One Airflow.

    Args:
        rest: sends requests.
        ui_url: the address for links, if it differs from the API's.
    """

    def __init__(self, rest: AirflowRest, *, ui_url: str | None = None) -> None:
        self._rest = rest
        self._ui_url = ui_url or rest.url
        self._version: tuple[int, ...] | None = None

    @property
    def url(self) -> str:
        """The address of Airflow's UI."""
        return self._rest.url

    @property
    def rest(self) -> AirflowRest:
        """Sends requests; the waiter gets places for streams from its gate."""
        return self._rest

    @property
    def has_account(self) -> bool:
        """Whether it shows only what dagcall's account may see."""
        return True

    def now(self) -> datetime:
        """Return the current time by Airflow's clock."""
        return self._rest.clock.now()

    async def version(self) -> tuple[int, ...]:
        """Return Airflow's version as last fetched, e.g. `(3, 3, 2)`."""
        return self._version or await self.fetch_version()

    async def fetch_version(self) -> tuple[int, ...]:
        """Fetch Airflow's version.

        Raises:
            AirflowAnswerUnusable: it is below 3.1, or not Airflow.
        """
        try:
            text = await self._rest.get(
                "version", purpose=Purpose.DISCOVERY, is_anonymous=True, read=lambda data: str(data["version"])
            )
        except AirflowNotFound as error:
            raise AirflowAnswerUnusable(
                f"{self.url} does not answer as Airflow 3.1 or newer does (no /api/v2/version); "
                "check the URL and Airflow's version"
            ) from error
        version = version_in(text)
        if version < OLDEST:
            raise AirflowAnswerUnusable(f"{self.url} is Airflow {text}; dagcall needs 3.1 or newer")
        self._version = version
        return version

    # Dags

    async def fetch_dags(self, query: DagQuery) -> tuple[DagSummary, ...]:
        """Return the matching dags without stale ones, sorted by id; reads all pages."""
        asked: dict[str, str | bool] = {"order_by": "dag_id", "exclude_stale": True}
        if query.tag is not None:
            asked["tags"] = query.tag
        if query.dag_id_like is not None:
            asked["dag_id_pattern"] = query.dag_id_like
        return await all_pages(self._rest, "dags", asked, "dags", DagSummary.from_json, purpose=Purpose.DISCOVERY)

    async def count_dags(self) -> int:
        """Return how many dags the account may see, without stale ones."""
        return await self._rest.get(
            "dags",
            purpose=Purpose.DISCOVERY,
            query={"exclude_stale": True, "limit": 1},
            read=lambda data: int(data["total_entries"]),
        )

    async def fetch_versions(self, *, since: str | None = None) -> tuple[DagVersion, ...]:
        """Return the newest versions of all dags that the account may see, newest first, in whole pages.

        Args:
            since: an earlier version; reads pages until one reaches back to it. None for one page.

        Raises:
            AirflowRefused: the account may not read versions (with FAB: can_read on DAG Versions).
        """
        found: list[DagVersion] = []
        while True:
            page = await self._rest.get(
                "dags/~/dagVersions",
                purpose=Purpose.DISCOVERY,
                query={"order_by": "-id", "limit": PAGE, "offset": len(found)},
                read=lambda data: [DagVersion.from_json(item) for item in data["dag_versions"]],
            )
            found += page
            if since is None or len(page) < PAGE or page[-1].version_id <= since:
                return tuple(found)

    async def fetch_ignores_conf(self) -> bool:
        """Return whether Airflow ignores a run's conf (`[core] dag_run_conf_overrides_params = False`).

        Raises:
            AirflowRefused: Airflow does not expose its configuration (`[api] expose_config`); this is the default.
        """
        value = await self._rest.get(
            "config/section/core/option/dag_run_conf_overrides_params",
            purpose=Purpose.DISCOVERY,
            read=lambda data: str(data["sections"][0]["options"][0]["value"]),
        )
        return value.strip().lower() in {"f", "false", "0"}  # as Airflow itself reads it

    async def fetch_summary(self, dag_id: str) -> DagSummary:
        """Return the current state of a dag.

        Raises:
            AirflowNotFound: there is no such dag, or the account may not see it.
        """
        return await self._rest.get(dag_path(dag_id), purpose=Purpose.TRIGGER, read=DagSummary.from_json)

    async def fetch_dag(self, dag_id: str) -> Dag:
        """Return a dag with its params and texts.

        Raises:
            AirflowNotFound: there is no such dag, or the account may not see it.
        """
        return await self._rest.get(f"{dag_path(dag_id)}/details", purpose=Purpose.DISCOVERY, read=Dag.from_json)

    async def fetch_tasks(self, dag_id: str, *, purpose: Purpose = Purpose.RESULT) -> tuple[Task, ...]:
        """Return the tasks of the dag's newest version."""
        return await self._rest.get(
            f"{dag_path(dag_id)}/tasks",
            purpose=purpose,
            read=lambda data: tuple(Task.from_json(task) for task in data["tasks"]),
        )

    async def fetch_import_errors(self) -> ImportErrors:
        """Return Airflow's import errors, one page of them, without retries: they are only a hint."""
        try:
            return await self._rest.get(
                "importErrors",
                purpose=Purpose.DISCOVERY,
                query={"limit": PAGE},
                read=lambda data: ImportErrors(
                    [BrokenFile.from_json(item) for item in data["import_errors"]], int(data["total_entries"])
                ),
                attempts=1,
            )
        except AirflowRefused:
            return ImportErrors(may_be_read=False)

    # Runs

    async def trigger(
        self,
        dag_id: str,
        *,
        run_id: str,
        conf: Mapping[str, Json],
        logical_date: datetime | None,
        note: str,
        who: str = "",
        account: Account | None = None,
        on_send: Callable[[], None] | None = None,
    ) -> Run:
        """Start a run. Without retries: the caller decides what a lost answer means.

        `on_send` is called when the request is sent; before, it has no effect.

        Raises:
            AirflowConflict: a run with this id, or with this logical date, exists.
            AirflowNotFound: there is no such dag.
            AirflowRejected: the conf does not match the params, or the dag cannot be triggered.
            AirflowUnreachable: no answer; `is_effect_possible` says whether the run may exist.
        """
        path = f"{dag_path(dag_id)}/dagRuns"
        body = {
            "dag_run_id": run_id,
            "logical_date": None if logical_date is None else logical_date.isoformat(),
            "conf": dict(conf),
            "note": note,
        }
        return await self._rest.change(
            "POST",
            path,
            purpose=Purpose.TRIGGER,
            body=body,
            read=Run.from_json,
            who=who,
            credentials=_credentials_of(account),
            on_send=on_send,
        )

    async def fetch_run(
        self, dag_id: str, run_id: str, *, attempts: int = READ_ATTEMPTS, purpose: Purpose = Purpose.RESULT
    ) -> Run:
        """Return a run in its current state.

        Raises:
            AirflowNotFound: there is no such run.
        """
        path = run_path(dag_id, run_id)
        return await self._rest.get(path, purpose=purpose, read=Run.from_json, attempts=attempts)

    async def fetch_runs_with_prefix(
        self, dag_id: str | None, run_id_prefix: str, *, limit: int = PAGE
    ) -> tuple[Run, ...]:
        """Return the newest runs whose ids have this prefix, newest first.

        `run_id_pattern` is an ILIKE in every version, so the answer is filtered again.

        Args:
            dag_id: the runs' dag; None for any dag.
            run_id_prefix: the beginning of the run ids.
            limit: how many runs to look at; more than a page takes several requests.
        """
        found: dict[RunKey, Run] = {}
        for offset in range(0, limit, PAGE):
            size = min(PAGE, limit - offset)
            runs = await self._rest.get(
                "dags/~/dagRuns",
                purpose=Purpose.TRIGGER,
                query={"run_id_pattern": run_id_prefix, "order_by": "-run_after", "limit": size, "offset": offset},
                read=lambda data: [Run.from_json(run) for run in data["dag_runs"]],
            )
            found |= {(run.dag_id, run.run_id): run for run in runs}
            if len(runs) < size:
                break
        return tuple(
            run for run in found.values() if dag_id in {None, run.dag_id} and run.run_id.startswith(run_id_prefix)
        )

    async def set_run_failed(
        self, dag_id: str, run_id: str, *, note: str | None = None, account: Account | None = None
    ) -> Run:
        """Set a run to failed, which stops its tasks. The caller has checked that it has not ended.

        Args:
            dag_id: the run's dag.
            run_id: the run.
            note: replaces the run's note; None to keep it.
            account: the account to use; None: dagcall's own.
        """
        path = run_path(dag_id, run_id)
        body = {"state": RunState.FAILED} | ({} if note is None else {"note": note})
        return await self._rest.change(
            "PATCH",
            path,
            purpose=Purpose.TRIGGER,
            body=body,
            read=Run.from_json,
            credentials=_credentials_of(account),
        )

    async def fetch_notes(self, runs: Collection[Run]) -> dict[RunKey, str]:
        """Return the current notes of ended runs that were created one soon after the other; deleted runs are missing.

        One request for all. One more for each run that has no place in its answer, among the other runs of that time.
        """
        keys = {(run.dag_id, run.run_id) for run in runs}
        notes: dict[RunKey, str] = {}
        if len(runs) > 1:
            body = {
                "dag_ids": sorted({run.dag_id for run in runs}),
                "states": [RunState.SUCCESS, RunState.FAILED],
                "run_after_gte": min(run.run_after for run in runs).isoformat(),
                "run_after_lte": max(run.run_after for run in runs).isoformat(),
                "order_by": "run_after",
                "page_limit": 2 * len(runs),
            }
            listed = await self._rest.ask(
                RUN_LIST,
                purpose=Purpose.DISCOVERY,
                body=body,
                read=lambda data: [Run.from_json(run) for run in data["dag_runs"]],
            )
            notes = {key: run.note for run in listed if (key := (run.dag_id, run.run_id)) in keys}
        for dag_id, run_id in keys - notes.keys():
            with suppress(AirflowNotFound):
                notes[dag_id, run_id] = (await self.fetch_run(dag_id, run_id)).note
        return notes

    async def set_notes(self, notes: Mapping[tuple[str, str], str]) -> None:
        """Replace the notes of runs: (dag id, run id) -> note.

        From Airflow 3.3 on, several use one request; the account needs the right for all their dags.
        """
        if len(notes) > 1 and await self.version() >= BULK_RUNS:
            entities = [{"dag_id": dag, "dag_run_id": run, "note": note} for (dag, run), note in notes.items()]
            action = {
                "action": "update",
                "action_on_non_existence": "skip",
                "update_mask": ["note"],
                "entities": entities,
            }
            await self._rest.change(
                "PATCH", "dags/~/dagRuns", purpose=Purpose.DISCOVERY, body={"actions": [action]}, read=_ignore
            )
            return
        for (dag_id, run_id), note in notes.items():
            await self.set_note(dag_id, run_id, note)

    async def set_note(self, dag_id: str, run_id: str, note: str) -> None:
        """Replace the note of a run."""
        await self._rest.change(
            "PATCH", run_path(dag_id, run_id), purpose=Purpose.DISCOVERY, body={"note": note}, read=_ignore
        )

    async def fetch_finished_runs(
        self, dag_ids: list[str], *, since: datetime, triggered_since: datetime
    ) -> tuple[RunEnd, ...]:
        """Return the runs of these dags that ended at `since` or later, by end date; one request for all.

        Leaves out runs triggered before `triggered_since`.

        Unlike `GET /dags/{dag_id}/dagRuns`, the batch endpoint does not load the dag.
        """
        body = {
            "dag_ids": dag_ids,
            "states": [RunState.SUCCESS, RunState.FAILED],
            "end_date_gte": since.isoformat(),
            "run_after_gte": triggered_since.isoformat(),
            "order_by": "end_date",
        }
        return await all_batches(
            self._rest,
            RUN_LIST,
            body,
            "dag_runs",
            lambda run: run,
            decode=lambda text: {"dag_runs": _RUN_ENDS.validate_json(text).dag_runs},
            attempts=1,
        )

    async def fetch_unfinished_run_ids(self, dag_ids: list[str]) -> frozenset[tuple[str, str]]:
        """Return (dag id, run id) of every run of these dags that is queued or running."""
        body = {"dag_ids": dag_ids, "states": [RunState.QUEUED, RunState.RUNNING], "order_by": "run_after"}
        ids = await all_batches(
            self._rest,
            RUN_LIST,
            body,
            "dag_runs",
            lambda run: (run.dag_id, run.dag_run_id),
            decode=lambda text: {"dag_runs": _RUN_NAMES.validate_json(text).dag_runs},
            attempts=1,
        )
        return frozenset(ids)

    async def fetch_newest_unfinished(self, dag_id: str) -> tuple[str, ...]:
        """Return the ids of the newest queued or running runs of a dag; at most one page."""
        body = {
            "dag_ids": [dag_id],
            "states": [RunState.QUEUED, RunState.RUNNING],
            "order_by": "-run_after",
            "page_limit": PAGE,
        }
        return await self._rest.ask(
            RUN_LIST,
            purpose=Purpose.TRIGGER,
            body=body,
            decode=_RUN_NAMES.validate_json,
            read=lambda names: tuple(run.dag_run_id for run in names.dag_runs if run.dag_id == dag_id),
        )

    async def stream_states(
        self, dag_id: str, run_id: str, *, interval_seconds: float, result_task_ids: tuple[str, ...] | None = None
    ) -> Stream[tuple[RunState, dict[str, Json] | None]]:
        """Stream a run's state, once per interval, from now until it is final.

        The final state comes with the results of the named tasks, as `xcoms.fetch_results` returns them; None with any
        other state, below 3.3, and if no task is named.

        The stream may end without a final state (the run was deleted, Airflow restarted): the state is then unknown.
        The caller holds a place in the gate (`Purpose.STREAM`), and closes the stream.

        Raises:
            AirflowUnreachable, AirflowNotFound, AirflowRefused: as everywhere, also while streaming.
        """
        path = f"{run_path(dag_id, run_id)}/wait"
        query: Query = {"interval": interval_seconds}
        has_results = False
        if result_task_ids is not None and await self.version() >= RESULTS_THROUGH_WAIT:
            query, has_results = {**query, "result": result_task_ids}, True

        def parse(text: str) -> tuple[RunState, dict[str, Json] | None]:
            data = json.loads(text)
            state = RunState(data["state"])
            return state, dict(data.get("results") or {}) if has_results and state.is_final else None

        return await self._rest.stream(path, query=query, silence_seconds=interval_seconds + READ_SECONDS, parse=parse)

    # Tasks

    async def fetch_task_instances(
        self, dag_id: str, run_id: str, *, task_ids: tuple[str, ...] | None = None
    ) -> tuple[TaskInstance, ...]:
        """Return the task instances of a run, or those of the named tasks."""
        body: dict[str, Any] = {"dag_ids": [dag_id], "dag_run_ids": [run_id]}
        if task_ids is not None:
            body["task_ids"] = list(task_ids)
        return await all_batches(self._rest, TASK_INSTANCE_LIST, body, "task_instances", TaskInstance.from_json)

    async def fetch_insides(
        self, runs: Collection[RunKey], states: Collection[str] | None = None, *, purpose: Purpose = Purpose.RESULT
    ) -> dict[RunKey, list[TaskInstance]]:
        """Return the task instances of several runs, or those in one of these states; one request for all.

        States unknown to this Airflow are dropped. Runs without matching instances are missing from the answer.
        """
        body: dict[str, Any] = {
            "dag_ids": sorted({dag_id for dag_id, _ in runs}),
            "dag_run_ids": sorted({run_id for _, run_id in runs}),
        }
        if states is not None:
            body["state"] = known_states(await self.version(), states)
        pairs = await all_batches(
            self._rest,
            TASK_INSTANCE_LIST,
            body,
            "task_instances",
            lambda data: (run_key(data), TaskInstance.from_json(data)),
            attempts=1,
            purpose=purpose,
        )
        insides: dict[RunKey, list[TaskInstance]] = {}
        for key, instance in pairs:
            insides.setdefault(key, []).append(instance)
        return insides

    async def fetch_log(self, dag_id: str, run_id: str, instance: TaskInstance) -> tuple[LogEvent, ...]:
        """Return the log of a task instance's latest try, without retries.

        Airflow reads it from a worker or from a store of logs.

        Raises:
            AirflowNotFound, AirflowRefused: there is no log, or the account may not read it.
            AirflowUnreachable: the log cannot be read now.
        """
        path = f"{task_path(dag_id, run_id, instance.task_id)}/logs/{instance.try_number}"
        return await self._rest.get(
            path,
            purpose=Purpose.RESULT,
            query={"map_index": instance.map_index, "full_content": True},
            read=lambda data: tuple(LogEvent.from_json(event) for event in data["content"]),
            attempts=1,
        )

    # People

    async def fetch_questions(self, runs: Collection[RunKey]) -> tuple[Question, ...]:
        """Return the open questions of these runs, oldest first.

        Airflow filters by one run or one dag: a few runs of a dag use one request each, more of them one request whose
        answer is filtered again.

        Args:
            runs: the runs; not empty.
        """
        states = known_states(await self.version(), MAY_WAIT_FOR_PEOPLE)
        query: Query = {"response_received": False, "state": states, "order_by": "created_at"}

        def parse(data: Any) -> Question | None:
            return Question.from_json(data, ui_url=self._ui_url) if is_open(data) else None

        found: list[Question] = []
        for path in _where_runs_are(runs):
            listed = await all_pages(self._rest, f"{path}/hitlDetails", query, "hitl_details", parse)
            found += (question for question in listed if question and (question.dag_id, question.run_id) in runs)
        return tuple(sorted(found, key=lambda question: question.asked_at))

    async def respond(self, question: Question, response: Response, *, account: Account | None = None) -> None:
        """Answer a question. Without retries: the caller decides what a lost answer means.

        Raises:
            AirflowConflict: it was already answered.
            AirflowNotFound: the task no longer asks.
            AirflowRefused: the account may not answer it.
            AirflowRejected: the response is invalid (Airflow 3.3; below, the task fails later).
        """
        task = task_path(question.dag_id, question.run_id, question.task_id)
        path = f"{task}/{question.map_index}/hitlDetails"
        body = {"chosen_options": list(response.chosen_options), "params_input": dict(response.params_input)}
        await self._rest.change(
            "PATCH", path, purpose=Purpose.RESULT, body=body, read=_ignore, credentials=_credentials_of(account)
        )

    async def user_id(self, account: Account | None = None) -> str | None:
        """Return the id of an account (None: dagcall's own); None if it is unknown.

        Raises:
            AirflowRefused: the account cannot log in.
            AirflowUnreachable: Airflow did not answer.
        """
        return await (_credentials_of(account) or self._rest.credentials).user_id()

    def run_url(self, dag_id: str, run_id: str) -> str:
        """Return the address of a run in Airflow's UI."""
        return f"{self._ui_url}/{dag_path(dag_id)}/runs/{segment(run_id)}"


def _where_runs_are(runs: Collection[RunKey]) -> list[str]:
    """Return few paths that together contain all these runs, and few others."""
    of_dag: dict[str, list[str]] = {}
    for dag_id, run_id in sorted(runs):
        of_dag.setdefault(dag_id, []).append(run_id)
    paths: list[str] = []
    for dag_id, run_ids in of_dag.items():
        some = run_ids if len(run_ids) <= ASKED_ONE_BY_ONE else ["~"]
        paths += (run_path(dag_id, run_id) if run_id != "~" else f"{dag_path(dag_id)}/dagRuns/~" for run_id in some)
    return paths


def _ignore(_: Any) -> None:
    """Ignore the content of an answer."""


def _credentials_of(account: Account | None) -> Credentials | None:
    return None if account is None else account.credentials
