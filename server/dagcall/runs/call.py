"""One call of a tool, and the run that it gets."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from dagcall.airflow import Account, Run
from dagcall.errors import AirflowError, AirflowUnreachable, CallerError, TriggerRefused
from dagcall.plain_json import Json
from dagcall.runs.call_times import CallTimes
from dagcall.runs.ledger import Entry
from dagcall.runs.task_watcher import RunObserver
from dagcall.tools import WAIT_TOOL_NAME, Tool

MAX_NOTE_TEXT = 800
"""Maximum length of a note's text. The nonce, delivery marks and answered questions follow it, and Airflow accepts
1,000 characters."""
IN_LINE = "in line"
"""The first stage of a call."""
NOTHING_STARTED = "Nothing was started: "
_PROCESS = secrets.token_hex(8)
_calls = count()


@dataclass(frozen=True, slots=True)
class Listener:
    """A caller that waits for a run, and its callbacks."""

    deadline: float
    """When the caller needs an answer, by the loop's clock."""
    on_stage: Callable[[str], None] = lambda _: None
    """Called with the current stage, in a word or two."""
    on_observer: Callable[[RunObserver], None] | None = None
    """Called with the run's observer; set by listeners that report progress."""
    on_outcome: Callable[[Entry], None] = lambda _: None
    """Called with the run's entry before the outcome is sent, so that the listener can record the delivery there."""
    on_run: Callable[[str], None] = lambda _: None
    """Called with the id of the run that the call gets."""
    stops_for_questions: bool = True
    """Whether a question to a person ends the wait; otherwise the wait continues until a person has answered."""
    times: CallTimes = field(default_factory=CallTimes)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool, as it arrived."""

    tool: Tool
    arguments: Mapping[str, Json]
    caller: str
    """Who calls; the owner of the run."""
    listener: Listener
    key: str | None = None
    """The caller's idempotency key."""
    note: str = ""
    account: Account | None = None
    """The Airflow account that starts the run; None: dagcall's own."""
    nonce: str = field(default_factory=lambda: f"{_PROCESS}{next(_calls):08x}")
    """Written into the run's note, to recognise the run as this call's: another call may use the same run id."""

    @property
    def full_note(self) -> str:
        """The note with the nonce."""
        return f"{self.note[:MAX_NOTE_TEXT]} [{self.nonce}]".lstrip()

    def made(self, run: Run) -> bool:
        """Say whether this call's own request started the run."""
        return self.nonce in run.note


@dataclass(frozen=True, slots=True)
class Started:
    """The run of a call."""

    run: Run
    entry: Entry
    """Counts this call as waiting."""
    is_replayed: bool = False
    """Whether the run had ended before this call arrived: the call may be a retry of the one that started it."""
    is_shared: bool = False
    """Whether an identical call of the same caller waits for the run, too."""
    is_reused: bool = False
    """Whether the run belongs to an earlier call, whose results `reuse_seconds` allows this call to get."""


def unstarted(call: Call, entry: Entry | None, error: AirflowError | CallerError) -> AirflowError | CallerError:
    """Return the error for a call whose run was not started, or may have been.

    Args:
        call: the call.
        entry: the run that it was about to get; None if none was chosen yet.
        error: what went wrong.
    """
    reason = str(error).removeprefix(NOTHING_STARTED).rstrip(".")
    if entry is None or not entry.may_exist:
        message = f"{NOTHING_STARTED}{reason}."
        match error:
            case AirflowUnreachable():
                return AirflowUnreachable(message, is_effect_possible=False)
            case CallerError():
                return type(error)(message)
        return TriggerRefused(message)
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
