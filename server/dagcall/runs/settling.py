"""Starts a run in Airflow and retries until the outcome is known: the first half of `lifecycle`'s table.

An entry of the ledger counts the requests that were sent and whose effect is unknown (`unsettled`). As long as there is
one, the run may exist, whatever a later answer says, and dagcall does not say "Nothing was started".
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dagcall.airflow import AirflowApi, Run, is_not_sent, is_unreachable, retry
from dagcall.errors import (
    AirflowAnswerUnusable,
    AirflowConflict,
    AirflowError,
    AirflowLogInRefused,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    AirflowUnreachable,
    CircuitOpen,
    TriggerRefused,
)
from dagcall.plain_json import Json
from dagcall.runs.call import Call
from dagcall.runs.ledger import Entry
from dagcall.runs.lifecycle import NEXT, Action, Event, State
from dagcall.tools import Catalog

ATTEMPTS = 4
PATIENCE_SECONDS = 60.0
"""How long a call retries starting its run, if its deadline allows."""
LOGICAL_DATE_ATTEMPTS = 10


@dataclass(eq=False, slots=True)
class Start:
    """A call whose run is being chosen and started."""

    call: Call
    arguments: Mapping[str, Json]
    """In normalised form, which decides whether two calls are identical."""
    conf: Mapping[str, Json]
    asked_at: float
    """When the call arrived, by the loop's clock."""
    until: float
    """Until when it waits while the breaker is open, by the loop's clock; not at all if it was open at the start."""
    entry: Entry | None = None
    """The run that the call is about to get."""


class _Sending:
    """One request to start a run, and whether its effect is known."""

    __slots__ = ("_entry", "_is_unsettled")

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._is_unsettled = False

    def sent(self) -> None:
        """Record that the request is being sent, perhaps for a second time with a new token."""
        if not self._is_unsettled:
            self._is_unsettled = True
            self._entry.unsettled += 1

    def had_no_effect(self) -> None:
        """Record that the request started nothing."""
        if self._is_unsettled:
            self._is_unsettled = False
            self._entry.unsettled -= 1


@dataclass(eq=False, slots=True)
class _Posting:
    """The progress of starting an entry's run."""

    start: Start
    entry: Entry
    logical_date: datetime | None
    sending: _Sending
    attempts: int = 0
    dates_tried: int = 0
    is_taken: bool = False
    """Whether Airflow answered that the run id or the logical date is taken."""
    run: Run | None = None
    error: AirflowError | TriggerRefused | None = None
    """The error of the last request."""
    cause: AirflowError | None = None

    @property
    def state(self) -> State:
        """The state, from what all calls that share this entry know."""
        if self.is_taken:
            return State.TAKEN
        return State.UNSURE if self.entry.may_exist else State.UNSENT


