"""Results are kept as long as there is room for them."""

from dagcall.results.results_cache import ResultsCache

TEN = {"a": "xx"}
"""Ten bytes of JSON, and one more with each further x."""


def test_what_was_asked_for_last_is_kept_longest() -> None:
    recent = ResultsCache(max_bytes=25)
    recent.put("first", TEN)
    recent.put("second", TEN)
    assert recent.get("first") == TEN

    recent.put("third", TEN)

    assert recent.get("second") is None
    assert recent.get("first") == recent.get("third") == TEN


def test_what_is_put_again_is_not_counted_twice() -> None:
    recent = ResultsCache(max_bytes=25)
    recent.put("first", TEN)
    recent.put("second", TEN)
    recent.put("second", {"a": "xxx"})

    assert recent.get("first") == TEN
    assert recent.get("second") == {"a": "xxx"}


def test_what_there_is_no_room_for_at_all_drops_nothing_else() -> None:
    recent = ResultsCache(max_bytes=25)
    recent.put("small", TEN)
    recent.put("large", {"a": "x" * 25})

    assert recent.get("large") is None
    assert recent.get("small") == TEN
