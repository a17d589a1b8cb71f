"""Questions that were put to a person and came back without an answer, as marks in the note of their run.

Pure. A client that follows a task may ask any replica, and is never to see a question again that its person has
declined; Airflow is the only store that all of them share. A mark is `(declined 1f3c9a2b)`: what became of the
question, and a hash of its key, which is another one when the task asks anew. No name in a note holds parentheses.
"""

import hashlib
from typing import Literal

from dagcall.airflow import Question

Reason = Literal["declined", "closed", "refused", "unfit"]
"""The person declined, or closed the form; Airflow does not take the answer from dagcall; the answer does not fit."""

_SENTENCES: dict[Reason, str] = {
    "declined": "Declined through MCP by {who}: {name}",
    "closed": "Closed through MCP without an answer by {who}: {name}",
    "refused": "Airflow did not take an answer through MCP by {who}: {name}",
    "unfit": "An answer through MCP by {who} did not fit: {name}",
}


def mark(question: Question, reason: Reason) -> str:
    """Return the mark."""
    return f"({reason} {hashlib.sha256(question.key.encode()).hexdigest()[:8]})"


def sentence(question: Question, reason: Reason, who: str) -> str:
    """Return the mark with what an Airflow administrator reads before it.

    Args:
        question: what was asked.
        reason: why it has no answer.
        who: through whom it was asked.
    """
    return f"{_SENTENCES[reason].format(who=who, name=question.name)} {mark(question, reason)}."


def times(note: str, question: Question, reason: Reason) -> int:
    """Return how often a note says this of a question."""
    return note.count(mark(question, reason))
