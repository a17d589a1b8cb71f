"""MCP's tasks extension: a call that returns a handle at once, and the requests that follow it.

For clients that declare `io.modelcontextprotocol/tasks` (revision 2026-07-28). The run in Airflow is the task, so any
replica can serve any request; `task_pollers` only makes it faster. A task ends with the answer that the plain call
would have had, including a failed run and a question that cannot be asked here.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolResult,
    ElicitResult,
)
from pydantic import ValidationError

from dagcall.airflow import Question
from dagcall.auth import Accounts, Caller
from dagcall.errors import AirflowError, OutcomeUnknown, RunError, UnknownRun
from dagcall.mcp.answers import error_result
from dagcall.mcp.audit import Audit
from dagcall.mcp.delivery import Deliveries
from dagcall.mcp.elicitation import (
    CLOSED,
    DECLINED,
    MAX_TRIES,
    UNFIT,
    accepted,
    answerable,
    can_ask,
    input_requests,
    is_closed,
    is_declined,
    not_taken_from,
)
from dagcall.mcp.renderer import Renderer
from dagcall.mcp.request import Context, Origin, caller_id_of, caller_of
from dagcall.mcp.task_guard import guarded
from dagcall.mcp.task_pollers import TaskPoller, TaskPollers
from dagcall.mcp.task_protocol import (
    EXTENSION,
    Failure,
    Handle,
    Sealer,
    Status,
    TaskParams,
    TaskSnapshot,
    UpdateParams,
    provenance_of,
    result_json,
    status_message,
    with_provenance,
)
from dagcall.mcp.unanswered import Reason, mark, sentence, times
from dagcall.plain_json import Json
from dagcall.runs import (
    LONGEST_SECONDS,
    MAX_QUESTIONS,
    POLL_SHORTEST_SECONDS,
    Answer,
    Call,
    Entry,
    Runs,
    says_cancelled,
)
from dagcall.text import visible
from dagcall.tools import Catalog, Tool

logger = logging.getLogger(__name__)

UNDELIVERED_SECONDS = 0.1
"""How long a new run is waited for until its handle was sent."""
PERSON_SECONDS = 3600.0
"""How long a poller is kept while a person is asked; the client does not poll meanwhile."""
READ_SECONDS = 2.0
"""How long a request waits for the results of an ended run."""
TRY_MARK = "#"
NOT_FITTING = "it is invalid for the question"
"""The reason if another replica received the answer."""

P = TypeVar("P", bound=TaskParams)


class Tasks:
    """Serves the tasks extension.

    Args:
        sdk: the server to add the extension to.
        catalog: the published tools.
        runs: starts runs and waits for them.
        accounts: the Airflow accounts for callers.
        audit: logs requests.
        key: seals the ids of failed calls' tasks; the same for all replicas.
        renderer: renders answers.
        deliveries: deliver outcomes to callers.
        wall_clock: the time in UTC, for tests.
    """

    def __init__(
        self,
        sdk: Server[Any],
        catalog: Catalog,
        runs: Runs,
        *,
        accounts: Accounts,
        audit: Audit,
        key: bytes,
        renderer: Renderer,
        deliveries: Deliveries,
        wall_clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._catalog = catalog
        self._runs = runs
        self._accounts = accounts
        self._audit = audit
        self._renderer = renderer
        self._deliveries = deliveries
        self._now = wall_clock or (lambda: datetime.now(UTC))  # noqa: TID251 - the real clock, except in tests
        self._sealer = Sealer(key)
        self._pollers = TaskPollers(runs, self._now)
        sdk.extensions[EXTENSION] = {}
        sdk.add_request_handler("tasks/get", TaskParams, self._audited(guarded(self._get)))
        sdk.add_request_handler("tasks/update", UpdateParams, self._audited(guarded(self._update)))
        sdk.add_request_handler("tasks/cancel", TaskParams, self._audited(guarded(self._cancel)))

    async def aclose(self) -> None:
        """Stop all pollers."""
        await self._pollers.aclose()

    async def create(self, ctx: Context, call: Call) -> dict[str, Json]:
        """Start a call and return its task, even if the run has already ended.

        A client that asked for a task may treat a direct answer as an error (FastMCP's does) and lose the outcome.
        Every task starts as `working`, as the extension requires: the answer that creates a task cannot contain the
        result, so a client that saw a final status would never fetch it.

        Args:
            ctx: the request.
            call: the call; its deadline limits the start.

        Raises:
            CallerError: nothing was started.
            AirflowError: Airflow gave no usable answer; the message says what is known of the run.
        """
        started = await self._runs.begin(call)
        poller = self._pollers.begin(
            call.tool, started.run, started, provenance=provenance_of(started), seconds=UNDELIVERED_SECONDS
        )
        # If the answer is lost, the run goes to the next identical call; if it is delivered, the client will poll.
        arrival = Entry(started.run.run_id, None, on_delivered=lambda: self._pollers.expect(poller))
        self._deliveries.of(ctx)(arrival)
        return self._working(poller).as_json() | {"resultType": "task"}

    def failed(self, ctx: Context, tool: str, text: str) -> dict[str, Json]:
        """Return the task of a failed call.

        Args:
            ctx: the request.
            tool: the called tool.
            text: the error text.
        """
        failure = self._sealer.sealed(text, tool=tool, caller=caller_id_of(ctx), at=self._now())
        return _failed_snapshot(failure, "working").as_json() | {"resultType": "task"}

    # Requests

    async def _get(self, ctx: Context, params: TaskParams) -> dict[str, Json]:
        if failure := self._sealed(ctx, params):
            result = error_result(failure.text)
            return _failed_snapshot(failure, "completed").as_json(result=result_json(result))
        handle = self._own(ctx, params)
        poller = self._pollers.of(handle)
        if poller is None:
            poller = await self._begin(ctx, handle)
            if says_cancelled(poller.run):
                self._pollers.drop(poller)
                return self._cancelled(poller)
        self._pollers.expect(poller)
        if not await poller.has_answer(READ_SECONDS if poller.run.state.is_final else 0):
            return self._working(poller).as_json()
        try:
            answer = poller.answer.result()
        except OutcomeUnknown as error:  # the outcome may still come: the next request starts a new wait
            self._pollers.drop(poller)
            return replace(self._working(poller), message=str(error), poll_seconds=LONGEST_SECONDS).as_json()
        except RunError as error:
            return await self._failed(ctx, poller, error_result(str(error)))
        answer = with_provenance(answer, handle.provenance)
        if answer.failure:
            return await self._failed(ctx, poller, self._renderer.result(ctx, poller.tool, answer))
        if answer.results is not None:
            return self._completed(ctx, poller, self._renderer.result(ctx, poller.tool, answer), "done")
        if answer.questions and (questions := await self._runs.open_questions(poller.run)):
            return await self._asking(ctx, poller, replace(answer, questions=questions))
        self._pollers.drop(poller)  # answered, or the wait has ended: start a new one
        return self._working(await self._begin(ctx, handle)).as_json()

    async def _update(self, ctx: Context, params: UpdateParams) -> dict[str, Json]:
        if self._sealed(ctx, params):
            return {}
        handle = self._own(ctx, params)
        poller = self._pollers.of(handle) or await self._begin(ctx, handle)
        asked = {question.key: question for question in await self._runs.open_questions(poller.run)}
        given = {_question_key(key): value for key, value in params.input_responses.items()}
        responses = {key: _elicited(value) for key, value in given.items() if key in asked}
        contents, _ = accepted(responses)
        origin = Origin.of(ctx)
        account = self._accounts.of(origin.caller)
        delivery = await self._runs.respond(
            poller.tool,
            poller.run.run_id,
            caller=origin.caller.id,
            contents=contents,
            who=origin.who,
            account=account,
        )
        poller.problems = delivery.problems
        left: list[tuple[str, Reason]] = [(question.key, "refused") for question in delivery.refused]
        left += [(key, "unfit") for key in delivery.problems]
        left += [(key, "declined") for key, response in responses.items() if is_declined(response)]
        left += [(key, "closed") for key, response in responses.items() if is_closed(response)]
        for key, reason in left:
            question, noted = asked[key], mark(asked[key], reason)
            if not await self._runs.note(poller.run, sentence(question, reason, origin.who), noted):
                poller.marks.append(noted)
        return {}

    async def _cancel(self, ctx: Context, params: TaskParams) -> dict[str, Json]:
        if self._sealed(ctx, params):
            return {}
        handle, caller = self._own(ctx, params), caller_of(ctx)
        tool = await self._tool(ctx, handle)
        await self._runs.cancel(tool, handle.run_id, caller=caller.id, account=self._accounts.of(caller))
        if poller := self._pollers.of(handle):
            self._pollers.drop(poller)
        return {}

    def _sealed(self, ctx: Context, params: TaskParams) -> Failure | None:
        """Return the failed call in a task's id; None for the task of a run."""
        return self._sealer.opened(params.task_id, caller=caller_id_of(ctx))

    def _own(self, ctx: Context, params: TaskParams) -> Handle:
        """Return the handle of the caller's task; pollers are shared between all callers.

        Raises:
            UnknownRun: the caller started no such run, or no longer has its tool.
        """
        handle, caller = Handle.from_task_id(params.task_id), caller_of(ctx)
        self._runs.require_own(handle.run_id, caller=caller.id)
        poller = self._pollers.of(handle)
        if poller is not None and not self._catalog.may_use(caller, poller.tool):
            raise UnknownRun(f"unknown tool {handle.tool!r}")
        return handle

    async def _begin(self, ctx: Context, handle: Handle) -> TaskPoller:
        """Start to wait for the run of a task that was created long ago, or by another replica."""
        tool = await self._tool(ctx, handle)
        run = await self._runs.read(tool, handle.run_id, caller=caller_id_of(ctx))
        return self._pollers.begin(tool, run, provenance=handle.provenance)

    async def _tool(self, ctx: Context, handle: Handle) -> Tool:
        await self._catalog.wait_until_read()
        return self._catalog.tool(handle.tool, caller_of(ctx))

    def _audited(
        self, handler: Callable[[Context, P], Awaitable[dict[str, Json]]]
    ) -> Callable[[Context, P], Awaitable[dict[str, Json]]]:
        async def audited(ctx: Context, params: P) -> dict[str, Json]:
            handle = Handle.from_task_id(params.task_id)
            dag = tool.dag_id if (tool := self._catalog.snapshot.tools.get(handle.tool)) else None
            asked = params.model_dump(mode="json", exclude={"meta"})
            with self._audit.request(
                Origin.of(ctx),
                ctx.method,
                asked,
                tool=handle.tool,
                dag=dag,
                about=handle.run_id,
                published=handle.tool if tool else "",
            ) as line:
                answer = await handler(ctx, params)
                if ctx.method == "tasks/get":
                    line.looked(answer)
                return answer

        return audited

    def _deliver(self, ctx: Context, poller: TaskPoller) -> None:
        if poller.entry is not None:
            self._deliveries.of(ctx)(poller.entry)

    # Answers

    def _snapshot(self, poller: TaskPoller, status: Status, message: str) -> TaskSnapshot:
        return TaskSnapshot(
            poller.handle.task_id,
            status,
            message,
            created_at=poller.run.run_after,
            updated_at=poller.updated_at,
            poll_seconds=poller.poll_seconds,
        )

    def _working(self, poller: TaskPoller) -> TaskSnapshot:
        observer = poller.observer
        message = status_message(
            poller.handle,
            poller.stage,
            progress_text=observer.progress_text if observer else "",
            usual_seconds=observer.usual_seconds if observer else None,
        )
        return self._snapshot(poller, "working", message)

    def _completed(self, ctx: Context, poller: TaskPoller, result: CallToolResult, what: str) -> dict[str, Json]:
        self._deliver(ctx, poller)
        message = status_message(poller.handle, what)
        return self._snapshot(poller, "completed", message).as_json(result=result_json(result))

    def _cancelled(self, poller: TaskPoller) -> dict[str, Json]:
        message = (
            f"Run {poller.run.run_id} of dag {poller.run.dag_id} was set to failed because this task was cancelled. "
            "What its tasks had already done is not undone."
        )
        return self._snapshot(poller, "cancelled", message).as_json()

    async def _failed(self, ctx: Context, poller: TaskPoller, result: CallToolResult) -> dict[str, Json]:
        """Distinguish a run that failed from one that was cancelled, perhaps through another replica."""
        try:
            run = await self._runs.look(poller.tool, poller.run.run_id, caller=caller_id_of(ctx))
        except (UnknownRun, AirflowError):
            run = poller.run
        if says_cancelled(run):
            return self._cancelled(poller)
        return self._completed(ctx, poller, result, "failed")

    async def _asking(self, ctx: Context, poller: TaskPoller, answer: Answer) -> dict[str, Json]:
        """Ask the person; if that is impossible here, answer as a plain call does."""
        self._pollers.expect(poller, PERSON_SECONDS)
        caller = caller_of(ctx)
        run = await self._runs.read(poller.tool, poller.run.run_id, caller=caller.id)
        note = " ".join([run.note, *poller.marks])
        notice = self._notice(note, answer.questions, caller)
        ours = await answerable(self._runs, answer.questions, lambda: self._accounts.of(caller))
        tries = {question.key: times(note, question, "unfit") for question in ours[:MAX_QUESTIONS]}
        problems = {key: poller.problems.get(key, (NOT_FITTING,)) for key, number in tries.items() if number}
        requests = input_requests(ours[:MAX_QUESTIONS], problems, revision=ctx.protocol_version)
        if notice or not requests or not can_ask(ctx.session):
            result = self._renderer.result(ctx, poller.tool, replace(answer, notice=notice))
            return self._completed(ctx, poller, result, "waiting for a person")
        asked = {
            _asked_key(key, tries[key]): request.model_dump(mode="json", by_alias=True, exclude_none=True)
            for key, request in requests.items()
        }
        names = ", ".join(question.name for question in ours if question.key in requests)
        message = status_message(poller.handle, "waiting for a person to answer", progress_text=names)
        snapshot = replace(self._snapshot(poller, "input_required", message), poll_seconds=LONGEST_SECONDS)
        return snapshot.as_json(inputRequests=asked)

    def _notice(self, note: str, questions: tuple[Question, ...], caller: Caller) -> str:
        """Return why the person is not asked again, according to the run's note; empty if they are."""

        def is_any(reason: Reason, least: int = 1) -> bool:
            return any(times(note, question, reason) >= least for question in questions)

        if is_any("refused"):
            return not_taken_from(self._accounts.of(caller))
        if is_any("declined"):
            return DECLINED
        if is_any("closed"):
            return CLOSED
        return UNFIT if is_any("unfit", MAX_TRIES) else ""


def _failed_snapshot(failure: Failure, status: Status) -> TaskSnapshot:
    message = visible(failure.text.partition("\n")[0])
    return TaskSnapshot(failure.task_id, status, message, failure.at, failure.at, POLL_SHORTEST_SECONDS)


def _asked_key(question_key: str, tries: int) -> str:
    """Return a new key for a question that is asked again: clients answer each key only once."""
    return f"{question_key}{TRY_MARK}{tries + 1}" if tries else question_key


def _question_key(key: str) -> str:
    return key.partition(TRY_MARK)[0]


def _elicited(value: Json) -> object:
    try:
        return ElicitResult.model_validate(value)
    except ValidationError:
        return value
