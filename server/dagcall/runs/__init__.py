"""One call, one run: run ids, starting a run at most once, waiting, questions to people, cancelling.

Start reading at `runs`; `lifecycle` is the table of what happens when. Refuses to know MCP's messages and HTTP: callers
are ids here, and answers are data.
"""

from dagcall.runs.answer import SHARED, Answer
from dagcall.runs.call import IN_LINE, Call, Listener, Started
from dagcall.runs.delivery_marks import says_cancelled
from dagcall.runs.hitl_forms import MAX_QUESTIONS, form_of, message_of, question_json, waiting_message
from dagcall.runs.intervals import LONGEST_SECONDS, POLL_SHORTEST_SECONDS, interval_seconds
from dagcall.runs.ledger import Entry
from dagcall.runs.quotas import Quotas
from dagcall.runs.run_ids import Identity, run_id_in
from dagcall.runs.runs import Runs
from dagcall.runs.starting import META_IDEMPOTENCY_KEY
from dagcall.runs.task_progress import usual_seconds
from dagcall.runs.task_watcher import RunObserver
from dagcall.runs.waiter import Waiter

__all__ = [
    "IN_LINE",
    "LONGEST_SECONDS",
    "MAX_QUESTIONS",
    "META_IDEMPOTENCY_KEY",
    "POLL_SHORTEST_SECONDS",
    "SHARED",
    "Answer",
    "Call",
    "Entry",
    "Identity",
    "Listener",
    "Quotas",
    "RunObserver",
    "Runs",
    "Started",
    "Waiter",
    "form_of",
    "interval_seconds",
    "message_of",
    "question_json",
    "run_id_in",
    "says_cancelled",
    "usual_seconds",
    "waiting_message",
]
