"""The life of a call on one page: what can happen to it, and what dagcall does then.

Pure. `settling` performs the actions until the run is known, `answering` those after that. Each performs one action,
says which event came of it, and looks up in `NEXT` what to do then.

Before that, `starting` has chosen the run's id: of an earlier call that this one repeats or shares, or a new one.
Beside it, in every state: when the time of a call is over, or dagcall stops, it is told what is known; when its caller
leaves, the run goes on, or is set to failed a few seconds later where the operator wants that (`cancel`); when its
outcome has arrived, that is noted on the run (`delivery_marks`).
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple


class State(Enum):
    """How far a call has come."""

    UNSENT = auto()
    """No request to start its run has left, or it is known of each that it had no effect."""
    UNSURE = auto()
    """A request to start its run has left and may have had an effect, or the run is known to exist."""
    TAKEN = auto()
    """Airflow has a run of this id, or one of this logical date; its answer does not say which."""
    WAITING = auto()
    """The run exists, and has not ended."""
    READING = auto()
    """There is nothing more to wait for."""


class Event(Enum):
    """What came of an action."""

    # of POST
    CREATED = auto()
    CONFLICT = auto()
    """409."""
    REFUSED = auto()
    """400, 401, 403, 404 or 422, by Airflow itself."""
    NOT_SENT = auto()
    """Nothing of it reached Airflow."""
    ANSWER_LOST = auto()
    """No answer, one of a proxy, or one that nobody can read."""
    # of FIND
    FOUND = auto()
    NOT_FOUND = auto()
    """By Airflow's own word."""
    NOT_SEEN = auto()
    """Airflow did not answer, or something in front of it did."""
    # of WAIT
    SUCCEEDED = auto()
    FAILED = auto()
    RESULT_READY = auto()
    """The run goes on, and the tool answers as soon as its result is there."""
    RESULT_LOST = auto()
    """The run goes on, and a task has failed for good that makes the result."""
    PERSON_ASKED = auto()
    """The run waits for a person."""
    TIME_OVER = auto()
    """The call has waited for as long as it may, or dagcall stops."""
    # of READ_RESULTS and READ_FAILURE
    COMPLETE = auto()
    INCOMPLETE = auto()
    """The run succeeded and left out what makes its result."""
    CANCELLED = auto()
    """The run is a success only because Airflow's scheduler had it in hand as its caller cancelled it."""
    FAILURE_READ = auto()


class Action(Enum):
    """What to do next. A call is over where it is told something."""

    POST = auto()
    """Ask Airflow to start the run, by its id."""
    FIND = auto()
    """Ask Airflow for the run, by its id."""
    WAIT = auto()
    READ_RESULTS = auto()
    READ_FAILURE = auto()
    TELL_REASON = auto()
    """Airflow's own. "Nothing was started" is said if the call is unsent, and not if it is unsure."""
    TELL_RESULTS = auto()
    TELL_FAILURE = auto()
    TELL_CANCELLED = auto()
    TELL_HANDLE = auto()
    """How far the run is, what it asks a person, and how to wait for it again."""


class Step(NamedTuple):
    """What follows from an event."""

    action: Action
    is_later: bool = False
    """Whether the action comes after a pause, if there is time for one; else the call is told what is known."""


NEXT: Mapping[tuple[State, Event], Step] = {
    # The start. Airflow takes each run id once per dag: to send the same POST again never makes a second run.
    (State.UNSENT, Event.CREATED): Step(Action.WAIT),
    (State.UNSENT, Event.REFUSED): Step(Action.TELL_REASON),
    (State.UNSENT, Event.NOT_SENT): Step(Action.POST, is_later=True),
    (State.UNSENT, Event.ANSWER_LOST): Step(Action.POST, is_later=True),  # of the log-in
    # What has left may take effect at any time, so the run is looked for before the request is sent again.
    (State.UNSURE, Event.CREATED): Step(Action.WAIT),
    (State.UNSURE, Event.NOT_SENT): Step(Action.FIND, is_later=True),
    (State.UNSURE, Event.ANSWER_LOST): Step(Action.FIND, is_later=True),
    (State.UNSURE, Event.FOUND): Step(Action.WAIT),
    (State.UNSURE, Event.NOT_FOUND): Step(Action.POST),
    (State.UNSURE, Event.NOT_SEEN): Step(Action.FIND, is_later=True),
    # A refusal is about the last request, and not about an earlier one that may still take effect.
    (State.UNSURE, Event.REFUSED): Step(Action.TELL_REASON),
    # Another call had sent the request to start this run, and it came out meanwhile that it had no effect.
    (State.UNSENT, Event.FOUND): Step(Action.WAIT),
    (State.UNSENT, Event.NOT_FOUND): Step(Action.POST),
    (State.UNSENT, Event.NOT_SEEN): Step(Action.POST, is_later=True),
    # A conflict: the run is there, perhaps by an earlier request of this call. If it is not, its logical date is taken,
    # and the run gets another one.
    (State.TAKEN, Event.CONFLICT): Step(Action.FIND),
    (State.TAKEN, Event.FOUND): Step(Action.WAIT),
    (State.TAKEN, Event.NOT_FOUND): Step(Action.POST),
    (State.TAKEN, Event.NOT_SEEN): Step(Action.FIND, is_later=True),
    # The wait. While Airflow is away it goes on: the run does, too.
    (State.WAITING, Event.SUCCEEDED): Step(Action.READ_RESULTS),
    (State.WAITING, Event.RESULT_READY): Step(Action.READ_RESULTS),
    (State.WAITING, Event.FAILED): Step(Action.READ_FAILURE),
    (State.WAITING, Event.RESULT_LOST): Step(Action.READ_FAILURE),
    (State.WAITING, Event.PERSON_ASKED): Step(Action.TELL_HANDLE),
    (State.WAITING, Event.TIME_OVER): Step(Action.TELL_HANDLE),
    # The outcome. It is read as long as the caller waits, and at least for a few seconds.
    (State.READING, Event.COMPLETE): Step(Action.TELL_RESULTS),
    (State.READING, Event.INCOMPLETE): Step(Action.READ_FAILURE),
    (State.READING, Event.CANCELLED): Step(Action.TELL_CANCELLED),
    (State.READING, Event.FAILURE_READ): Step(Action.TELL_FAILURE),
}
"""What follows from an event. What is not here cannot happen."""
