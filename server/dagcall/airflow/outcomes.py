"""Tells the gate how each request to Airflow ended."""

from dagcall.airflow.answers import says_later
from dagcall.airflow.gate import Gate
from dagcall.airflow.http import HttpAnswer
from dagcall.errors import AirflowAnswerTooLarge, AirflowUnreachable


def report(gate: Gate, answer: HttpAnswer) -> None:
    """Report an answer."""
    if says_later(answer):
        gate.failed(is_overload=True)
    else:
        gate.answered()


class Reported:
    """Reports to the gate if there is no answer."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        match error:
            case AirflowUnreachable():
                self._gate.failed(is_overload=error.is_late)
            case AirflowAnswerTooLarge():
                self._gate.answered()
