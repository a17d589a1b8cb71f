"""One call, one run.

    One call starts at most one dag run, and every retry of it gets that run's outcome: after a dropped connection, a
    client's time-out, a crash or a restart of this server, on any replica.

How: the run id is chosen before the first request, and Airflow takes a run id once per dag. A lost answer is followed
by a question ("is it there?"), and by the same request again if it is not. A 409 says only that something was in the
way: the run of that id decides what.

A caller's program may give an idempotency key; then the key alone makes the id. Without one, identical calls of a
caller form a family of numbered ids, and it is decided whether this call is a retry of the last one or a new one:

* this process has a run whose caller left, unfinished or with an outcome that never arrived: that one is taken up
* every run of the family that this process knows has a caller waiting, or its outcome was delivered: the next number
* the number is taken by a run that this process did not start: what became of its caller cannot be known here, so an
  unfinished run is taken up, and one that ended a short while ago is delivered again unless its note says that its
  outcome has arrived; else the next number
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import stamina

from dagcall.airflow import AirflowApi
from dagcall.calls import Call, Started, unstarted
from dagcall.catalog import Catalog, reason_not_to_run
from dagcall.errors import (
    AirflowAnswerUnusable,
    AirflowAway,
    AirflowConflict,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    AirflowUnreachable,
    IdempotencyConflict,
    InvalidArguments,
    OverLimit,
    TriggerRefused,
)
from dagcall.identity import Identity, number_in
from dagcall.ledger import REPLAY_SECONDS, Entry, Ledger
from dagcall.model import Run, RunState
from dagcall.pressure import Breaker
from dagcall.quotas import Quotas
from dagcall.receipts import says_answered
from dagcall.shared import Shared
from dagcall.tools import Tool

ATTEMPTS = 4
PATIENCE_SECONDS = 60.0
"""How long a call tries to start its run, if it may take so long at all."""
LOOK_AGAIN_SECONDS = 1.0
LOGICAL_DATE_ATTEMPTS = 10
FAMILY_ATTEMPTS = 20
"""How many numbers are tried when other processes keep taking them."""
CHECK_SECONDS = 2.0
"""How long "this dag can run now" is believed: parallel calls of a dag share one question."""
MAX_KEY_LENGTH = 255
META_IDEMPOTENCY_KEY = "dagcall/idempotency_key"
"""Where a caller's program puts its key: never among the arguments, for a model makes a new one with every retry."""


T = TypeVar("T")


