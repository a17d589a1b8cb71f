"""The life of a call on one page: what can happen, and what dagcall does next.

Pure. `settling` performs the actions until the run is known to exist; `answering` performs the later ones. Each
performs one action, reports the event that resulted, and looks up the next action in `NEXT`.

`starting` has chosen the run id before: a new one, or that of an earlier call that this call repeats or shares.

In every state:

* When a call times out or dagcall shuts down, the caller gets what is known.
* When a caller disconnects, its run continues, or is set to failed a few seconds later if the operator configured that
  (`cancel`).
* When an outcome is delivered, dagcall marks the run (`delivery_marks`).
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple


class State(Enum):
    """How far a call has come."""

    UNSENT = auto()
    """No request to start the run was sent, or every request sent is known to have had no effect."""
    UNSURE = auto()
    """A request was sent and may have started the run, or the run is known to exist."""
    TAKEN = auto()
    """Airflow has a run with this id or with this logical date; its answer does not say which."""
    WAITING = auto()
    """The run exists and has not ended."""
    READING = auto()
    """The wait is over; the outcome is being read."""


class Event(Enum):
    """The result of an action."""

    # of POST
    CREATED = auto()
    CONFLICT = auto()
    """409."""
    REFUSED = auto()
    """400, 401, 403, 404 or 422, from Airflow itself."""
    NOT_SENT = auto()
    """The request did not reach Airflow."""
    ANSWER_LOST = auto()
    """No answer, a proxy's answer, or an unreadable answer."""
    # of FIND
    FOUND = auto()
    NOT_FOUND = auto()
    """Airflow itself answered 404."""
    NOT_SEEN = auto()
    """Airflow did not answer, or a proxy answered."""
    # of WAIT
    SUCCEEDED = auto()
    FAILED = auto()
    RESULT_READY = auto()
    """The run continues, but the tool returns as soon as its result exists."""
    RESULT_LOST = auto()
    """The run continues, but a task that produces the result has failed with no retries left."""
    PERSON_ASKED = auto()
    """The run waits for a person."""
    TIME_OVER = auto()
    """The call timed out, or dagcall is shutting down."""
    # of READ_RESULTS and READ_FAILURE
    COMPLETE = auto()
    INCOMPLETE = auto()
    """The run succeeded, but did not run the tasks that produce its result."""
    CANCELLED = auto()
    """The caller cancelled the run while Airflow's scheduler was processing it, so Airflow reports a success."""
    FAILURE_READ = auto()


class Action(Enum):
    """What to do next. The `TELL_…` actions end the call."""

    POST = auto()
    """Ask Airflow to start the run with this id."""
    FIND = auto()
    """Ask Airflow for the run with this id."""
    WAIT = auto()
    READ_RESULTS = auto()
    READ_FAILURE = auto()
    TELL_REASON = auto()
    """Airflow's reason. The message says "Nothing was started" if the call is `UNSENT`, but not if it is `UNSURE`."""
    TELL_RESULTS = auto()
    TELL_FAILURE = auto()
    TELL_CANCELLED = auto()
    TELL_HANDLE = auto()
    """The run's state and progress, its questions to people, and how to wait for it again."""


class Step(NamedTuple):
    """What follows from an event."""

    action: Action
    is_later: bool = False
    """Whether to pause before the action. If there is no time for a pause, the caller gets what is known."""


NEXT: Mapping[tuple[State, Event], Step] = {
    # The start. Airflow accepts each run id once per dag, so repeating the same POST never starts a second run.
    (State.UNSENT, Event.CREATED): Step(Action.WAIT),
    (State.UNSENT, Event.REFUSED): Step(Action.TELL_REASON),
    (State.UNSENT, Event.NOT_SENT): Step(Action.POST, is_later=True),
    (State.UNSENT, Event.ANSWER_LOST): Step(Action.POST, is_later=True),  # the log-in's answer
    # A sent request may take effect at any time, so dagcall looks for the run before it sends the request again.
    (State.UNSURE, Event.CREATED): Step(Action.WAIT),
    (State.UNSURE, Event.NOT_SENT): Step(Action.FIND, is_later=True),
    (State.UNSURE, Event.ANSWER_LOST): Step(Action.FIND, is_later=True),
    (State.UNSURE, Event.FOUND): Step(Action.WAIT),
    (State.UNSURE, Event.NOT_FOUND): Step(Action.POST),
    (State.UNSURE, Event.NOT_SEEN): Step(Action.FIND, is_later=True),
    # A refusal concerns the last request only; an earlier request may still take effect.
    (State.UNSURE, Event.REFUSED): Step(Action.TELL_REASON),
    # Another call had sent the request to start this run, and has since learned that it had no effect.
    (State.UNSENT, Event.FOUND): Step(Action.WAIT),
    (State.UNSENT, Event.NOT_FOUND): Step(Action.POST),
    (State.UNSENT, Event.NOT_SEEN): Step(Action.POST, is_later=True),
    # A conflict: the run exists, perhaps from an earlier request of this call. If it does not, its logical date is
    # taken, and the run gets another one.
    (State.TAKEN, Event.CONFLICT): Step(Action.FIND),
    (State.TAKEN, Event.FOUND): Step(Action.WAIT),
    (State.TAKEN, Event.NOT_FOUND): Step(Action.POST),
    (State.TAKEN, Event.NOT_SEEN): Step(Action.FIND, is_later=True),
    # The wait. It continues while Airflow is unreachable, because the run does, too.
    (State.WAITING, Event.SUCCEEDED): Step(Action.READ_RESULTS),
    (State.WAITING, Event.RESULT_READY): Step(Action.READ_RESULTS),
    (State.WAITING, Event.FAILED): Step(Action.READ_FAILURE),
    (State.WAITING, Event.RESULT_LOST): Step(Action.READ_FAILURE),
    (State.WAITING, Event.PERSON_ASKED): Step(Action.TELL_HANDLE),
    (State.WAITING, Event.TIME_OVER): Step(Action.TELL_HANDLE),
    # The outcome. Reading it is retried as long as the caller waits, and for at least a few seconds.
    (State.READING, Event.COMPLETE): Step(Action.TELL_RESULTS),
    (State.READING, Event.INCOMPLETE): Step(Action.READ_FAILURE),
    (State.READING, Event.CANCELLED): Step(Action.TELL_CANCELLED),
    (State.READING, Event.FAILURE_READ): Step(Action.TELL_FAILURE),
}
"""What follows from an event in a state. Missing combinations cannot happen."""
