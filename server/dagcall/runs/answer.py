"""The answer to a call: results, a failed run, or an unfinished run."""

from collections.abc import Mapping
from dataclasses import dataclass

from dagcall.airflow import Question, RunState
from dagcall.plain_json import Json
from dagcall.results import FailureReport

SHARED = (
    "An identical call of yours was already waiting for this run, so no second run was started. To get a separate run "
    "for each call, use idempotency keys."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a call, other than an error."""

    state: RunState
    """The run's state when the wait ended."""
    run_id: str
    url: str
    results: Mapping[str, Json] | None = None
    """Task id -> plain JSON; None without results."""
    failure: FailureReport | None = None
    """Why there are no results, and will be none."""
    skipped: tuple[str, ...] = ()
    """The results that are null because the dag skipped their task: `task`, or `task[2]`."""
    questions: tuple[Question, ...] = ()
    """The questions that the run asks people."""
    notice: str = ""
    """Why the questions are still open, if dagcall asked them; a sentence."""
    progress_text: str = ""
    """The progress of an unfinished run, in words."""
    is_replayed: bool = False
    """Whether the run had ended before this call arrived, so that the call may be a retry."""
    is_shared: bool = False
    """Whether an identical call of the same caller waits for the run, too."""
    is_reused: bool = False
    """Whether the results are those of an earlier call with the same arguments (`reuse_seconds`)."""
