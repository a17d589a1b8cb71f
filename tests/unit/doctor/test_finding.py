import pytest

from dagcall.doctor.finding import duration, listed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0142, "14 ms"),
        (1, "1 s"),
        (2.54, "2.5 s"),
        (30, "30 s"),
        (119, "119 s"),
        (300, "5 min"),
        (7200, "2 h"),
        (86_400, "24 h"),
        (2_592_000, "30 days"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_long_lists_are_cut() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
