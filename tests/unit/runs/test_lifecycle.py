"""The table of a call's life: complete, and true to the promise of one call, one run."""

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
def test_every_event_has_a_row_in_every_state_in_which_it_can_happen(state: State, events: set[Event]) -> None:
    assert {event for of, event in NEXT if of is state} == events


def test_a_request_whose_effect_is_not_known_is_sent_again_only_after_a_look() -> None:
    posts = {event for (state, event), step in NEXT.items() if state is State.UNSURE and step.action is Action.POST}

    assert posts == {Event.NOT_FOUND}


def test_only_what_can_pass_is_tried_again_after_a_pause() -> None:
    later = {event for (_, event), step in NEXT.items() if step.is_later}

    assert later == {Event.NOT_SENT, Event.ANSWER_LOST, Event.NOT_SEEN}


def test_every_action_is_reached() -> None:
    assert {step.action for step in NEXT.values()} == set(Action)