class Settler:
    """Starts runs.

    Args:
        api: Airflow.
        catalog: refreshed when a dag has changed.
        now: the loop's clock, in seconds.
        wall_clock: the time in UTC, for logical dates.
    """

    def __init__(
        self, api: AirflowApi, catalog: Catalog, *, now: Callable[[], float], wall_clock: Callable[[], datetime]
    ) -> None:
        self._api = api
        self._catalog = catalog
        self._now = now
        self._wall_clock = wall_clock

    async def settle(self, start: Start, entry: Entry) -> Run:
        """Start the run of an entry, or find it in Airflow.

        If the run may have been started, dagcall looks for it as long as there is time.

        Raises:
            TriggerRefused, AirflowError: Airflow's own reason.
            AirflowUnreachable: the outcome is unknown, or nothing was sent; `entry` knows which.
        """
        logical_date = self._wall_clock() if start.call.tool.policy.logical_date == "now" else None
        posting = _Posting(start, entry, logical_date, _Sending(entry))

        def may_retry(error: Exception) -> bool | float:
            if isinstance(error, CircuitOpen) or (posting.attempts >= ATTEMPTS and not entry.may_exist):
                return False
            return is_unreachable(error)

        return await retry(lambda: self._perform(posting), may_retry=may_retry, until=start.asked_at + PATIENCE_SECONDS)

    async def _perform(self, posting: _Posting) -> Run:
        """Perform actions until the run is known, or raise when the next one needs a pause."""
        action = Action.FIND if posting.attempts and posting.entry.may_exist else Action.POST
        posting.attempts += 1
        while True:
            event = await (self._post(posting) if action is Action.POST else self._find(posting))
            step = NEXT[posting.state, event]
            if posting.is_taken and event is not Event.CONFLICT:
                posting.is_taken = False
                if event is Event.NOT_FOUND:
                    self._choose_another_date(posting)
            if step.action is Action.WAIT and posting.run is not None:
                return posting.run
            if (step.is_later or step.action is Action.TELL_REASON) and posting.error is not None:
                raise posting.error from posting.cause
            action = step.action

    async def _post(self, posting: _Posting) -> Event:
        """Ask Airflow to start the run."""
        start, call = posting.start, posting.start.call
        sending = posting.sending = _Sending(posting.entry)

        def on_send() -> None:
            call.listener.times.enter("start", self._now())
            sending.sent()

        async def send() -> Run:
            return await self._api.trigger(
                call.tool.dag_id,
                run_id=posting.entry.run_id,
                conf=start.conf,
                logical_date=posting.logical_date,
                note=call.full_note,
                who=f"{call.caller}/{call.tool.name}",
                account=call.account,
                on_send=on_send,
            )

        try:
            posting.run = await retry(send, may_retry=is_not_sent, until=start.until)
        except AirflowConflict as error:
            posting.error, posting.is_taken = error, True
            return Event.CONFLICT
        except (AirflowRejected, AirflowRefused, AirflowNotFound) as refusal:
            sending.had_no_effect()
            posting.error, posting.cause = self._refusal(call, refusal), refusal
            return Event.REFUSED
        except (AirflowUnreachable, AirflowAnswerUnusable) as error:
            is_sent = self._record_lost(posting, error)
            if not is_sent:
                sending.had_no_effect()
            return Event.ANSWER_LOST if is_sent else Event.NOT_SENT
        return Event.CREATED

    async def _find(self, posting: _Posting) -> Event:
        """Ask Airflow for the run."""
        start = posting.start
        try:
            posting.run = await retry(
                lambda: self._api.fetch_run(start.call.tool.dag_id, posting.entry.run_id, attempts=1),
                may_retry=is_not_sent,
                until=start.until,
            )
        except AirflowNotFound:
            return Event.NOT_FOUND
        except (AirflowUnreachable, AirflowAnswerUnusable) as error:
            self._record_lost(posting, error)
            return Event.NOT_SEEN
        return Event.FOUND

    def _record_lost(self, posting: _Posting, error: AirflowUnreachable | AirflowAnswerUnusable) -> bool:
        """Record a missing or unusable answer; return whether the request may have reached Airflow.

        A proxy in front of Airflow can replace the answer, but not undo the effect.
        """
        if isinstance(error, AirflowAnswerUnusable):
            posting.error, posting.cause = AirflowUnreachable(str(error), is_effect_possible=True), error
            return True
        posting.error, posting.cause = error, None
        return error.is_effect_possible

    def _choose_another_date(self, posting: _Posting) -> None:
        """Choose another logical date: Airflow accepts each one for only one run of a dag.

        Raises:
            AirflowConflict: the run has no logical date.
            TriggerRefused: no date was free in `LOGICAL_DATE_ATTEMPTS` attempts.
        """
        posting.sending.had_no_effect()
        posting.dates_tried += 1
        if posting.logical_date is None and posting.error is not None:
            raise posting.error
        if posting.dates_tried == LOGICAL_DATE_ATTEMPTS or posting.logical_date is None:
            dag_id = posting.start.call.tool.dag_id
            raise TriggerRefused(
                f"dag {dag_id} already has runs at all {LOGICAL_DATE_ATTEMPTS} logical dates that dagcall tried; try "
                "again."
            )
        posting.logical_date += timedelta(microseconds=1 + secrets.randbelow(1000))

    def _refusal(self, call: Call, error: AirflowError) -> AirflowError | TriggerRefused:
        """Return the error for Airflow's refusal to start a run."""
        dag_id = call.tool.dag_id
        if isinstance(error, AirflowRefused) and call.account is not None:
            return TriggerRefused(f"dagcall starts your runs {call.account.refusal(error, f'run dag {dag_id}')}")
        if isinstance(error, AirflowLogInRefused):
            return error
        if isinstance(error, AirflowRefused):
            return AirflowRefused(
                f"{error}: it needs the right to create runs of dag {dag_id} (with FAB: can_edit on DAG:{dag_id}, and "
                "can_create on DAG Runs)"
            )
        self._catalog.refresh_soon(dag_id)
        if isinstance(error, AirflowRejected):
            return TriggerRefused(f"Airflow refused to start dag {dag_id}: {error.reason}")
        return TriggerRefused(f"dag {dag_id} is no longer in Airflow.")
