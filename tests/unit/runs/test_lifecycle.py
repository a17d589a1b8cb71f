"""The lifecycle table is complete and keeps the promise of one call, one run."""

import pytest

from dagcall.runs.lifecycle import NEXT, Action, Event, State

OF_POST = {Event.CREATED, Event.REFUSED, Event.NOT_SENT, Event.ANSWER_LOST}
OF_FIND = {Event.FOUND, Event.NOT_FOUND, Event.NOT_SEEN}
OF_WAIT = {
    Event.SUCCEEDED,
    Event.FAILED,
    Event.RESULT_READY,
    Event.RESULT_LOST,
    Event.PERSON_ASKED,
    Event.TIME_OVER,
}
OF_READING = {Event.COMPLETE, Event.INCOMPLETE, Event.CANCELLED, Event.FAILURE_READ}


@pytest.mark.parametrize(
    ("state", "events"),
    [
        (State.UNSENT, OF_POST | OF_FIND),
        (State.UNSURE, OF_POST | OF_FIND),
        (State.TAKEN, {Event.CONFLICT} | OF_FIND),
        (State.WAITING, OF_WAIT),
        (State.READING, OF_READING),
    ],
)
def test_table_covers_every_possible_event_in_every_state(state: State, events: set[Event]) -> None:
    assert {event for of, event in NEXT if of is state} == events


def test_request_with_an_unknown_effect_is_repeated_only_if_no_run_is_found() -> None:
    posts = {event for (state, event), step in NEXT.items() if state is State.UNSURE and step.action is Action.POST}

    assert posts == {Event.NOT_FOUND}


def test_only_temporary_failures_are_retried_after_a_pause() -> None:
    later = {event for (_, event), step in NEXT.items() if step.is_later}

    assert later == {Event.NOT_SENT, Event.ANSWER_LOST, Event.NOT_SEEN}


def test_every_action_is_reached() -> None:
    assert {step.action for step in NEXT.values()} == set(Action)
