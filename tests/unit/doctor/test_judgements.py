"""What the pure functions make of facts that the fake Airflow cannot easily have."""

from datetime import UTC, datetime
from typing import Any

import pytest

from dagcall.airflow import DagSummary, Heartbeat
from dagcall.doctor.checks import checks_for
from dagcall.doctor.dags import AllowList, Tools, judge_allow_list, judge_paused, judge_pins, judge_tools
from dagcall.doctor.examination import Outcome, blocker_of
from dagcall.doctor.finding import Finding, Status, failure, ok, skipped
from dagcall.doctor.health import (
    ComponentFacts,
    LoadFacts,
    judge_component,
    judge_database,
    judge_load,
)
from dagcall.doctor.log_in import AuthManager, Renewal, Token, judge_auth_manager, judge_renewal, judge_token
from dagcall.doctor.network import (
    Certificate,
    Clocks,
    Front,
    Lookup,
    PublicUrl,
    judge_certificate,
    judge_clocks,
    judge_front,
    judge_lookup,
    judge_public_url,
    judge_version,
)
from dagcall.doctor.options import (
    BASE_URL,
    EXECUTION_URL,
    EXECUTOR,
    IDLE_SLEEP,
    PORT,
    OptionFacts,
    judge_execution_url,
    judge_idle_sleep,
    judge_parsing,
)
from dagcall.settings.settings import Settings

OK, WARNING, FAILURE, SKIPPED = Status.OK, Status.WARNING, Status.FAILURE, Status.SKIPPED
NOW = datetime(2026, 11, 29, tzinfo=UTC)
LOAD = {1: [0.01, 0.01, 0.02], 2: [0.02, 0.02], 4: [0.2, 0.2, 0.2, 0.2]}


def front(**facts: Any) -> Front:
    return Front("https://airflow.example.com", **facts)


