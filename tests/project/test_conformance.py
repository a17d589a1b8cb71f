"""How the results of the conformance suite are evaluated; tests/conformance runs the suite."""

import json
from collections import Counter
from pathlib import Path

from tests.conformance.expected import Expected, differences, read
from tests.conformance.suite import PARTS, SHORT, Check, Status, read_checks

PART = "2026-07-28"


def check(name: str, status: Status = "SUCCESS") -> Check:
    return Check(name, status, "a message")


def expected(status: Status, *checks: str) -> Expected:
    return Expected(status, "a reason", (PART,), checks)


def test_expected_results_have_no_differences() -> None:
    found = {PART: [check("tools:list"), check("prompts:list", "FAILURE"), check("sse:retry", "WARNING")]}
    assert differences(found, [expected("FAILURE", "prompts:list"), expected("WARNING", "sse:retry")]) == []


def test_new_failure_or_warning_is_reported() -> None:
    found = {PART: [check("tools:list", "FAILURE"), check("sse:retry", "WARNING")]}
    assert differences(found, []) == [
        "2026-07-28: tools:list is a FAILURE, which is not expected: a message",
        "2026-07-28: sse:retry is a WARNING, which is not expected: a message",
    ]


def test_expected_failure_applies_only_to_its_part() -> None:
    found = {"2025-11-25": [check("prompts:list", "FAILURE")]}
    assert len(differences(found, [expected("FAILURE", "prompts:list")])) == 1


def test_expected_warning_does_not_excuse_a_failure() -> None:
    found = {PART: [check("sse:retry", "FAILURE")]}
    assert len(differences(found, [expected("WARNING", "sse:retry")])) == 1


def test_expected_failure_that_passes_or_is_not_checked_is_reported() -> None:
    found = {PART: [check("prompts:list"), check("prompts:get", "SKIPPED")]}
    assert differences(found, [expected("FAILURE", "prompts:list", "prompts:get", "gone:check")]) == [
        "2026-07-28: prompts:list is a SUCCESS now: remove it from expected_failures.toml",
        "2026-07-28: prompts:get is a SKIPPED now: remove it from expected_failures.toml",
        "2026-07-28: gone:check was not checked: remove it from expected_failures.toml",
    ]


def test_short_run_ignores_expected_failures_of_other_scenarios() -> None:
    found = {PART: [check("tools:list")]}
    assert differences(found, [expected("FAILURE", "prompts:list")], scenarios=["tools"]) == []


def test_expected_failures_are_unique_and_name_existing_parts() -> None:
    named = [(part, name) for entry in read() for part in entry.parts for name in entry.checks]
    assert [name for name, count in Counter(named).items() if count > 1] == []
    assert {part for part, _ in named} <= {part.name for part in PARTS}
    assert all(entry.reason.endswith(".") for entry in read())


def test_short_run_is_a_subset_of_the_full_run() -> None:
    whole = {part.name: part for part in PARTS}
    for part in SHORT:
        assert part._replace(scenarios=()) == whole[part.name]._replace(scenarios=())
        assert set(part.scenarios) <= set(whole[part.name].scenarios or part.scenarios)


def test_repeated_check_counts_with_its_worst_status(tmp_path: Path) -> None:
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
