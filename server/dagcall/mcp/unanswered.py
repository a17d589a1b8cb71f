"""Marks in a run's note for questions that a person saw but did not answer.

Pure. A client that polls a task may reach any replica, and must never see a question again that its person declined;
Airflow is the only storage that replicas share. A mark is `(declined 1f3c9a2b)`: the reason, and a hash of the
question's key, which changes when the task asks again. Names in a note never contain parentheses.
"""

import hashlib
from typing import Literal

from dagcall.airflow import Question

Reason = Literal["declined", "closed", "refused", "unfit"]
"""The person declined, or closed the form; Airflow refused the answer from dagcall; the answer was invalid."""

_SENTENCES: dict[Reason, str] = {
    "declined": "Declined through MCP by {who}: {name}",
    "closed": "Closed through MCP without an answer by {who}: {name}",
    "refused": "Airflow refused an answer through MCP by {who}: {name}",
    "unfit": "Invalid answer through MCP by {who}: {name}",
}


def mark(question: Question, reason: Reason) -> str:
    """Return the mark."""
    return f"({reason} {hashlib.sha256(question.key.encode()).hexdigest()[:8]})"


def sentence(question: Question, reason: Reason, who: str) -> str:
    """Return the mark, preceded by a sentence for Airflow's administrators.

    Args:
        question: the question.
        reason: why it has no answer.
        who: the person and client that were asked.
    """
    return f"{_SENTENCES[reason].format(who=who, name=question.name)} {mark(question, reason)}."


def times(note: str, question: Question, reason: Reason) -> int:
    """Return how many marks for this question and reason a note contains."""
    return note.count(mark(question, reason))
