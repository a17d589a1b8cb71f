"""The last lines of a task's log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.airflow.model import LogEvent, LoggedException
from dagcall.masking import Masker
from dagcall.results.task_log import (
    MAX_LINE_CHARACTERS,
    MIN_ROOM_CHARACTERS,
    WINDOW_CHARACTERS,
    last_lines,
    own_events,
    plain,
)


def lines(*events: LogEvent, count: int = 15, characters: int = 2000) -> list[str]:
    return last_lines(events, count, characters, Masker())


def printed(text: str) -> LogEvent:
    return LogEvent("info", text, "task.stdout")


@pytest.mark.parametrize(
    ("event", "is_own"),
    [
        (printed("hello"), True),
        (LogEvent(None, "a line of a log that is plain text"), True),
        (LogEvent("info", "Done. Returned value was: 1", "airflow.task.operators.x"), True),
        (LogEvent("info", "asked", "airflow.providers.http.hooks.http"), True),
        (LogEvent("warning", "deprecated", "airflow.models.dagbag"), True),
        (LogEvent("info", "Filling up the DagBag", "airflow.models.dagbag"), False),
        (LogEvent("info", "Worker startup parse complete", "task"), False),
        (LogEvent("debug", "Plugins are already loaded", "task"), False),
        (LogEvent("error", "Process timed out", "task"), True),
        (LogEvent("error", "Task failed with exception", "task", (LoggedException("E", ""),)), False),
        (LogEvent("critical", "Process terminated by signal.", "task", signal="SIGKILL"), False),
        (LogEvent("warning", "Process exited abnormally", "task", exit_code=1), False),
        (LogEvent("info", "::group::Post Execute", "task"), False),
    ],
)
def test_airflows_bookkeeping_is_omitted(event: LogEvent, is_own: bool) -> None:  # noqa: FBT001 - a column of the table
    assert own_events([event]) == ([event] if is_own else [])


def test_log_sources_are_omitted() -> None:
    head = [
        LogEvent(None, "::group::Log message source details"),
        LogEvent(None, "/x.log"),
        LogEvent(None, "::endgroup::"),
    ]
    assert lines(*head, printed("hello")) == ["hello"]
    assert lines(*head[:2], LogEvent("info", "::group::Pre Execute", "task"), printed("hello")) == ["hello"]


def test_late_output_within_a_log_group_is_kept() -> None:
    assert lines(LogEvent("info", "::group::Post Execute", "task"), printed("hello")) == ["hello"]


def test_last_lines_respect_the_limits() -> None:
    many = [printed(f"line {number}") for number in range(100)]
    assert lines(*many, count=2) == ["line 98", "line 99"]
    assert lines(*many, count=0) == []
    assert lines(*many, characters=15) == ["line 98", "line 99"]
    assert lines(*many, characters=14) == ["line 98", "line 99"]
    assert lines(*many, characters=13) == ["line 99"]
    assert lines(printed("two\n\nlines\n"), count=9) == ["two", "lines"]
    assert lines(printed("  indented  ")) == ["  indented"]
    (long,) = lines(printed("x" * 5000))
    assert len(long) == MAX_LINE_CHARACTERS


def test_warning_levels_and_exceptions_are_shown() -> None:
    event = LogEvent("warning", "asking again", "shop", (LoggedException("ReadTimeout", "5 s"),))
    assert lines(event) == ["WARNING asking again (ReadTimeout: 5 s)"]
    chain = (LoggedException("A", "1"), LoggedException("B", "2"))
    assert lines(LogEvent("critical", "over", "shop", chain)) == ["CRITICAL over (A: 1)"]


def test_multiline_secret_that_starts_before_the_last_lines_is_masked() -> None:
    key = ["-----BEGIN PRIVATE KEY-----", *["a1B2" * 16] * 20, "-----END PRIVATE KEY-----"]
    assert lines(*map(printed, [*key, "done"]), count=2) == [
        "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----",
        "done",
    ]


def test_huge_log_is_read_only_from_its_end() -> None:
    assert lines(printed("first " + "x" * 60_000), printed("y" * 49_900), printed("last"), count=3)[-1] == "last"


def everything(*events: LogEvent) -> list[str]:
    return lines(*events, count=10**6, characters=10**9)


def test_start_and_end_of_a_huge_text_are_kept() -> None:
    numbers = "\n".join(f"{number:09}" for number in range(6000))  # 10 characters each
    half = WINDOW_CHARACTERS // 2

    assert everything(printed(numbers[:WINDOW_CHARACTERS])) == numbers[:WINDOW_CHARACTERS].split()
    assert "\n".join(everything(printed(numbers))) == f"{numbers[:half].rstrip()}\n …{numbers[-half:]}"


@pytest.mark.parametrize(("room", "is_seen"), [(MIN_ROOM_CHARACTERS, True), (MIN_ROOM_CHARACTERS - 1, False)])
def test_earlier_events_are_read_while_there_is_room(*, room: int, is_seen: bool) -> None:
    later = printed("y" * (WINDOW_CHARACTERS - room))

    assert (everything(printed("first"), later)[0] == "first") is is_seen
    assert (everything(printed("first"), later, printed(""))[0] == "first") is is_seen


@pytest.mark.parametrize("at", [-110, -100, -90, 190, 49_880, 25_000])
def test_secret_at_the_cut_of_a_long_line_is_masked(at: int) -> None:
    secret = "correct-horse-battery-staple"
    text = "x" * 70_000
    text = f"{text[:at]} {secret} {text[at:]}"
    (line,) = last_lines([printed("before"), printed(text)], 1, 2000, Masker([secret]))
    assert not any(secret[start : start + 5] in line for start in range(len(secret) - 4))


def test_colours_and_invisible_characters_are_removed() -> None:
    assert (
        plain("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07\u202e\x00 a\r\nb\rc") == "red link a\nb\nc"
    )


@given(st.text())
def test_plain_text_is_stable(text: str) -> None:
    assert plain(plain(text)) == plain(text)
