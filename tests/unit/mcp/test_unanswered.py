"""Questions that were closed without an answer, recorded as marks in a run's note."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dagcall.mcp.unanswered import Reason, mark, sentence, times
from tests.unit.runs.test_hitl_forms import APPROVAL

ASKED_AGAIN = replace(APPROVAL, asked_at=APPROVAL.asked_at + timedelta(seconds=1))
MAPPED = replace(APPROVAL, map_index=2)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("declined", "Declined through MCP by key:ada: approve"),
        ("closed", "Closed through MCP without an answer by key:ada: approve"),
        ("refused", "Airflow refused an answer through MCP by key:ada: approve"),
        ("unfit", "Invalid answer through MCP by key:ada: approve"),
    ],
)
def test_note_states_what_happened_to_a_question_and_marks_it(reason: Reason, told: str) -> None:
    assert sentence(APPROVAL, reason, "key:ada") == f"{told} {mark(APPROVAL, reason)}."
    assert times(sentence(APPROVAL, reason, "key:ada"), APPROVAL, reason) == 1


def test_a_mark_is_the_same_for_every_replica() -> None:
    assert mark(APPROVAL, "declined") == "(declined 8cfd6d34)"


def test_mark_identifies_one_question_and_one_reason() -> None:
    note = f"{mark(APPROVAL, 'closed')} {mark(APPROVAL, 'closed')} {mark(APPROVAL, 'declined')}"

    assert times(note, APPROVAL, "closed") == 2
    assert times(note, APPROVAL, "declined") == 1
    assert times(note, APPROVAL, "unfit") == 0
    assert times(note, ASKED_AGAIN, "closed") == 0
    assert times(note, MAPPED, "closed") == 0