class Starter:
    """Gives each call its run.

    Args:
        api: Airflow.
        catalog: told when a definition no longer holds.
        identity: makes the run ids.
        ledger: what this process knows.
        quotas: how much a caller may start.
        now: the loop's clock, in seconds.
        wall_clock: the time in UTC, for logical dates and for "a short while ago".
    """

    def __init__(
        self,
        api: AirflowApi,
        catalog: Catalog,
        identity: Identity,
        ledger: Ledger,
        quotas: Quotas,
        *,
        now: Callable[[], float],
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._catalog = catalog
        self._identity = identity
        self._ledger = ledger
        self._quotas = quotas
        self._now = now
        self._wall_clock = wall_clock
        self._summaries = Shared(api.fetch_summary, seconds=CHECK_SECONDS)

    async def start(self, call: Call) -> Started:
        """Return the call's run: a new one, or the one that it belongs to.

        Raises:
            InvalidArguments: a key is demanded or not taken, or is too long.
            IdempotencyConflict: the key belongs to a run with other arguments.
            TriggerRefused, Busy: nothing was started.
            AirflowUnreachable: the message says whether something may have been started.
        """
        repeat = call.tool.policy.repeat
        if call.key is not None:
            return await self._keyed(call, call.key)
        if repeat == "key_only":
            problem = (
                f"this tool needs an idempotency key: {META_IDEMPOTENCY_KEY} in _meta, or an Idempotency-Key header"
            )
            raise InvalidArguments(call.tool.name, (problem,))
        if repeat == "new":
            run_id = self._identity.run_id_of_key(call.caller, call.tool.name, call.nonce)
            entry = Entry(run_id, None, waiting=1)
            run, _ = await self._trigger(call, entry)
            return Started(run, entry, is_replayed=False)
        return await self._of_family(call, self._identity.family(call.caller, call.tool.name, call.arguments))

    # With a key

    async def _keyed(self, call: Call, key: str) -> Started:
        if not key or len(key) > MAX_KEY_LENGTH:
            raise InvalidArguments(call.tool.name, (f"an idempotency key has 1 to {MAX_KEY_LENGTH} characters",))
        entry = self._ledger.keyed(self._identity.run_id_of_key(call.caller, call.tool.name, key))
        with _Claimed(self._ledger, entry):
            run, is_ours = await self._trigger(call, entry)
            if not is_ours and run.conf != call.conf:
                raise IdempotencyConflict(
                    f"Nothing was started: this idempotency key belongs to run {run.run_id} of dag {run.dag_id}, which "
                    "was called with other arguments. Use a new key for a new call."
                )
            return Started(run, entry, is_replayed=not is_ours and run.state.is_final)

    # Without a key

    async def _of_family(self, call: Call, family: str) -> Started:
        if call.tool.policy.reuse_seconds and (reused := await self._reusable(call, family)):
            return reused
        for _ in range(FAMILY_ATTEMPTS):
            self._ledger.tidy(family, self._now())
            left = self._ledger.left(family, self._now())
            entry = left or self._ledger.begin(family)
            with _Claimed(self._ledger, entry, family):
                run, is_ours = await self._take_up(call, entry) if left else await self._trigger(call, entry)
            if is_ours or (left and self._is_recent(run, REPLAY_SECONDS)):
                return Started(run, entry, is_replayed=not is_ours and run.state.is_final)
            entry.waiting -= 1
            if left:
                entry.is_delivered = True  # it ended too long ago, unseen: nobody asks for it any more
            else:
                self._ledger.forget(family, entry)
                await self._learn(call, family)
        raise TriggerRefused(
            f"Nothing was started: other processes keep starting runs of {call.tool.name} with these arguments; try "
            "again in a moment."
        )

    async def _take_up(self, call: Call, entry: Entry) -> tuple[Run, bool]:
        """Return a run that its caller left; start it if that caller left before it was there."""
        try:
            run = await self._find(call.tool.dag_id, entry.run_id, attempts=ATTEMPTS)
        except AirflowUnreachable as error:
            raise unstarted(call, entry, error, is_unsure=True) from error
        return self._seen(call, entry, run) if run else await self._trigger(call, entry)

    async def _learn(self, call: Call, family: str) -> None:
        """Enter the runs of other processes into the ledger, those that may be this call's as left by their callers.

        These are all that go on, and those that ended a short while ago and whose outcome is not known to have arrived.
        """
        runs = {number_in(run.run_id) or 0: run for run in await self._family(call, family)}
        self._ledger.skip_to(family, max(runs, default=-1) + 1)
        for number, run in sorted(runs.items()):
            if run.conf == call.conf and self._is_recent(run, REPLAY_SECONDS) and not says_answered(run):
                ended_at = self._now() if run.state.is_final else None
                self._ledger.found(family, run.run_id, number, ended_at=ended_at)

    async def _reusable(self, call: Call, family: str) -> Started | None:
        for run in await self._family(call, family):
            is_good = run.state is RunState.SUCCESS and run.conf == call.conf
            if is_good and self._is_recent(run, call.tool.policy.reuse_seconds):
                entry = Entry(run.run_id, number_in(run.run_id), waiting=1, is_started=True)
                return Started(run, entry, is_replayed=True)
        return None

    async def _family(self, call: Call, family: str) -> list[Run]:
        with _nothing_started:
            runs = await self._api.fetch_family(call.tool.dag_id, family)
        return [run for run in runs if number_in(run.run_id) is not None]

    def _is_recent(self, run: Run, seconds: float) -> bool:
        """Say whether a run ended so recently; one that goes on is as recent as can be."""
        if not run.state.is_final:
            return True
        return run.end_date is not None and self._wall_clock() - run.end_date <= timedelta(seconds=seconds)

    # Triggering

    async def _trigger(self, call: Call, entry: Entry) -> tuple[Run, bool]:
        """Start the run of an entry, or find it there; say whether it is this call's own."""
        until = self._now() if self._breaker.is_open else min(self._now() + PATIENCE_SECONDS, call.deadline)
        try:
            with _nothing_started:
                await self._require_can_run(call.tool, until)
                await self._quotas.admit(call.caller, call.tool, entry.run_id)
        except (TriggerRefused, OverLimit) as refusal:
            if isinstance(refusal, OverLimit) and not self._quotas.may_look(call.caller, call.tool):
                raise
            with _nothing_started:
                run = await self._find(call.tool.dag_id, entry.run_id, attempts=ATTEMPTS)
            if run:
                return self._seen(call, entry, run)
            raise
        try:
            run, is_ours = await self._settle(call, entry, until)
        except BaseException as error:
            self._quotas.attempted(entry.run_id, may_exist=_is_unsure(error))
            raise
        self._quotas.attempted(entry.run_id, may_exist=is_ours)
        return run, is_ours

    async def _settle(self, call: Call, entry: Entry, until: float) -> tuple[Run, bool]:
        """Ask Airflow to start the run of an entry until it is known what came of that.

        Most calls have no use for stamina, and setting it up takes a twentieth of what a call does: it comes in when
        the first try has failed.
        """
        try:
            return await self._start(call, entry, until)
        except AirflowUnreachable as error:
            first, is_unsure = error, error.is_effect_possible
        try:
            async for attempt in stamina.retry_context(
                on=_may_settle, attempts=ATTEMPTS, wait_initial=0.2, wait_max=3.0, timeout=PATIENCE_SECONDS
            ):
                with attempt:
                    if attempt.num == 1:
                        raise first
                    if is_unsure and (
                        run := await self._patiently(until, lambda: self._find(call.tool.dag_id, entry.run_id))
                    ):
                        return self._seen(call, entry, run)
                    try:
                        return await self._start(call, entry, until)
                    except AirflowUnreachable as error:
                        is_unsure = is_unsure or error.is_effect_possible
                        raise
        except AirflowUnreachable as error:
            raise unstarted(call, entry, error, is_unsure=is_unsure) from error
        raise AssertionError  # pragma: no cover - retry_context ends by returning or raising

    async def _start(self, call: Call, entry: Entry, until: float) -> tuple[Run, bool]:
        return self._seen(call, entry, await self._patiently(until, lambda: self._post(call, entry.run_id)))

    async def _patiently(self, until: float, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask; where the breaker lets nothing through, wait for Airflow and ask then: this is no retry.

        A call that came while Airflow was there waits its time out; one that comes while it is away is told at once.
        """
        while True:
            try:
                return await ask()
            except AirflowAway:
                seconds = min(self._breaker.seconds_to_next_try(self._now()), LOOK_AGAIN_SECONDS)
                seconds += secrets.randbelow(500) / 1000  # not all of those who wait at once
                if self._now() + seconds > until:
                    raise
            await asyncio.sleep(seconds)

    @property
    def _breaker(self) -> Breaker:
        return self._api.rest.gate.breaker

    def _seen(self, call: Call, entry: Entry, run: Run) -> tuple[Run, bool]:
        entry.is_started = True
        return run, call.nonce in run.note

    async def _post(self, call: Call, run_id: str) -> Run:
        tool = call.tool
        logical_date = self._wall_clock() if tool.policy.logical_date == "now" else None
        for _ in range(LOGICAL_DATE_ATTEMPTS):
            try:
                return await self._api.trigger(
                    tool.dag_id,
                    run_id=run_id,
                    conf=call.conf,
                    logical_date=logical_date,
                    note=call.full_note,
                    who=f"{call.caller}/{tool.name}",
                    account=call.account,
                )
            except AirflowConflict:
                # The same answer for "this run id exists" and "this logical date exists".
                if run := await self._find(tool.dag_id, run_id):
                    return run
                if logical_date is None:
                    raise
                logical_date += timedelta(microseconds=1 + secrets.randbelow(1000))
            except AirflowAnswerUnusable as error:  # whatever stands before Airflow garbled the answer, not the effect
                raise AirflowUnreachable(str(error), is_effect_possible=True) from error
            except AirflowRejected as error:
                self._catalog.refresh_soon()
                raise TriggerRefused(
                    f"Nothing was started: Airflow refused dag {tool.dag_id}: {error.reason}"
                ) from error
            except AirflowRefused as error:
                if call.account is None:
                    raise
                why = call.account.refusal(error, f"run dag {tool.dag_id}")
                raise TriggerRefused(f"Nothing was started: dagcall starts your runs {why}") from error
            except AirflowNotFound as error:
                self._catalog.refresh_soon()
                raise TriggerRefused(f"Nothing was started: dag {tool.dag_id} is no longer in Airflow.") from error
        raise TriggerRefused(
            f"Nothing was started: dag {tool.dag_id} has a run for every logical date that was tried; try again."
        )

    async def _find(self, dag_id: str, run_id: str, *, attempts: int = 1) -> Run | None:
        try:
            return await self._api.fetch_run(dag_id, run_id, attempts=attempts)
        except AirflowNotFound:
            return None

    # Beforehand

    async def _require_can_run(self, tool: Tool, until: float) -> None:
        """Refuse a dag that would leave the run queued for ever, or that is no longer there."""
        try:
            dag = await self._patiently(until, lambda: self._summaries(tool.dag_id))
            reason = reason_not_to_run(dag)
        except AirflowNotFound:
            reason = "it is no longer there"
        if reason:
            self._catalog.refresh_soon()
            raise TriggerRefused(f"Nothing was started: dag {tool.dag_id} cannot run now: {reason}.")


def _is_unsure(error: BaseException) -> bool:
    """Say whether a run may be there in spite of this error."""
    is_effect_possible = isinstance(error, AirflowUnreachable) and error.is_effect_possible
    return is_effect_possible or isinstance(error, asyncio.CancelledError)


def _may_settle(error: Exception) -> bool | float:
    """Say whether asking again settles it. Not from the budget for retries: what is unsure must not stay so."""
    if not isinstance(error, AirflowUnreachable) or isinstance(error, AirflowAway):
        return False
    return True if error.retry_after_seconds is None else error.retry_after_seconds


class _Claimed:
    """Counts a call among those who wait for the entry's run, and no longer if it comes to nothing.

    Claimed before anything is awaited, so that no two calls take up the same run, or the same number.
    """

    __slots__ = ("_entry", "_family", "_ledger")

    def __init__(self, ledger: Ledger, entry: Entry, family: str | None = None) -> None:
        self._ledger, self._entry, self._family = ledger, entry, family

    def __enter__(self) -> None:
        self._entry.waiting += 1

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            return
        entry = self._entry
        entry.waiting -= 1
        if self._family is not None and not (_is_unsure(error) or entry.is_started or entry.waiting):
            self._ledger.forget(self._family, entry)


class _NothingStarted:
    """Says so where Airflow does not answer a question that comes before any trigger."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, AirflowUnreachable):
            raise AirflowUnreachable(f"Nothing was started: {error}.", is_effect_possible=False) from error


_nothing_started = _NothingStarted()
