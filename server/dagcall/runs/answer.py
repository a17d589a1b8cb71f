"""What a call came to: results, a failed run, or a run that goes on."""

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
    """What a call came to, other than an error."""

    state: RunState
    """`success`, or the state in which the run was left."""
    run_id: str
    url: str
    results: Mapping[str, Json] | None = None
    """Task id -> plain JSON; None while the run goes on."""
    failure: FailureReport | None = None
    """Why there are none, and will be none."""
    skipped: tuple[str, ...] = ()
    """Which of them are null because the dag skipped their task: `task`, or `task[2]`."""
    questions: tuple[Question, ...] = ()
    """What the run asks people."""
    notice: str = ""
    """Why the questions are still open, where somebody was asked; a sentence."""
    progress_text: str = ""
    """How far a run is that goes on, in words."""
    is_replayed: bool = False
    """Whether the run had ended before this call came, which repeats one whose answer was lost."""
    is_shared: bool = False
    """Whether an identical call of the same caller waits for the run, too."""
    is_reused: bool = False
    """Whether the results are those of an earlier call with the same arguments (`reuse_seconds`)."""
