"""`dagcall doctor` in front of the fake Airflow, over real sockets: it names what is wrong, and changes nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from dagcall.doctor import Outcome, Status, examine
from dagcall.errors import ConfigError
from dagcall.settings.settings import Settings
from tests.fake_airflow import FakeAirflow, FakeDag, FakeImportError, FakeTask, Fault
from tests.fake_airflow.access import FakeUser
from tests.fake_airflow.serving import WallClock, served
from tests.server.test_tls import Authority, tls_airflow
from tests.support.commands import free_port
from tests.support.on_a_socket import on_a_socket

NOT_EXPOSED = {"configuration", "arguments", "idle sleep", "parse interval", "execution API"}
USUALLY_SKIPPED = {"streaming", "pins", "public address", *NOT_EXPOSED}
READING_ROUTES = {"list_runs", "list_task_instances", "backfill_dry_run", "clear_run", "log_in"}


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    with served_airflow() as airflow:
        yield airflow


@contextmanager
def served_airflow(**options: Any) -> Iterator[FakeAirflow]:
    airflow = FakeAirflow(clock=WallClock(), **options)
    airflow.add_dag(FakeDag("add", params={"x": 1}, tasks=[FakeTask("total", lambda params: params["x"])]))
    with served(airflow) as airflow.url:
        yield airflow


Outcomes = Mapping[str, Outcome]


async def examined(
    airflow: FakeAirflow, /, *, dag_id: str | None = None, off: timedelta = timedelta(), **settings: Any
) -> Outcomes:
    """Return the outcome of each check, with a log-in and all dags unless `settings` say something else."""
    log_in = settings.pop("airflow", {"username": "admin", "password": "admin"})
    allowed = {} if {"tools", "dags"} & settings.keys() else {"dags": ["*"]}
    found = Settings.model_validate({"airflow": {"url": airflow.url, **log_in}, **allowed, **settings})
    own_clock = lambda: datetime.now(UTC) + off  # noqa: E731, TID251 - this machine's clock, or one that is off
    return {outcome.name: outcome async for outcome in examine(found, dag_id=dag_id, own_clock=own_clock)}


def with_status(outcomes: Outcomes, status: Status) -> set[str]:
    return {name for name, outcome in outcomes.items() if outcome.finding.status is status}


def the_failure(outcomes: Outcomes, name: str) -> str:
    """Return what the only failure says, with its advice."""
    assert with_status(outcomes, Status.FAILURE) == {name}, outcomes
    return said(outcomes, name)


def the_warning(outcomes: Outcomes, name: str) -> str:
    assert with_status(outcomes, Status.FAILURE) == set(), outcomes
    assert with_status(outcomes, Status.WARNING) == {name}, outcomes
    return said(outcomes, name)


def said(outcomes: Outcomes, name: str) -> str:
    finding = outcomes[name].finding
    return f"{finding.found}. {finding.advice}"


async def test_all_is_well(airflow: FakeAirflow) -> None:
    outcomes = await examined(airflow)
    assert with_status(outcomes, Status.SKIPPED) == USUALLY_SKIPPED
    assert with_status(outcomes, Status.OK) == outcomes.keys() - USUALLY_SKIPPED
    assert said(outcomes, "auth manager").startswith("the simple auth manager")
    assert said(outcomes, "token").startswith("lasts 24 h; dagcall renews it before")
    assert said(outcomes, "allow-list").startswith("selects 1 dag; rights are checked on add")


async def test_nothing_is_started_or_changed(airflow: FakeAirflow) -> None:
    await examined(airflow)
    assert airflow.runs == []
    changing = {request.route for request in airflow.requests if request.method not in {"GET", "HEAD"}}
    assert changing <= READING_ROUTES
    assert len(airflow.requests) <= 65
    assert airflow.max_in_flight <= 8
    assert all(outcome.meaning.endswith("?") for outcome in (await examined(airflow)).values())


async def test_only_as_many_requests_at_once_as_the_settings_allow(airflow: FakeAirflow) -> None:
    airflow.latency_seconds = 0.02
    log_in = {"username": "admin", "password": "admin", "max_in_flight": 2}
    assert with_status(await examined(airflow, airflow=log_in), Status.FAILURE) == set()
    assert airflow.max_in_flight == 2


# The network


async def test_unknown_host_is_named() -> None:
    airflow = FakeAirflow(url="http://airflow.invalid:8080")
    outcomes = await examined(airflow)
    assert "airflow.invalid has no address" in the_failure(outcomes, "DNS")
    assert {outcome.blocked_by for name, outcome in outcomes.items() if name not in {"DNS", "public address"}} == {
        "DNS"
    }


async def test_port_without_a_server_is_named() -> None:
    airflow = FakeAirflow(url=f"http://127.0.0.1:{free_port()}")
    text = the_failure(await examined(airflow), "connection")
    assert f"{airflow.url.removeprefix('http://')} accepts no connection" in text


async def test_private_authority_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path, WallClock().now(), "Example Corp CA")
    with tls_airflow(authority) as airflow:
        airflow.clock = airflow.access.clock = WallClock()
        refused = await examined(airflow)
        trusted = await examined(
            airflow, airflow={"username": "admin", "password": "admin", "ca_file": str(authority.file)}
        )
    text = the_failure(refused, "TLS")
    assert "unable to get local issuer certificate (signed by Example Corp CA)" in text
    assert "trusted are this system's certificate authorities" in text
    assert "add the one that signed the certificate" in text
    assert f"signed by Example Corp CA, found in {authority.file} (airflow.ca_file)" in the_warning(trusted, "TLS")
    assert "valid for 24 h" in said(trusted, "TLS")


async def test_unusable_file_is_an_invalid_setting(airflow: FakeAirflow, tmp_path: Path) -> None:
    log_in = {"username": "admin", "password": "admin", "ca_file": str(tmp_path / "none.pem")}
    with pytest.raises(ConfigError, match=r"airflow\.ca_file: .*none\.pem cannot be used"):
        await examined(airflow, airflow=log_in)
    assert airflow.requests == []


async def test_proxy_of_the_environment_is_named(airflow: FakeAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    airflow.url = "http://airflow.invalid"
    outcomes = await examined(airflow)
    assert said(outcomes, "DNS").startswith("left to the proxy http://127.0.0.1:9")
    assert "127.0.0.1:9 accepts no connection" in the_failure(outcomes, "connection")


async def test_airflow_2_is_named() -> None:
    async def version(_: Request) -> Response:
        return JSONResponse({"version": "2.10.5", "git_version": None})

    with on_a_socket(Starlette(routes=[Route("/api/v1/version", version)])) as url:
        outcomes = await examined(FakeAirflow(url=url))
    assert "Airflow 2.10.5; dagcall needs 3.1 or newer" in the_failure(outcomes, "version")
    assert outcomes["log-in"].blocked_by == "version"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (PlainTextResponse("it works"), "status 200, and not by Airflow's API. Set airflow.url to the address"),
        (PlainTextResponse("no", 404), "status 404, and not by Airflow's API"),
        (PlainTextResponse("down", 502), "status 502: Airflow, or a proxy in front of it, cannot answer now"),
        (RedirectResponse("https://sso.example.com/"), "pointing to https://sso.example.com/"),
    ],
    ids=["page", "missing", "down", "log-in page"],
)
async def test_other_answers_are_named(answer: Response, sentence: str) -> None:
    async def everything(_: Request) -> Response:
        return answer

    with on_a_socket(Starlette(routes=[Route("/{path:path}", everything)])) as url:
        outcomes = await examined(FakeAirflow(url=url))
    assert sentence in the_failure(outcomes, "Airflow")


async def test_connection_that_breaks_is_named(airflow: FakeAirflow) -> None:
    import httpx  # noqa: PLC0415 - the fault needs one of its errors

    airflow.add_fault(Fault(route="version", error=httpx.ReadError))
    assert "the connection to Airflow at" in the_failure(await examined(airflow), "Airflow")


@pytest.mark.parametrize(("seconds", "is_far"), [(90, True), (-90, True), (10, False), (0, False)])
async def test_clock_difference_is_named(airflow: FakeAirflow, seconds: int, *, is_far: bool) -> None:
    outcomes = await examined(airflow, off=timedelta(seconds=seconds))
    if is_far:
        assert "ahead of Airflow" in the_warning(outcomes, "clock") or "behind Airflow" in said(outcomes, "clock")
    assert (outcomes["clock"].finding.status is Status.WARNING) is is_far


# Airflow's components


@pytest.mark.parametrize(
    ("component", "sentence"),
    [
        ("scheduler", "no heartbeat for 5 min: runs stay queued. Start it (airflow scheduler)"),
        ("triggerer", "no heartbeat for 5 min: deferred tasks"),
        ("dag_processor", "no heartbeat for 5 min: new, changed and repaired dags are not noticed"),
    ],
)
async def test_stopped_component_is_named(airflow: FakeAirflow, component: str, sentence: str) -> None:
    airflow.silent_since[component] = airflow.clock.now() - timedelta(minutes=5)
    assert sentence in the_failure(await examined(airflow), component.replace("_", " "))


async def test_scheduler_that_never_ran_is_named(airflow: FakeAirflow) -> None:
    airflow.is_scheduler_silent = True
    assert "Airflow has never seen one: runs stay queued" in the_failure(await examined(airflow), "scheduler")


# The log-in


async def test_revoked_account_is_named(airflow: FakeAirflow) -> None:
    del airflow.access.users["admin"]
    outcomes = await examined(airflow)
    text = the_failure(outcomes, "log-in")
    assert "did not log in user 'admin': wrong user name or password" in text
    assert "Airflow refuses a deactivated account, and a revoked token, likewise" in text
    assert len(airflow.requests_to("log_in")) == 1
    assert outcomes["may start runs"].blocked_by == "log-in"
    assert outcomes["scheduler"].finding.status is Status.OK


async def test_revoked_token_is_named(airflow: FakeAirflow, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(airflow.access.token())
    airflow.access.revoke_tokens()
    text = the_failure(await examined(airflow, airflow={"token_file": str(file)}), "log-in")
    assert "403: Invalid JWT token" in text
    assert file.read_text() not in text


async def test_ended_token_is_named(airflow: FakeAirflow) -> None:
    token = airflow.access.token(seconds=-7200)
    text = the_failure(await examined(airflow, airflow={"token": token}), "log-in")
    assert "the token in the settings ended 2 h ago" in text
    assert "Get a new token" in text
    assert token not in text


async def test_token_that_ends_soon_is_named(airflow: FakeAirflow, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(airflow.access.token(seconds=3600))
    outcomes = await examined(airflow, airflow={"token_file": str(file)})
    assert "lasts 60 min. Let something write a new token in time" in the_warning(outcomes, "token")
    assert said(outcomes, "log-in").startswith(f"as the token in {file}")


async def test_fixed_token_is_never_renewed(airflow: FakeAirflow) -> None:
    token = airflow.access.token(seconds=10 * 86_400)
    assert "is never renewed" in the_warning(await examined(airflow, airflow={"token": token}), "renewal")


async def test_inner_end_of_a_token_is_shown(airflow: FakeAirflow) -> None:
    airflow.auth_manager = "Keycloak auth manager sub application"
    airflow.access.clients["airflow"] = "s3cret-of-the-client"
    airflow.access.keycloak_seconds = 300
    outcomes = await examined(airflow, airflow={"client_id": "airflow", "client_secret": "s3cret-of-the-client"})
    assert with_status(outcomes, Status.FAILURE) == set()
    assert said(outcomes, "token").startswith("lasts 24 h, the token inside it 5 min; dagcall renews it before")


async def test_ended_inner_token_is_named(airflow: FakeAirflow) -> None:
    airflow.access.keycloak_seconds = -60
    text = the_failure(await examined(airflow, airflow={"token": airflow.access.token()}), "token")
    assert "the token inside Airflow's token ended 60 s ago" in text


async def test_renewal_that_fails_is_named(airflow: FakeAirflow) -> None:
    airflow.add_fault(
        Fault(route="log_in", status=401, body={"detail": "locked"}, when=lambda _: airflow.access.logins > 0)
    )
    text = the_failure(await examined(airflow), "renewal")
    assert "Calls fail once the current token ends" in text


async def test_missing_log_in_is_named(airflow: FakeAirflow) -> None:
    text = the_failure(await examined(airflow, airflow={}), "log-in")
    assert "Airflow requires a log-in, and the settings name none" in text


async def test_airflow_without_a_log_in_is_named() -> None:
    with served_airflow(all_admins=True) as airflow:
        outcomes = await examined(airflow, airflow={})
    assert "lets everybody in as an administrator" in the_warning(outcomes, "log-in")
    assert said(outcomes, "renewal").startswith("there is nothing to renew")


async def test_way_that_the_auth_manager_lacks_is_named(airflow: FakeAirflow) -> None:
    airflow.auth_manager = "FAB auth manager API"
    text = the_failure(
        await examined(airflow, airflow={"client_id": "c", "client_secret": "s3cret-of-c"}), "auth manager"
    )
    assert "FAB, which has no log-in with client_id. Log in with username or token_file" in text


@pytest.mark.parametrize(
    "fault", [Fault(status=404, body="<html>"), Fault(status=200, body="<html>"), Fault(status=500)]
)
async def test_hidden_auth_manager_stops_nothing(airflow: FakeAirflow, fault: Fault) -> None:
    fault.route = "auth_manager"
    airflow.add_fault(fault)
    outcomes = await examined(airflow)
    assert with_status(outcomes, Status.FAILURE) == set()
    assert said(outcomes, "auth manager").startswith("Airflow does not say")


# Rights

ROUTES = {
    "list dags": "dags",
    "read dag": "dag_details",
    "read tasks": "tasks",
    "start runs": "backfill_dry_run",
    "read runs": "list_runs",
    "change runs": "clear_run",
    "read task instances": "list_task_instances",
    "read XComs": "xcom",
    "read logs": "log",
    "read questions": "hitl_details",
    "read dag versions": "dag_versions",
}


@pytest.mark.parametrize("right", ROUTES)
async def test_missing_right_is_named(airflow: FakeAirflow, right: str) -> None:
    is_essential = right not in {"change runs", "read logs", "read questions", "read dag versions"}
    airflow.add_fault(Fault(route=ROUTES[right], status=403, body={"detail": "Forbidden"}, times=None))  # type: ignore[arg-type]
    outcomes = await examined(airflow, tools=[{"dag": "add"}])
    name = f"may {right}"
    assert outcomes[name].finding.status is (Status.FAILURE if is_essential else Status.WARNING)
    assert "not granted" in said(outcomes, name)
    assert "with FAB: can_" in said(outcomes, name)


async def test_airflow_that_fails_meanwhile_is_named(airflow: FakeAirflow) -> None:
    airflow.add_fault(
        Fault(route="dags", status=503, body="<html>", times=None, when=lambda _: airflow.access.logins > 1)
    )
    outcomes = await examined(airflow)
    assert "cannot answer now (503)" in the_failure(outcomes, "allow-list")
    assert outcomes["tools"].blocked_by == "allow-list"


async def test_account_that_may_only_read_is_named(airflow: FakeAirflow) -> None:
    outcomes = await examined(airflow, airflow={"username": "viewer", "password": "viewer"})
    text = the_failure(outcomes, "may start runs")
    assert "not granted on add: every call is refused" in text
    assert "can_edit on DAG:add, and can_create on DAG Runs" in text
    assert with_status(outcomes, Status.WARNING) == {"may change runs"}


async def test_right_that_cannot_be_told_is_skipped(airflow: FakeAirflow) -> None:
    airflow.add_fault(Fault(route="backfill_dry_run", status=404, body={"detail": "no backfills here"}))
    outcomes = await examined(airflow)
    assert with_status(outcomes, Status.FAILURE) == set()
    assert "cannot be told with this Airflow" in said(outcomes, "may start runs")


async def test_right_to_start_is_not_told_by_old_versions(airflow: FakeAirflow) -> None:
    airflow.add_fault(Fault(route="version", status=200, body={"version": "3.1.7"}, times=None))
    accounts = [{"callers": ["*"], "username": "viewer", "password": "viewer"}]
    outcomes = await examined(airflow, accounts=accounts)
    assert with_status(outcomes, Status.FAILURE) == set()
    assert "cannot be told with this Airflow" in said(outcomes, "may start runs")
    assert "whether it may start runs cannot be told" in said(outcomes, "account viewer")
    assert airflow.requests_to("backfill_dry_run") == []


async def test_answer_that_is_no_answer_is_named(airflow: FakeAirflow) -> None:
    airflow.add_fault(Fault(route="xcom", status=500, body="<html>", times=None))
    assert "cannot answer now (500)" in the_failure(await examined(airflow), "may read XComs")


async def test_rights_are_checked_on_the_dag_that_is_named(airflow: FakeAirflow) -> None:
    airflow.add_dag(FakeDag("other"))
    assert "granted on other" in said(await examined(airflow, dag_id="other"), "may start runs")
    assert "there is no dag others" in the_failure(await examined(airflow, dag_id="others"), "allow-list")


async def test_accounts_of_callers_log_in(airflow: FakeAirflow) -> None:
    accounts = [
        {"callers": ["key:a"], "username": "admin", "password": "admin"},
        {"callers": ["key:b"], "username": "viewer", "password": "viewer"},
        {"callers": ["key:c"], "username": "gone", "password": "long-gone"},
        {"callers": ["*"], "is_own": True},
    ]
    outcomes = await examined(airflow, accounts=accounts)
    assert {name for name in outcomes if name.startswith("account")} == {
        "account admin",
        "account viewer",
        "account gone",
    }
    assert said(outcomes, "account admin").startswith("logs in, and may start runs of add")
    assert said(outcomes, "account viewer").startswith("logs in, but may not start runs of add")
    assert "did not log in user 'gone'" in said(outcomes, "account gone")


# Dags


async def test_paused_dag_is_named(airflow: FakeAirflow) -> None:
    airflow.add_dag(FakeDag("asleep", is_paused=True))
    text = the_warning(await examined(airflow), "paused dags")
    assert text.startswith("asleep: not published, because runs would stay queued. Unpause")


async def test_broken_dag_is_named(airflow: FakeAirflow) -> None:
    airflow.add_dag(FakeDag("broken", has_import_errors=True, is_stale=True))  # Airflow sets both
    airflow.add_dag(FakeDag("of_others", has_import_errors=True, is_stale=True))
    airflow.import_errors.append(FakeImportError("broken.py", "Traceback …\n  line 3\nNameError: x\n"))
    outcomes = await examined(airflow, dags=["add", "brok*"])
    assert "broken: Airflow cannot import the file" in said(outcomes, "broken dags")
    assert with_status(outcomes, Status.FAILURE) == {"broken dags", "missing dags"}
    named = await examined(airflow, dags=["add", "broken"])
    assert "broken: Airflow cannot import the file" in the_failure(named, "broken dags")
    assert "1 file does not import: broken.py (NameError: x)" in said(outcomes, "import errors")


async def test_dag_of_a_file_that_was_never_imported_is_named(airflow: FakeAirflow) -> None:
    airflow.import_errors.append(FakeImportError("late.py", "NameError: x\n"))
    outcomes = await examined(airflow, tools=[{"dag": "add"}, {"dag": "late"}])
    text = the_failure(outcomes, "missing dags")
    assert "late: there is no such dag in Airflow" in text
    assert "The file late.py does not import in Airflow: NameError: x" in text


async def test_stale_dag_is_named(airflow: FakeAirflow) -> None:
    airflow.add_dag(FakeDag("gone", is_stale=True))
    outcomes = await examined(airflow, tools=[{"dag": "add"}, {"dag": "gone"}])
    assert "gone: no longer in Airflow's dag folders" in the_failure(outcomes, "broken dags")


async def test_empty_allow_list_is_named(airflow: FakeAirflow) -> None:
    outcomes = await examined(airflow, dags=[])
    assert "it is empty: nothing is published" in said(outcomes, "allow-list")
    assert said(await examined(airflow, dags=["nothing_*"]), "allow-list").startswith("it selects no dag: ")


async def test_dag_that_makes_no_tool_is_named(airflow: FakeAirflow) -> None:
    outcomes = await examined(airflow, tools=[{"dag": "add", "results": ["totl"]}])
    assert "results names task 'totl', which the dag does not have" in the_failure(outcomes, "tools")


async def test_part_that_a_tool_lacks_is_named(airflow: FakeAirflow) -> None:
    airflow.add_dag(FakeDag("add", doc_md="```toml dagcall\nresults = ['nowhere']\n```"))
    assert "add: the dagcall block in its doc_md: results names task" in the_warning(await examined(airflow), "tools")


async def test_many_dags_are_not_read_one_by_one(airflow: FakeAirflow, tmp_path: Path) -> None:
    for number in range(60):
        airflow.add_dag(FakeDag(f"many_{number}"))
    outcomes = await examined(airflow, pins=str(tmp_path))
    assert with_status(outcomes, Status.FAILURE) == set()
    assert "Run: dagcall tools" in said(outcomes, "tools")
    assert "Run: dagcall check" in said(outcomes, "pins")
    assert len(airflow.requests) <= 65


async def test_tools_that_differ_from_their_pins_are_named(airflow: FakeAirflow, tmp_path: Path) -> None:
    text = the_failure(await examined(airflow, pins=str(tmp_path)), "pins")
    assert f"add, cancel_dag_run, read_dag_result, wait_for_dag_run: not as reviewed in {tmp_path}" in text
    text = the_failure(await examined(airflow, pins=str(tmp_path / "missing")), "pins")
    assert "folder of pins not found" in text


async def test_hidden_import_errors_are_skipped(airflow: FakeAirflow) -> None:
    airflow.add_fault(Fault(route="import_errors", status=403, body={"detail": "Forbidden"}, times=None))
    outcomes = await examined(airflow)
    assert with_status(outcomes, Status.FAILURE) == set()
    assert "may not read Airflow's import errors" in said(outcomes, "import errors")


# Streams, load, configuration


async def unfinished_run(airflow: FakeAirflow) -> None:
    import httpx  # noqa: PLC0415 - only to start a run

    airflow.add_dag(FakeDag("slow", checks=None))
    async with httpx.AsyncClient(
        base_url=airflow.url, headers={"Authorization": f"Bearer {airflow.access.token()}"}
    ) as http:
        (
            await http.post("/api/v2/dags/slow/dagRuns", json={"logical_date": None, "dag_run_id": "r"})
        ).raise_for_status()


async def test_stream_of_an_unfinished_run_is_followed(airflow: FakeAirflow) -> None:
    await unfinished_run(airflow)
    outcomes = await examined(airflow)
    assert outcomes["streaming"].finding.status is Status.OK
    assert said(outcomes, "streaming").startswith("the first state of an unfinished run came after")


async def test_proxy_that_holds_back_streams_is_named(airflow: FakeAirflow) -> None:
    await unfinished_run(airflow)
    airflow.add_fault(Fault(route="wait", swallow_stream=True))
    text = the_warning(await examined(airflow), "streaming")
    assert "nothing came of the stream of run r of dag slow within 3 s" in text
    assert "proxy_buffering off" in text


@pytest.mark.parametrize("lines", [0, None])
async def test_run_that_ends_meanwhile_tells_nothing(airflow: FakeAirflow, lines: int | None) -> None:
    await unfinished_run(airflow)
    if lines is None:
        airflow.runs[-1].dag.checks = 1  # the list shows it as running, and the stream as ended
    airflow.add_fault(Fault(route="wait", cut_after_lines=lines))
    outcomes = await examined(airflow)
    assert outcomes["streaming"].finding.status is Status.SKIPPED
    assert "ended meanwhile" in said(outcomes, "streaming")


async def test_times_of_reads_are_shown(airflow: FakeAirflow) -> None:
    text = said(await examined(airflow), "requests at once")
    assert text.startswith("one read ")
    assert ", 2 at once " in text
    assert ", 8 at once " in text


async def test_exposed_options_are_judged(airflow: FakeAirflow) -> None:
    port = airflow.url.rpartition(":")[2]
    airflow.config = {
        ("core", "dag_run_conf_overrides_params"): "True",
        ("core", "executor"): "LocalExecutor",
        ("api", "port"): port,
        ("api", "base_url"): airflow.url,
        ("scheduler", "scheduler_idle_sleep_time"): "0.1",
        ("dag_processor", "min_file_process_interval"): "30",
        ("dag_processor", "refresh_interval"): "60",
    }
    well = await examined(airflow)
    assert with_status(well, Status.SKIPPED) == USUALLY_SKIPPED - NOT_EXPOSED
    assert with_status(well, Status.WARNING) == with_status(well, Status.FAILURE) == set()
    airflow.config |= {
        ("core", "dag_run_conf_overrides_params"): "False",
        ("scheduler", "scheduler_idle_sleep_time"): "1",
        ("dag_processor", "refresh_interval"): "300",
    }
    del airflow.config["api", "base_url"]
    badly = await examined(airflow, tools=[{"dag": "add", "hidden": ["x"]}])
    assert with_status(badly, Status.WARNING) == {"idle sleep", "parse interval"}
    assert with_status(badly, Status.FAILURE) == {"arguments", "execution API"}
    assert f"tasks report to http://localhost:8080/execution/, but the api-server listens on port {port}" in said(
        badly, "execution API"
    )


# The address that callers use


@pytest.mark.parametrize(
    ("answer", "status", "sentence"),
    [
        (JSONResponse({"jsonrpc": "2.0", "id": 1, "result": {}}), Status.OK, "dagcall answers at"),
        (JSONResponse({}, 401, {"WWW-Authenticate": "Bearer"}), Status.OK, "dagcall answers at"),
        (JSONResponse({}, 401, {"WWW-Authenticate": "Basic"}), Status.FAILURE, "not by dagcall"),
        (PlainTextResponse("Invalid Host header", 421), Status.FAILURE, "Let the proxy pass the Host header on"),
        (PlainTextResponse("Bad Gateway", 502), Status.FAILURE, "status 502, and not by dagcall"),
    ],
    ids=["open", "with keys", "of another", "host", "down"],
)
async def test_public_address_is_asked_as_callers_do(
    airflow: FakeAirflow, answer: Response, status: Status, sentence: str
) -> None:
    async def mcp(request: Request) -> Response:
        assert (await request.json())["method"] == "ping"
        return answer

    with on_a_socket(Starlette(routes=[Route("/mcp", mcp, methods=["POST"])])) as url:
        outcomes = await examined(airflow, server={"public_url": f"{url}/mcp"})
    assert outcomes["public address"].finding.status is status
    assert sentence in said(outcomes, "public address")


async def test_public_address_that_nothing_answers_is_named(airflow: FakeAirflow) -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"
    text = the_failure(await examined(airflow, server={"public_url": url}), "public address")
    assert f"{url} cannot be reached" in text
    assert "Start dagcall (dagcall serve) if it does not run yet" in text


async def test_secrets_are_masked(airflow: FakeAirflow) -> None:
    airflow.access.users["admin"] = FakeUser("admin", "correct horse battery")
    airflow.import_errors.append(FakeImportError("a.py", "RuntimeError: correct horse battery\n"))
    outcomes = await examined(airflow, airflow={"username": "admin", "password": "correct horse battery"})
    assert "correct horse" not in str(outcomes)
    assert "a.py (RuntimeError: ***)" in said(outcomes, "import errors")