CASES = [
    (judge_lookup, Lookup("a.test", ("10.0.0.7", "10.0.0.8")), OK, "a.test is 10.0.0.7, 10.0.0.8"),
    (judge_lookup, Lookup("::1", ("::1",)), OK, "::1 is an address"),
    (judge_certificate, Certificate("t", is_tls=False), WARNING, "in plain text"),
    (judge_certificate, Certificate("these", proxy="http://p"), OK, "inside the proxy's connection; trusted are these"),
    (judge_certificate, Certificate("these"), OK, "found in these"),
    (judge_certificate, Certificate("these", issuer="CA", seconds_left=90 * 86_400), OK, "valid for 90 days"),
    (judge_certificate, Certificate("these", problem="no TLS connection: reset"), FAILURE, "reset; trusted are these"),
    (judge_front, front(status=302), FAILURE, "pointing to another address"),
    (judge_version, front(version="3.0.6"), FAILURE, "Airflow 3.0.6; dagcall needs 3.1 or newer"),
    (judge_version, front(version="3.4.0"), WARNING, "newer than 3.3"),
    (judge_version, front(version="3.1.8"), OK, "Airflow 3.1.8"),
    (judge_clocks, Clocks(None, 0), WARNING, "have no Date"),
    (judge_clocks, Clocks(100, 140), WARNING, "40 s ahead of Airflow"),
    (judge_clocks, Clocks(140, 100), WARNING, "40 s behind Airflow"),
    (judge_public_url, PublicUrl("http://d", is_plain=True, status=200, is_dagcall=True), WARNING, "in plain text"),
    (judge_component, ComponentFacts("triggerer", Heartbeat(None, None), None), WARNING, "never seen one"),
    (judge_component, ComponentFacts("scheduler", Heartbeat("unhealthy", None), None), FAILURE, "never seen one"),
    (judge_component, ComponentFacts("scheduler", Heartbeat("healthy", None), None), OK, "running"),
    (judge_component, ComponentFacts("scheduler", Heartbeat("healthy", NOW), -1.0), OK, "last heartbeat 0 ms ago"),
    (judge_database, Heartbeat("unhealthy", None), FAILURE, "does not reach its database"),
    (judge_load, LoadFacts(LOAD, 1), OK, "one read 10 ms, 2 at once 20 ms, 4 at once 200 ms"),
    (judge_load, LoadFacts(LOAD, 4), WARNING, "min_in_flight is 4, but only 2 at once are answered without delay"),
    (judge_load, LoadFacts(LOAD, 8), OK, "one read 10 ms"),
    (judge_load, LoadFacts({1: [2.0]}, 1), WARNING, "is slow"),
    (judge_auth_manager, AuthManager("AWS auth manager sub application", "username"), FAILURE, "the AWS auth manager"),
    (judge_auth_manager, AuthManager("AWS auth manager sub application", "token_file"), OK, "the AWS auth manager"),
    (judge_auth_manager, AuthManager("Our own", "username"), OK, "one that dagcall does not know: Our own"),
    (judge_token, Token("token_file"), OK, "does not say how long it lasts"),
    (judge_token, Token("token", -60.0), WARNING, "seems to have ended 60 s ago"),
    (judge_token, Token("token", None, 600.0), WARNING, "the token inside it 10 min"),
    (judge_token, Token("token", 864_000.0), OK, "lasts 10 days"),
    (judge_renewal, Renewal("token_command"), OK, "a second log-in works, and gives the same token"),
    (judge_renewal, Renewal("token_file"), OK, "the file is read again"),
    (judge_idle_sleep, OptionFacts({IDLE_SLEEP: "soon"}), SKIPPED, "not known"),
    (judge_parsing, OptionFacts({}), SKIPPED, "not known"),
    (judge_execution_url, OptionFacts({}), OK, "tasks report to http://localhost:8080/execution/"),
    (judge_execution_url, OptionFacts({EXECUTOR: "CeleryExecutor"}), WARNING, "on each worker's own machine"),
    (judge_execution_url, OptionFacts({PORT: "9"}), FAILURE, "listens on port 9 ([api] port): tasks fail"),
    (
        judge_execution_url,
        OptionFacts({PORT: "9", EXECUTION_URL: "http://127.0.0.1:8/execution/"}),
        WARNING,
        "unless something passes their requests on",
    ),
    (
        judge_execution_url,
        OptionFacts({BASE_URL: "https://a.test/airflow", EXECUTION_URL: "https://a.test/execution/"}),
        WARNING,
        "but this Airflow answers at /airflow/execution/",
    ),
    (judge_execution_url, OptionFacts({BASE_URL: "https://a.test/airflow/"}), OK, "https://a.test/airflow/execution/"),
    (judge_allow_list, AllowList(0), FAILURE, "it is empty"),
    (judge_allow_list, AllowList(0, chosen="d"), OK, "selects 0 dags; rights are checked on d"),
    (judge_tools, Tools(0, published=0), OK, "none published"),
    (judge_pins, Tools(0, published=0, pins="p", differences={}), OK, "all tools equal those in p"),
]


@pytest.mark.parametrize(("judge", "facts", "status", "sentence"), CASES)
def test_facts_are_judged(judge: Any, facts: Any, status: Status, sentence: str) -> None:
    finding: Finding = judge(facts)
    assert (finding.status, sentence in finding.found) == (status, True), finding


def test_many_paused_dags_are_cut() -> None:
    paused = [DagSummary(f"d{n}", frozenset(), True, False, False, None) for n in range(9)]  # noqa: FBT003 - a dag as Airflow lists it
    assert "d4 and 4 more: not published" in judge_paused(AllowList(1, paused)).found


def test_each_check_needs_earlier_ones() -> None:
    entry = {"callers": ["*"], "username": "a", "password": "b"}
    checks = checks_for(Settings.model_validate({"accounts": [entry]}))
    made: set[str] = set()
    for check in checks:
        assert set(check.needs) <= made
        assert check.name not in made
        made.add(check.name)


def test_first_failed_check_is_named() -> None:
    made = {
        "a": Outcome("a", "?", failure("no")),
        "b": Outcome("b", "?", skipped("needs: a"), "a"),
        "c": Outcome("c", "?", ok("yes")),
        "d": Outcome("d", "?", skipped("cannot be told")),
    }
    assert blocker_of(("c",), made) == ""
    assert blocker_of(("c", "b"), made) == "a"
    assert blocker_of(("d",), made) == "d"
