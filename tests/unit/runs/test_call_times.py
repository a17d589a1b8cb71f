"""Which phases a call went through, and how long each took."""

from dagcall.runs.call_times import CallTimes


def test_phases_follow_each_other() -> None:
    times = CallTimes(line=1.0, start=2.0, run=4.0, answer=7.0)
    assert list(times.spans(8.0)) == [("line", 1, 2), ("start", 2, 4), ("run", 4, 7), ("answer", 7, 8)]


def test_skipped_phases_are_left_out() -> None:
    """A call that got an earlier call's run sends no trigger; one that leaves sees no end."""
    assert list(CallTimes(line=1.0, run=3.0).spans(5.0)) == [("line", 1, 3), ("run", 3, 5)]
    assert list(CallTimes(line=1.0).spans(5.0)) == [("line", 1, 5)]
    assert list(CallTimes().spans(5.0)) == []


def test_first_beginning_counts_and_the_last_answer() -> None:
    """A trigger may be sent again; a run may go on after a person was asked."""
    times = CallTimes()
    for now in (1.0, 2.0):
        times.enter("start", now)
        times.enter("answer", now + 10)
    assert list(times.spans(20.0)) == [("start", 1, 12), ("answer", 12, 20)]


def test_no_phase_is_negative() -> None:
    assert list(CallTimes(answer=5.0).spans(4.0)) == [("answer", 5, 5)]
