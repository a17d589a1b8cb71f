"""What the conformance suite's run makes of its checks; the run itself is in tests/conformance."""

import json
from collections import Counter
from pathlib import Path

from tests.conformance.expected import Expected, differences, read
from tests.conformance.suite import PARTS, SHORT, Check, Status, read_checks

PART = "2026-07-28"


def check(name: str, status: Status = "SUCCESS") -> Check:
    return Check(name, status, "so it goes")


def expected(status: Status, *checks: str) -> Expected:
    return Expected(status, "a reason", (PART,), checks)


def test_a_run_that_goes_as_expected_has_no_differences() -> None:
    found = {PART: [check("tools:list"), check("prompts:list", "FAILURE"), check("sse:retry", "WARNING")]}
    assert differences(found, [expected("FAILURE", "prompts:list"), expected("WARNING", "sse:retry")]) == []


def test_a_new_failure_or_warning_is_told() -> None:
    found = {PART: [check("tools:list", "FAILURE"), check("sse:retry", "WARNING")]}
    assert differences(found, []) == [
        "2026-07-28: tools:list is a FAILURE, which nobody expects: so it goes",
        "2026-07-28: sse:retry is a WARNING, which nobody expects: so it goes",
    ]


def test_an_expected_failure_of_another_part_excuses_nothing() -> None:
    found = {"2025-11-25": [check("prompts:list", "FAILURE")]}
    assert len(differences(found, [expected("FAILURE", "prompts:list")])) == 1


def test_a_failure_is_not_excused_by_an_expected_warning() -> None:
    found = {PART: [check("sse:retry", "FAILURE")]}
    assert len(differences(found, [expected("WARNING", "sse:retry")])) == 1


def test_an_expected_failure_that_passes_or_is_not_checked_is_told() -> None:
    found = {PART: [check("prompts:list"), check("prompts:get", "SKIPPED")]}
    assert differences(found, [expected("FAILURE", "prompts:list", "prompts:get", "gone:check")]) == [
        "2026-07-28: prompts:list is a SUCCESS now: take it out of expected_failures.toml",
        "2026-07-28: prompts:get is a SKIPPED now: take it out of expected_failures.toml",
        "2026-07-28: gone:check was not checked: take it out of expected_failures.toml",
    ]


def test_what_a_short_run_leaves_out_is_not_missed() -> None:
    found = {PART: [check("tools:list")]}
    assert differences(found, [expected("FAILURE", "prompts:list")], scenarios=["tools"]) == []


def test_the_file_names_each_check_once_and_only_parts_that_are_run() -> None:
    named = [(part, name) for entry in read() for part in entry.parts for name in entry.checks]
    assert [name for name, count in Counter(named).items() if count > 1] == []
    assert {part for part, _ in named} <= {part.name for part in PARTS}
    assert all(entry.reason.endswith(".") for entry in read())


def test_the_short_form_is_a_part_of_the_whole() -> None:
    whole = {part.name: part for part in PARTS}
    for part in SHORT:
        assert part._replace(scenarios=()) == whole[part.name]._replace(scenarios=())
        assert set(part.scenarios) <= set(whole[part.name].scenarios or part.scenarios)


def test_a_check_that_is_made_several_times_counts_with_its_worst(tmp_path: Path) -> None:
    folder = tmp_path / "server-server-initialize-2026-11-28T20-11-03-937Z"
    folder.mkdir()
    found = [
        {"id": "a", "status": "SUCCESS"},
        {"id": "a", "status": "FAILURE", "errorMessage": "it is\nwrong"},
        {"id": "a", "status": "SKIPPED"},
        {"id": "b", "status": "SKIPPED"},
    ]
    (folder / "checks.json").write_text(json.dumps(found))
    assert read_checks(tmp_path) == [
        Check("server-initialize:a", "FAILURE", "it is wrong"),
        Check("server-initialize:b", "SKIPPED", ""),
    ]
