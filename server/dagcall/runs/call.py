"""One call of a tool, and the run that it gets."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from dagcall.airflow import Account, Run
from dagcall.errors import AirflowError, AirflowUnreachable, CallerError, TriggerRefused
from dagcall.plain_json import Json
from dagcall.runs.ledger import Entry
from dagcall.runs.task_watcher import RunObserver
from dagcall.tools import WAIT_TOOL_NAME, Tool

MAX_NOTE_TEXT = 800
"""Characters of a note; nonce, receipts and who answered questions come behind it, and Airflow takes 1,000."""
IN_LINE = "in line"
"""The first stage of a call."""
NOTHING_STARTED = "Nothing was started: "
_PROCESS = secrets.token_hex(8)
_calls = count()


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who waits for a run, and what they want to be told meanwhile."""

    deadline: float
    """When they have to have an answer, by the loop's clock."""
    on_stage: Callable[[str], None] = lambda _: None
    """Told what is going on, in a word or two."""
    on_observer: Callable[[RunObserver], None] | None = None
    """Given what observes the run, by those who want to know how far it is."""
    on_outcome: Callable[[Entry], None] = lambda _: None
    """Given the entry of a run whose outcome is about to go to its caller, to note there whether it arrived."""
    stops_for_questions: bool = True
    """Whether to come back as soon as a person is asked, or to wait until one has answered."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool, as it came in."""

    tool: Tool
    arguments: Mapping[str, Json]
    caller: str
    """Who calls; a run's owner."""
    listener: Listener
    key: str | None = None
    """The caller's idempotency key."""
    note: str = ""
    account: Account | None = None
    """In whose name the run is started; None: dagcall's own."""
    nonce: str = field(default_factory=lambda: f"{_PROCESS}{next(_calls):08x}")
    """Written into the run's note, to know this call's run from another one of the same id."""

    @property
    def full_note(self) -> str:
        """The note with the nonce."""
        return f"{self.note[:MAX_NOTE_TEXT]} [{self.nonce}]".lstrip()

    def made(self, run: Run) -> bool:
        """Say whether it was this call's own request that made the run."""
        return self.nonce in run.note


@dataclass(frozen=True, slots=True)
class Started:
    """The run of a call."""

    run: Run
    entry: Entry
    """Counts this call among those who wait."""
    is_replayed: bool = False
    """Whether the run had ended before this call came, which may be a retry of the one whose run it is."""
    is_shared: bool = False
    """Whether an identical call of the same caller waits for the run, too."""
    is_reused: bool = False
    """Whether the run is that of an earlier call, whose outcome the operator lets this one have (`reuse_seconds`)."""


def unstarted(call: Call, entry: Entry | None, error: AirflowError | CallerError) -> AirflowError | CallerError:
    """Return what a caller is told whose run could not be started, or perhaps was.

    Args:
        call: the call.
        entry: the run that it was about to get; None if there was none yet.
        error: what went wrong.
    """
    reason = str(error).removeprefix(NOTHING_STARTED).rstrip(".")
    if entry is None or not entry.may_exist:
        told = f"{NOTHING_STARTED}{reason}."
        match error:
            case AirflowUnreachable():
                return AirflowUnreachable(told, is_effect_possible=False)
            case CallerError():
                return type(error)(told)
        return TriggerRefused(told)
    run = f"run {entry.run_id} of dag {call.tool.dag_id}"
    return AirflowUnreachable(
        (
            f"This call belongs to {run}, but its outcome is not known: {reason}."
            if entry.is_started
            else f"It is not known whether {run} was started: {reason}."
        )
        + " Call again with the same arguments to find out; this starts no second run. To check without starting "
        f"anything, call {WAIT_TOOL_NAME} with tool {call.tool.name!r} and this run id.",
        is_effect_possible=True,
    ).about(call.tool.dag_id, entry.run_id)
