"""One call from start to end: validate, start, wait, read the outcome; and what a caller may do with a run afterwards.

`starting` gives a call its one run, `waiter` notices the run's end, `results` reads its outcome.

Longer than most modules, because whatever a caller may do with a run is found here.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime

from dagcall.airflow import Account, AirflowApi, Purpose, Question, Run, RunState
from dagcall.errors import (
    AirflowError,
    AirflowNotFound,
    AirflowRefused,
    OutcomeUnknown,
    RunError,
    TriggerRefused,
    UnknownRun,
    Unreadable,
)
from dagcall.masking import Masker
from dagcall.plain_json import Json
from dagcall.results import FailureReader, ResultReader, ResultsCache
from dagcall.runs.answer import Answer
from dagcall.runs.answering import Answering, in_words
from dagcall.runs.call import IN_LINE, Call, Listener, Started
from dagcall.runs.cancel import Cancelling, Counted
from dagcall.runs.deadlines import Deadlines
from dagcall.runs.delivery_marks import DeliveryMarks, says_answered
from dagcall.runs.hitl_replies import HitlReplies, TakenReplies
from dagcall.runs.ledger import Entry, Ledger
from dagcall.runs.quotas import Quotas
from dagcall.runs.run_ids import Identity
from dagcall.runs.starting import Starter
from dagcall.runs.task_progress import are_ready
from dagcall.runs.waiter import Waiter
from dagcall.tools import WAIT_TOOL_NAME, Catalog, Tool

DRAIN_SECONDS = 1.0
"""How long requests to Airflow may still take during shutdown; sending the answers takes time, too."""


class Runs:
    """Makes calls.

    Args:
        api: Airflow.
        catalog: refreshed when a dag has changed.
        waiter: watches the runs.
        identity: makes the run ids.
        failure_reader: reads why a run failed.
        masker: masks dagcall's own secrets in results.
        quotas: limits per caller.
        wall_clock: the time in UTC.
    """

    def __init__(
        self,
        api: AirflowApi,
        catalog: Catalog,
        waiter: Waiter,
        identity: Identity,
        *,
        failure_reader: FailureReader,
        masker: Masker,
        quotas: Quotas | None = None,
        wall_clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._now = asyncio.get_running_loop().time
        clock = wall_clock or (lambda: datetime.now(UTC))  # noqa: TID251 - the real one, but for tests
        self._api = api
        self._identity = identity
        self._masker = masker
        self._result_reader = ResultReader(api, masker)
        self._deadlines = Deadlines()
        self._answering = Answering(api, waiter, self._result_reader, failure_reader, self._deadlines)
        self._ledger = Ledger()
        self._cancelling = Cancelling(api, self._ledger)
        self._delivery_marks = DeliveryMarks(api, now=self._now)
        self._hitl_replies = HitlReplies(api, wall_clock=clock)
        self._results_cache = ResultsCache()
        self._quotas = quotas or Quotas(api)
        self._starter = Starter(
            api,
            catalog,
            identity,
            self._ledger,
            self._quotas,
            deadlines=self._deadlines,
            on_disconnect=self._cancelling.caller_disconnected,
            now=self._now,
            wall_clock=clock,
        )

    def in_line(self, caller: str) -> int:
        """Return how many calls of this caller wait to be started, without those of other callers."""
        return self._api.rest.gate.waiting_for(Purpose.TRIGGER, caller)

    async def call(self, call: Call) -> Answer:
        """Run the dag and return its results, or what is known of the run at the call's deadline.

        Raises:
            CallerError: nothing was started.
            RunError: the run was deleted, or its outcome is unknown.
            AirflowError: a request to Airflow failed; the message says what is known of the run.
        """
        call.listener.on_stage(IN_LINE)
        started = await self.begin(call)
        return await self.attend(call.tool, started.run, call.listener, started)

    async def begin(self, call: Call) -> Started:
        """Give a call its run and count the call as waiting. The caller of this method must then call `attend`.

        Raises:
            CallerError: nothing was started.
            AirflowError: a request to Airflow failed; the message says what is known of the run.
        """
        times = call.listener.times
        times.enter("line", self._now())
        started = await self._starter.start(call)
        times.enter("run", self._now())
        call.listener.on_run(started.run.run_id)
        return started

    async def attend(self, tool: Tool, run: Run, listener: Listener, started: Started | None = None) -> Answer:
        """Wait for a run that `begin` or `look` returned, and answer as `call` does.

        Args:
            tool: the tool that started it.
            run: the run.
            listener: who waits.
            started: what `begin` returned, which counts this caller already; None to count it now.
        """
        entry = started.entry if started else self._join(run.run_id)
        answer = await self._attend(tool, run, entry, listener)
        if started is None:
            return answer
        return replace(
            answer, is_replayed=started.is_replayed, is_reused=started.is_reused, is_shared=started.is_shared
        )

    def require_own(self, run_id: str, *, caller: str) -> None:
        """Reject the id of another caller's run, without a request to Airflow.

        Raises:
            UnknownRun: no call of this caller made this run id.
        """
        if not self._identity.owns(caller, run_id):
            raise UnknownRun(f"there is no run {run_id!r} that you started")

    async def look(self, tool: Tool, run_id: str, *, caller: str) -> Run:
        """Fetch a run that an earlier call of this caller started.

        Raises:
            UnknownRun: this caller started no such run of this tool.
            AirflowError: the request to Airflow failed.
        """
        unknown = UnknownRun(f"there is no run {run_id!r} that you started with tool {tool.name}")
        if not self._identity.owns(caller, run_id):
            raise unknown
        try:
            return await self._api.fetch_run(tool.dag_id, run_id)
        except AirflowNotFound as error:
            raise unknown from error

    async def read(self, tool: Tool, run_id: str, *, caller: str) -> Run:
        """Return a run as `look` does; an error names the run.

        Raises:
            UnknownRun: this caller started no such run of this tool.
            OutcomeUnknown: Airflow did not answer as needed.
        """
        try:
            return await self.look(tool, run_id, caller=caller)
        except AirflowError as error:
            raise self._unread(tool, run_id, error) from error

    def _unread(self, tool: Tool, run_id: str, error: AirflowError) -> OutcomeUnknown:
        what = "The state of run {run} cannot be read now"
        next_step = f"Call {WAIT_TOOL_NAME} with tool {tool.name!r} and this run id to check again; this starts no run."
        return self._outcome_unknown(tool, run_id, what, error, next_step)

    async def resume(self, tool: Tool, run_id: str, listener: Listener, *, caller: str) -> Answer:
        """Wait again for a run that an earlier call of this caller started.

        Args:
            tool: the tool that started it.
            run_id: the run.
            listener: who waits.
            caller: whose run it must be.

        Raises:
            UnknownRun: this caller started no such run of this tool.
            RunError, AirflowError: as `call`.
        """
        try:
            async with self._answering.in_time(listener.deadline):
                run = await self.look(tool, run_id, caller=caller)
        except AirflowError as error:
            raise self._unread(tool, run_id, error) from error
        return await self.attend(tool, run, listener)

    async def cancel(self, tool: Tool, run_id: str, *, caller: str, account: Account | None = None) -> Answer:
        """Set a run to failed unless it has ended, and return its state.

        Raises:
            UnknownRun: this caller started no such run of this tool.
            TriggerRefused: Airflow does not let the account do this.
            OutcomeUnknown: it is not known whether the run was cancelled.
            AirflowRefused: Airflow does not let dagcall do this.
        """
        try:
            run = await self.look(tool, run_id, caller=caller)
            try:
                state = await self._cancelling.set_failed(run.dag_id, run.run_id, is_cancelled=True, account=account)
            except AirflowRefused as error:
                if account is None:
                    raise
                refusal = account.refusal(error, f"set runs of dag {run.dag_id} to failed")
                raise TriggerRefused(f"Nothing was changed: dagcall acts for you {refusal}") from error
        except AirflowRefused:
            raise
        except AirflowError as error:
            what = "It is not known whether run {run} was cancelled"
            next_step = (
                f"Cancel it again to find out, or call {WAIT_TOOL_NAME} with tool {tool.name!r} and this run id to get "
                "its outcome."
            )
            raise self._outcome_unknown(tool, run_id, what, error, next_step) from error
        if state is RunState.FAILED and (entry := self._ledger.entry(run_id)):
            entry.is_delivered = True  # the canceller knows the outcome, so an identical call is a new one
        return Answer(state, run.run_id, self._api.run_url(run.dag_id, run.run_id))

    # People

    async def respond(
        self,
        tool: Tool,
        run_id: str,
        *,
        caller: str,
        contents: Mapping[str, Mapping[str, Json]],
        who: str,
        account: Account | None = None,
    ) -> TakenReplies:
        """Answer a run's questions to people.

        Args:
            tool: the tool that started the run.
            run_id: the run.
            caller: whose run it must be.
            contents: question key -> the filled-in form. Questions that are no longer open are skipped.
            who: the client that sent the answers, for Airflow's administrators.
            account: the Airflow account that answers; None: dagcall's own.

        Raises:
            UnknownRun: this caller started no such run of this tool.
            OutcomeUnknown: it is not known whether Airflow has the answers.
        """
        try:
            run = await self.look(tool, run_id, caller=caller)
            return await self._hitl_replies.deliver(run, contents, who=who, account=account)
        except AirflowError as error:
            what = "It is not known whether the answer for run {run} reached Airflow"
            next_step = (
                f"Call {WAIT_TOOL_NAME} with tool {tool.name!r} and this run id; it asks again if the answer did not "
                "arrive."
            )
            raise self._outcome_unknown(tool, run_id, what, error, next_step) from error

    async def open_questions(self, run: Run) -> tuple[Question, ...]:
        """Return the questions that a run asks people now."""
        return self._masked(await self._api.fetch_questions([(run.dag_id, run.run_id)]))

    async def note(self, run: Run, *words: str) -> bool:
        """Add the first of these texts that fits to a run's note; return whether one was added."""
        return await self._hitl_replies.add_to_note(run, *words)

    async def answerable(self, questions: tuple[Question, ...], account: Account | None) -> tuple[Question, ...]:
        """Return the questions that Airflow lets an account answer, as far as known; None: dagcall's own account."""
        return await self._hitl_replies.answerable(questions, account)

    async def is_open(self, tool: Tool, run_id: str, question_key: str) -> bool:
        """Say whether a question of a run is still open; True if Airflow cannot be asked."""
        try:
            questions = await self._api.fetch_questions([(tool.dag_id, run_id)])
        except AirflowError:
            return True
        return any(question.key == question_key for question in questions)

    def attended(self, tool: Tool, run_id: str) -> AbstractContextManager[None]:
        """Count a caller as waiting for its run while its person is being asked."""
        return Counted(self._cancelling, tool, self._join(run_id))

    async def fetch_results(self, tool: Tool, run_id: str, *, caller: str) -> Mapping[str, Json]:
        """Return the full results of a run that an earlier call of this caller started, for reading parts of them.

        Raises:
            UnknownRun: this caller started no such run of this tool.
            Unreadable: the run has no results, or none yet.
            OutcomeUnknown: the results cannot be read from Airflow now.
        """
        try:
            return await self._results(tool, await self.look(tool, run_id, caller=caller))
        except AirflowError as error:
            what, next_step = "The results of run {run} cannot be read now", "Try again in a moment."
            raise self._outcome_unknown(tool, run_id, what, error, next_step) from error

    async def _results(self, tool: Tool, run: Run) -> Mapping[str, Json]:
        run_id = run.run_id
        is_over = run.state.is_final
        if run.state is RunState.FAILED or not (is_over or await self._is_ready(tool, run)):
            raise Unreadable(
                f"Run {run_id} of dag {run.dag_id} {in_words(run.state)}, so there are no results to read. "
                f"Call {WAIT_TOOL_NAME} with tool {tool.name!r} and this run id to "
                f"{'see why it failed' if is_over else 'wait for them'}."
            )
        key = (run.dag_id, run_id, run.end_date, tool.policy.results)  # a cleared run ends again
        if (results := self._results_cache.get(key)) is None:
            found = await self._result_reader.results(tool, run, is_over=is_over)
            if found.absent or found.has_no_tasks:
                raise Unreadable(
                    f"Run {run_id} of dag {run.dag_id} did not run the tasks that produce its result. Call "
                    f"{WAIT_TOOL_NAME} with tool {tool.name!r} and this run id to see why."
                )
            results = found.values
            if is_over:
                self._results_cache.put(key, results)
        return results

    async def _is_ready(self, tool: Tool, run: Run) -> bool:
        """Say whether an unfinished run already has the results that a `results_ready` tool returns."""
        if tool.policy.return_when != "results_ready":
            return False
        task_ids = await self._result_reader.early_task_ids(tool)
        if not task_ids:
            return False
        instances = await self._api.fetch_task_instances(run.dag_id, run.run_id, task_ids=tuple(task_ids))
        return are_ready(instances, task_ids)

    def drain(self) -> None:
        """Answer all calls with what is known of their runs, including calls whose run is not started yet."""
        self._deadlines.drain(DRAIN_SECONDS)
        self._answering.drain()

    async def aclose(self) -> None:
        """Stop background work for callers who left, and write the last delivery marks."""
        await self._cancelling.aclose()
        await self._answering.aclose()
        await self._delivery_marks.aclose()

    def _outcome_unknown(
        self, tool: Tool, run_id: str, what: str, error: AirflowError, next_step: str
    ) -> OutcomeUnknown:
        """Return the error for a request about a known run that failed because of Airflow.

        Args:
            tool: the run's tool.
            run_id: the run.
            what: what is not known about `{run}`; a clause.
            error: why.
            next_step: a sentence.
        """
        what = what.replace("{run}", f"{run_id} of dag {tool.dag_id}")
        url = self._api.run_url(tool.dag_id, run_id)
        return OutcomeUnknown(f"{what}: {error}. {next_step} For people: {url}").about(tool.dag_id, run_id)

    def _join(self, run_id: str) -> Entry:
        """Count one more caller as waiting for a run."""
        entry = self._ledger.of_run(run_id)
        self._ledger.exists(entry)
        entry.join(self._now())
        return entry

    async def _attend(self, tool: Tool, run: Run, entry: Entry, listener: Listener) -> Answer:
        """Wait for a run on behalf of a caller that its entry already counts, and answer."""
        try:
            with Counted(self._cancelling, tool, entry):
                answer = await self._answering.answer(tool, run, listener)
        except OutcomeUnknown:  # the outcome is still to come: a retry may get it
            raise
        except RunError:
            self._quotas.ended(run.run_id)
            self._record_end(run, entry, listener.on_outcome)
            raise
        if answer.failure.is_over if answer.failure else answer.state.is_final:
            self._quotas.ended(run.run_id)
        if answer.failure or answer.results is not None:
            self._record_end(run, entry, listener.on_outcome)
        return replace(answer, questions=self._masked(answer.questions)) if answer.questions else answer

    def _masked(self, questions: tuple[Question, ...]) -> tuple[Question, ...]:
        """Return questions without dagcall's own secrets."""
        known = self._masker.without_known
        return tuple(replace(one, subject=known(one.subject), body=known(one.body)) for one in questions)

    def _record_end(self, run: Run, entry: Entry, on_outcome: Callable[[Entry], None]) -> None:
        entry.ended_at = self._now()
        if entry.number is not None and not says_answered(run):
            entry.on_delivered = lambda: self._delivery_marks.add(run)
        on_outcome(entry)
