"""The errors of calls whose run was not started, or may have been started."""

import pytest

from dagcall.errors import AirflowError, AirflowRefused, AirflowUnreachable, CallerError, RetryLater, TriggerRefused
from dagcall.runs.call import Call, Listener, unstarted
from dagcall.runs.ledger import Entry
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.tool import tool_from_dag
from tests.unit.tools.test_tool import dag

CALL = Call(tool_from_dag(dag("sales.daily"), ToolPolicy(dag="sales.daily")), {}, "key:ada", Listener(60.0))
WAIT = (
    "Call again with the same arguments to find out; this starts no second run. To check without starting anything, "
    "call wait_for_dag_run with tool 'sales_daily_a3fae80589' and this run id."
)


@pytest.mark.parametrize("entry", [None, Entry("mcp__x_0", 0)], ids=["no run yet", "a run that was never requested"])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AirflowUnreachable("Airflow does not answer.", is_effect_possible=True), AirflowUnreachable),
        (AirflowRefused("Airflow does not answer."), TriggerRefused),
        (RetryLater("Nothing was started: Airflow does not answer."), RetryLater),
    ],
    ids=["unreachable", "refused", "a caller's error"],
)
def test_error_says_that_nothing_was_started(
    entry: Entry | None, error: AirflowError | CallerError, kind: type[Exception]
) -> None:
    told = unstarted(CALL, entry, error)

    assert type(told) is kind
    assert str(told) == "Nothing was started: Airflow does not answer."
    assert getattr(told, "is_effect_possible", False) is False


def test_error_says_that_a_run_may_have_been_started() -> None:
    entry = Entry("mcp__x_0", 0, unsettled=1)

    told = unstarted(CALL, entry, RetryLater("Nothing was started: too many calls wait."))

    assert isinstance(told, AirflowUnreachable)
    assert told.is_effect_possible is True
    assert (
        str(told) == f"It is not known whether run mcp__x_0 of dag sales.daily was started: too many calls wait. {WAIT}"
    )


def test_error_says_that_the_outcome_of_a_run_is_unknown() -> None:
    entry = Entry("mcp__x_0", 0, is_started=True)

    told = unstarted(CALL, entry, AirflowUnreachable("Airflow does not answer.", is_effect_possible=False))

    assert isinstance(told, AirflowUnreachable)
    assert told.is_effect_possible is True
    assert str(told) == (
        "This call belongs to run mcp__x_0 of dag sales.daily, but its outcome is not known: Airflow does not answer. "
        f"{WAIT}"
    )


def test_note_leaves_room_for_later_additions() -> None:
    with_note = Call(CALL.tool, {}, "key:ada", Listener(60.0), note="n" * 2000, nonce="abc")

    assert with_note.full_note == f"{'n' * 800} [abc]"
    assert Call(CALL.tool, {}, "key:ada", Listener(60.0), nonce="abc").full_note == "[abc]"
