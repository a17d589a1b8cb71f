"""One call, one run.

    One call starts at most one dag run, and every retry of it gets that run's outcome: after a dropped connection, a
    client time-out, a crash or a restart of this server, on any replica.

How: the run id is chosen before the first request, and Airflow accepts a run id once per dag. After a lost answer,
dagcall looks for the run, and repeats the request if the run does not exist. A 409 says only that something conflicts;
looking up the run id decides what.

A caller's program may send an idempotency key; then the key alone determines the id. Without a key, the identical calls
of a caller form a family of numbered ids. These rules decide whether a call is a retry or a new call:

* This process knows a run of the family whose caller left, and which is unfinished or whose outcome was not delivered:
  the call adopts it.
* An identical call came a second or more earlier and still waits: the call shares its run, because clients that time
  out silently repeat their calls like this. Read-only tools do not share: running twice does no harm.
* All other runs of the family that this process knows have waiting callers or delivered outcomes: the call gets the
  next number.
* A run that this process did not start has the number: this process cannot know whether its caller still waits. The
  call adopts the run if it is unfinished, or if it ended a short while ago and its note does not say that its outcome
  was delivered. Otherwise the call gets the next number.

Until the first run of a family exists, its calls proceed one at a time (`ledger` says why); afterwards all at once.
Number 0 proves that a family exists only until it is deleted in Airflow. So dagcall first asks for unfinished runs of
the family that this process does not know: one request for all calls of a dag.

dagcall says "Nothing was started" only if that is certain. An entry counts the requests that were sent and whose effect
is unknown (`unsettled`): as long as there is one, the run may exist, whatever a later answer says.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from dagcall.airflow import AirflowApi, Run, RunState, is_not_sent, retry
from dagcall.errors import (
    AirflowError,
    AirflowNotFound,
    AirflowUnreachable,
    IdempotencyConflict,
    InvalidArguments,
    RateLimited,
    RetryLater,
    TriggerRefused,
)
from dagcall.runs.call import Call, Started, unstarted
from dagcall.runs.deadlines import Deadlines
from dagcall.runs.delivery_marks import says_answered
from dagcall.runs.ledger import REPLAY_SECONDS, Entry, Ledger
from dagcall.runs.quotas import Quotas
from dagcall.runs.run_ids import Identity, number_in, split_run_id
from dagcall.runs.settling import ATTEMPTS, PATIENCE_SECONDS, Settler, Start
from dagcall.singleflight import SingleFlight
from dagcall.tools import Catalog, Tool, reason_not_to_run

SHORTEST_START_SECONDS = 2.0
"""The minimum time for starting a run, even if the call's deadline is earlier: a caller that waits 0 s wants the run's
handle."""
FAMILY_ATTEMPTS = 20
"""How many numbers to try when other processes keep taking them."""
CHECK_SECONDS = 2.0
"""How long to cache "this dag can run now", so that parallel calls of a dag share one request."""
MAX_KEY_LENGTH = 255
META_IDEMPOTENCY_KEY = "dagcall/idempotency_key"
"""Where a caller's program puts its key. It is not an argument, because a model would make up a new one per retry."""

logger = logging.getLogger(__name__)


