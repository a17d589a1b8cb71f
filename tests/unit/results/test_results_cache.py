"""The results cache evicts the least recently used results when it is full."""

from dagcall.results.results_cache import ResultsCache

TEN = {"a": "xx"}
"""Ten bytes of JSON; each further x adds one."""


def test_least_recently_used_results_are_evicted_first() -> None:
    recent = ResultsCache(max_bytes=25)
    recent.put("first", TEN)
    recent.put("second", TEN)
    assert recent.get("first") == TEN

    recent.put("third", TEN)

    assert recent.get("second") is None
    assert recent.get("first") == recent.get("third") == TEN


def test_replaced_results_are_counted_once() -> None:
    recent = ResultsCache(max_bytes=25)
    recent.put("first", TEN)
    recent.put("second", TEN)
    recent.put("second", {"a": "xxx"})

    assert recent.get("first") == TEN
    assert recent.get("second") == {"a": "xxx"}


def test_oversized_results_evict_nothing() -> None:
    recent = ResultsCache(max_bytes=25)
    recent.put("small", TEN)
    recent.put("large", {"a": "x" * 25})

    assert recent.get("large") is None
    assert recent.get("small") == TEN