class Starter:
    """Gives each call its run.

    Args:
        api: Airflow.
        catalog: refreshed when a dag has changed.
        identity: makes the run ids.
        ledger: the runs that this process knows.
        quotas: limits per caller.
        deadlines: end a start that takes too long.
        on_disconnect: called with a run whose caller left while the run was being started.
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
        deadlines: Deadlines,
        on_disconnect: Callable[[Tool, Entry], None],
        now: Callable[[], float],
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._catalog = catalog
        self._identity = identity
        self._ledger = ledger
        self._quotas = quotas
        self._deadlines = deadlines
        self._on_disconnect = on_disconnect
        self._now = now
        self._wall_clock = wall_clock
        self._summaries = SingleFlight(api.fetch_summary, seconds=CHECK_SECONDS)
        self._unfinished = SingleFlight(api.fetch_newest_unfinished, seconds=CHECK_SECONDS)
        self._settler = Settler(api, catalog, now=now, wall_clock=wall_clock)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self, call: Call) -> Started:
        """Return the call's run: a new one, or an earlier one that it belongs to. The run's entry counts the call.

        Raises:
            InvalidArguments: the arguments are invalid, or the key is missing or too long.
            IdempotencyConflict: the key belongs to a run with different arguments.
            TriggerRefused, RetryLater: nothing was started.
            AirflowUnreachable: the message says whether a run may have been started.
        """
        now, tool, deadline = self._now(), call.tool, call.listener.deadline
        taken = tool.input.taken(call.arguments, tool=tool.name, max_bytes=self._quotas.max_argument_bytes)
        conf = taken.conf
        if tool.policy.identity_param is not None:
            conf[tool.policy.identity_param] = call.caller
        patience = 0.0 if self._api.rest.gate.breaker.is_open else PATIENCE_SECONDS
        start = Start(call, taken.arguments, conf, now, min(now + patience, deadline))
        try:
            async with self._deadlines.until(max(deadline, now + SHORTEST_START_SECONDS)):
                return await self._choose_run(start)
        except asyncio.CancelledError:
            if start.entry is not None and start.entry.may_exist:
                self._on_disconnect(call.tool, start.entry)
            raise
        except TimeoutError as error:
            why = "dagcall is shutting down" if self._deadlines.is_draining else "the call timed out"
            timed_out = AirflowUnreachable(f"{why} and Airflow has not answered", is_effect_possible=False)
            raise unstarted(call, start.entry, timed_out) from error
        except (AirflowError, TriggerRefused, RetryLater) as error:
            raise unstarted(call, start.entry, error) from error

    async def _choose_run(self, start: Start) -> Started:
        call = start.call
        if call.key is not None:
            return await self._start_with_key(start, call.key)
        if call.tool.policy.repeat == "key_only":
            problem = (
                f"this tool needs an idempotency key: set {META_IDEMPOTENCY_KEY} in _meta, or send an Idempotency-Key "
                "header"
            )
            raise InvalidArguments(call.tool.name, (problem,))
        if call.tool.policy.repeat == "new":
            entry = self._ledger.of_run(self._identity.run_id_of_key(call.caller, call.tool.name, call.nonce))
            with self._counted(start, entry):
                run, _ = await self._trigger(start, entry)
                return Started(run, entry)
        return await self._start_in_family(start, self._identity.prefix(call.caller, call.tool.name, start.arguments))

    # With a key

    async def _start_with_key(self, start: Start, key: str) -> Started:
        call = start.call
        if not key or len(key) > MAX_KEY_LENGTH:
            raise InvalidArguments(call.tool.name, (f"an idempotency key must have 1 to {MAX_KEY_LENGTH} characters",))
        entry = self._ledger.of_run(self._identity.run_id_of_key(call.caller, call.tool.name, key))
        with self._counted(start, entry):
            run, is_ours = await self._trigger(start, entry)
            if not is_ours and run.conf != start.conf:
                raise IdempotencyConflict(
                    f"Nothing was started: this idempotency key belongs to run {run.run_id} of dag {run.dag_id}, which "
                    "was started with different arguments. Use a new key for a new call."
                ).about(run.dag_id, run.run_id)
            return Started(run, entry, is_replayed=not is_ours and run.state.is_final)

    # Without a key

    async def _start_in_family(self, start: Start, prefix: str) -> Started:
        if start.call.tool.policy.reuse_seconds and (reused := await self._find_reusable(start, prefix)):
            return reused
        for _ in range(FAMILY_ATTEMPTS):
            async with self._turn(prefix):
                if (started := await self._try_in_family(start, prefix)) is not None:
                    return started
        raise TriggerRefused(
            f"other processes keep starting runs of {start.call.tool.name} with these arguments; try again in a moment."
        )

    @asynccontextmanager
    async def _turn(self, prefix: str) -> AsyncIterator[None]:
        """Admit the calls of a family one at a time until its first run exists, then all at once."""
        if not self._ledger.is_begun(prefix):
            turn = self._turns.setdefault(prefix, asyncio.Lock())
            async with turn:
                if not self._ledger.is_begun(prefix):
                    yield
                    return
        yield

    async def _try_in_family(self, start: Start, prefix: str) -> Started | None:
        """Return the call's run; None if the run it tried belongs to another call."""
        call = start.call
        if not self._ledger.is_known(prefix):
            await self._find_unfinished(call.tool.dag_id, prefix)
        if self._ledger.must_learn(prefix):
            await self._read_family(start, prefix)
        self._ledger.tidy(prefix, self._now())
        is_shared = False
        if (entry := self._ledger.orphaned(prefix, self._now())) is None and not call.tool.policy.annotations.read_only:
            entry = self._ledger.shareable(prefix, start.asked_at)
            is_shared = entry is not None
        if entry is not None:
            with self._counted(start, entry):
                run, is_ours = await self._adopt(start, entry)
                if run is not None and is_ours:
                    return Started(run, entry)
                if run is not None and self._may_adopt(start, run):
                    is_replayed = run.state.is_final and not is_shared
                    return Started(run, entry, is_replayed=is_replayed, is_shared=is_shared)
                entry.is_delivered = True  # another replica delivered it, it ended too long ago, or it was deleted
                self._release_entry(start, entry)
                return None
        entry = self._ledger.begin(prefix)
        with self._counted(start, entry):
            run, is_ours = await self._trigger(start, entry)
            if is_ours:
                return Started(run, entry)
            if entry.waiting > 1 and self._may_adopt(start, run):  # a retry of this call was faster
                return Started(run, entry, is_shared=True)
            self._ledger.taken(entry)
            self._release_entry(start, entry)
            return None

    def _release_entry(self, start: Start, entry: Entry) -> None:
        entry.leave()
        start.entry = None

    async def _adopt(self, start: Start, entry: Entry) -> tuple[Run | None, bool]:
        """Return the run of an earlier call, starting it if that call ended before the run existed.

        None for a run that was deleted while others wait for it: they get an error, and the run is not started again.
        """
        run = await self._find(start.call.tool.dag_id, entry.run_id)
        if run is not None:
            return self._record_run(start.call, entry, run)
        if entry.is_started and entry.waiting > 1:
            return None, False
        if entry.waiting == 1:  # Airflow says that it does not exist, and no other call is starting it
            entry.unsettled = 0
        return await self._trigger(start, entry)

    def _may_adopt(self, start: Start, run: Run) -> bool:
        """Say whether this call may adopt a run: unfinished or ended recently, with an outcome not yet delivered.

        The ledger is not enough to decide this: another replica may have delivered the outcome.
        """
        return run.conf == start.conf and self._is_recent(run, REPLAY_SECONDS) and not says_answered(run)

    async def _find_unfinished(self, dag_id: str, prefix: str) -> None:
        """Look for unfinished runs of an unknown family.

        A 409 would show that number 0 exists, but when old runs are deleted, number 0 is deleted first. If Airflow does
        not let dagcall's account list runs, the search is skipped.
        """
        try:
            unfinished = await self._unfinished(dag_id)
        except AirflowUnreachable:
            raise
        except AirflowError as error:
            logger.warning("could not list the unfinished runs of dag %s: %s", dag_id, error)
            return
        for run_id in unfinished:
            if split_run_id(run_id)[0] == prefix:
                self._ledger.exists(self._ledger.of_run(run_id))

    async def _read_family(self, start: Start, prefix: str) -> None:
        """Add the runs of other processes to the ledger; those that this call may adopt count as left."""
        runs = {number_in(run.run_id) or 0: run for run in await self._runs_with_prefix(start.call.tool.dag_id, prefix)}
        for number, run in sorted(runs.items()):
            ended_at = self._now() if run.state.is_final else None
            self._ledger.found(prefix, run.run_id, number, ended_at=ended_at, may_adopt=self._may_adopt(start, run))
        self._ledger.learned(prefix, max(runs, default=-1) + 1)

    async def _find_reusable(self, start: Start, prefix: str) -> Started | None:
        call = start.call
        for run in await self._runs_with_prefix(start.call.tool.dag_id, prefix):
            is_good = run.state is RunState.SUCCESS and run.conf == start.conf
            if is_good and self._is_recent(run, call.tool.policy.reuse_seconds):
                entry = self._ledger.of_run(run.run_id)
                entry.is_started = True
                entry.join(start.asked_at)
                return Started(run, entry, is_reused=True)
        return None

    async def _runs_with_prefix(self, dag_id: str, prefix: str) -> list[Run]:
        runs = await self._api.fetch_runs_with_prefix(dag_id, prefix)
        return [run for run in runs if number_in(run.run_id) is not None]

    def _is_recent(self, run: Run, seconds: float) -> bool:
        """Say whether a run ended within these seconds; an unfinished run counts as recent."""
        if not run.state.is_final:
            return True
        return run.end_date is not None and self._wall_clock() - run.end_date <= timedelta(seconds=seconds)

    @contextmanager
    def _counted(self, start: Start, entry: Entry) -> Iterator[None]:
        """Count a call as waiting for the entry's run; undo that if the block raises.

        Called before the first await, so that no two calls adopt the same run or get the same number.
        """
        start.entry = entry
        entry.join(start.asked_at)
        try:
            yield
        except BaseException:
            entry.leave()
            if not (entry.waiting or entry.may_exist):
                self._ledger.forget(entry)
            raise

    # Triggering

    async def _trigger(self, start: Start, entry: Entry) -> tuple[Run, bool]:
        """Start the run of an entry, or find it in Airflow; also return whether this call's request started it."""
        call = start.call
        try:
            await self._require_can_run(call.tool, start.until)
            await self._quotas.admit(call.caller, call.tool, entry.run_id)
        except (TriggerRefused, RateLimited) as refusal:
            if isinstance(refusal, RateLimited) and not self._quotas.may_look(call.caller, call.tool):
                raise
            run = await self._find(call.tool.dag_id, entry.run_id)
            if run:
                return self._record_run(call, entry, run)
            raise
        try:
            run = await self._settler.settle(start, entry)
        except BaseException:
            self._quotas.attempted(entry.run_id, may_exist=entry.may_exist)
            raise
        self._quotas.attempted(entry.run_id, may_exist=call.made(run))
        return self._record_run(call, entry, run)

    def _record_run(self, call: Call, entry: Entry, run: Run) -> tuple[Run, bool]:
        self._ledger.exists(entry)
        return run, call.made(run)

    async def _find(self, dag_id: str, run_id: str) -> Run | None:
        try:
            return await self._api.fetch_run(dag_id, run_id, attempts=ATTEMPTS)
        except AirflowNotFound:
            return None

    # Checks before the start

    async def _require_can_run(self, tool: Tool, until: float) -> None:
        """Refuse a dag whose run would stay queued for ever, or that no longer exists."""
        try:
            dag = await retry(lambda: self._summaries(tool.dag_id), may_retry=is_not_sent, until=until)
            reason = reason_not_to_run(dag)
        except AirflowNotFound:
            reason = "it is no longer in Airflow"
        if reason:
            self._catalog.refresh_soon(tool.dag_id)
            raise TriggerRefused(f"dag {tool.dag_id} cannot run now: {reason}.")
