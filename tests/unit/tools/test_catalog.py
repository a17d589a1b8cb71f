"""The allow-list against the fake Airflow: which dags are published, which are not, and why."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, MCPError

from dagcall.airflow.client import AirflowApi
from dagcall.app import Dagcall
from dagcall.errors import ConfigError
from dagcall.tools.pin_folder import PinFolder
from dagcall.tools.pins import Pins, pin_text
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.tool import wire_json
from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeImportError, FakeParam, FakeTask, Fault, Hold
from tests.fake_airflow.access import FakeUser
from tests.fake_airflow.wire import Route
from tests.support.in_memory import Served

FAR_FUTURE = datetime(2099, 1, 1, tzinfo=UTC)
LONG_PAST = datetime(2020, 1, 1, tzinfo=UTC)
DATES_ADVICE = (
    ' Change the dates in the dag, or set logical_date = "none" in its [[tools]] entry: Airflow then ignores them'
)


def reasons(dagcall: Dagcall) -> dict[str, str]:
    return {item.what: item.reason for item in dagcall.catalog.snapshot.withheld}


def published(dagcall: Dagcall) -> list[str]:
    return list(dagcall.catalog.snapshot.tools)


def an_airflow() -> FakeAirflow:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("plain"))
    airflow.add_dag(FakeDag("ml_one", tags=["mcp"]))
    airflow.add_dag(FakeDag("ml_two"))
    return airflow


@pytest.mark.parametrize(
    ("dags", "names"),
    [
        ([], []),
        (["plain"], ["plain"]),
        (["ml_*"], ["ml_one", "ml_two"]),
        (["?l_one", "tag:mcp"], ["ml_one"]),
        (["*"], ["ml_one", "ml_two", "plain"]),
        (["[m]l_t*"], ["ml_two"]),
    ],
)
async def test_only_selected_dags_are_published(served: Served, dags: list[str], names: list[str]) -> None:
    async with served(an_airflow(), dags=dags) as dagcall:
        assert published(dagcall) == names


async def test_one_tool_is_read_without_the_other_dags(served: Served) -> None:
    airflow = an_airflow()
    async with served(airflow, dags=[]) as dagcall:
        await dagcall.catalog.allow(
            (ToolPolicy(dags="*"), ToolPolicy(dag="plain", name="simple")),
            callers=("*",),
            read_pins=None,
            every_seconds=30,
        )
        for name in ("ml_two", "simple"):
            airflow.requests.clear()
            await dagcall.catalog.refresh(only=name)
            assert published(dagcall) == [name]
            assert len(airflow.requests_to("dag_details")) == 1
        await dagcall.catalog.refresh(only="plain")
        assert published(dagcall) == []


async def test_dags_on_all_pages_are_found(served: Served) -> None:
    airflow = FakeAirflow()
    for number in range(250):
        airflow.add_dag(FakeDag(f"dag_{number:03}"))

    async with served(airflow) as dagcall:
        assert len(published(dagcall)) == 250
        async with Client(dagcall.mcp.sdk) as client:
            listed = await client.list_tools()

    assert len(listed.tools) == 253  # including three of dagcall's own, on one page
    assert listed.next_cursor is None
    assert airflow.max_in_flight <= 2


@pytest.mark.parametrize(
    ("dag", "reason"),
    [
        pytest.param(
            FakeDag("d", is_paused=True), "it is paused in Airflow; unpause it there to publish it", id="paused"
        ),
        pytest.param(FakeDag("d", has_import_errors=True), "its file has import errors in Airflow", id="import error"),
        pytest.param(
            FakeDag("d", allowed_run_types=["scheduled"]),
            "its author does not allow manual runs (allowed_run_types)",
            id="run types",
        ),
        pytest.param(
            FakeDag("d", params={"p": FakeParam(NOTSET, type="array", items={"$dynamicRef": "#x"})}),
            "the schema of param 'p' uses $dynamicRef, which MCP clients do not support",
            id="schema",
        ),
        pytest.param(FakeDag("d", tasks=()), "it has no tasks", id="no tasks"),
        pytest.param(
            FakeDag("d", start_date=FAR_FUTURE),
            "its runs would leave out what makes the result (task 'work': its start_date is 2099-01-01T00:00:00+00:00)."
            + DATES_ADVICE,
            id="start date",
        ),
        pytest.param(
            FakeDag("d", end_date=LONG_PAST),
            "its runs would leave out what makes the result (task 'work': its end_date was 2020-01-01T00:00:00+00:00)."
            + DATES_ADVICE,
            id="end date",
        ),
        pytest.param(
            FakeDag("d", tasks=[FakeTask("a", downstream=["b"]), FakeTask("b", start_date=FAR_FUTURE)]),
            "its runs would leave out what makes the result (task 'b': its start_date is 2099-01-01T00:00:00+00:00)."
            + DATES_ADVICE,
            id="a task's start date",
        ),
    ],
)
async def test_unpublishable_dag_does_not_hide_others(served: Served, dag: FakeDag, reason: str) -> None:
    airflow = an_airflow()
    airflow.add_dag(dag)

    async with served(airflow) as dagcall:
        assert published(dagcall) == ["ml_one", "ml_two", "plain"]
        assert reasons(dagcall) == {"d": reason}


@pytest.mark.parametrize(
    ("tools", "what", "reason"),
    [
        ([{"dag": "gone"}], "gone", "there is no such dag in Airflow, or dagcall's account may not see it"),
        ([{"tag": "none"}], 'tag = "none"', "selects no dag that dagcall's account can see"),
        ([{"dag": "plain", "fixed": {"x": 1}}], "plain", "the dag has no param 'x' to fix or hide; there are none"),
        (
            [{"dag": "plain", "results": ["t"]}],
            "plain",
            "results names task 't', which the dag does not have; there are work",
        ),
        (
            [{"dag": "plain", "name": "ml_one"}, {"dag": "ml_one"}],
            "ml_one",
            "its tool name 'ml_one' is taken by dag 'plain'; give it a name",
        ),
    ],
)
async def test_an_entry_that_publishes_nothing_says_why(
    served: Served, tools: list[dict[str, Any]], what: str, reason: str
) -> None:
    async with served(an_airflow(), tools=tools) as dagcall:
        assert reasons(dagcall) == {what: reason}


BROKEN = FakeImportError("sales.py", "Traceback …\n  with DAG(\"sales\"):\nKeyError: 'REGION'\n")


@pytest.mark.parametrize(
    ("fault", "hints"),
    [
        pytest.param(
            None,
            {
                "sales": ". The file sales.py does not import in Airflow: KeyError: 'REGION'",
                "other": ". Look into Airflow's import errors, too: 1 file does not import (sales.py)",
                'tag = "none"': ". Look into Airflow's import errors, too: 1 file does not import (sales.py)",
            },
            id="read",
        ),
        pytest.param(
            403,
            dict.fromkeys(
                ("sales", "other", 'tag = "none"'),
                ". Look into Airflow's import errors, too: dagcall's account may not read them",
            ),
            id="refused",
        ),
        pytest.param(500, dict.fromkeys(("sales", "other", 'tag = "none"'), ""), id="failing"),
    ],
)
async def test_missing_dag_is_looked_up_in_the_import_errors(
    served: Served, fault: int | None, hints: dict[str, str]
) -> None:
    airflow = an_airflow()
    airflow.import_errors.append(BROKEN)
    if fault:
        airflow.add_fault(Fault(route="import_errors", status=fault, times=None))
    async with served(airflow, tools=[{"dag": "sales"}, {"dag": "other"}, {"tag": "none"}]) as dagcall:
        found = {what: reason for what, reason in reasons(dagcall).items() if what in hints}
        async with Client(dagcall.mcp.sdk) as client:
            with pytest.raises(MCPError) as refused:
                await client.call_tool("sales", {})

    assert {what: reason.removeprefix(reason.partition(". ")[0]) for what, reason in found.items()} == hints
    assert len(airflow.requests_to("import_errors")) == 1
    assert "REGION" not in str(refused.value)


async def test_import_errors_are_requested_only_if_a_dag_is_missing(served: Served) -> None:
    airflow = an_airflow()
    airflow.import_errors.append(BROKEN)
    async with served(airflow):
        assert airflow.requests_to("import_errors") == []


@pytest.mark.parametrize(
    ("tool", "dag"),
    [
        pytest.param({"logical_date": "none"}, FakeDag("d", start_date=FAR_FUTURE), id="Airflow ignores dates"),
        pytest.param(
            {"results": ["a"]},
            FakeDag("d", tasks=[FakeTask("a"), FakeTask("b", end_date=LONG_PAST)]),
            id="not a result task",
        ),
        pytest.param({}, FakeDag("d", tasks=[FakeTask("a"), FakeTask("b", end_date=LONG_PAST)]), id="one of two"),
    ],
)
async def test_dag_with_at_least_one_result_is_published(served: Served, tool: dict[str, Any], dag: FakeDag) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(dag)
    async with served(airflow, tools=[{"dag": "d", **tool}]) as dagcall:
        assert reasons(dagcall) == {}


async def test_dag_is_published_once_its_dates_are_fixed(served: Served) -> None:
    """No run has created a task instance, so the change does not give the dag a new version."""
    airflow = FakeAirflow()
    dag = airflow.add_dag(FakeDag("d", start_date=FAR_FUTURE))
    async with served(airflow) as dagcall:
        assert published(dagcall) == []
        dag.start_date = None
        await dagcall.catalog.refresh()
        assert published(dagcall) == ["d"]


async def test_dag_is_withheld_once_its_end_date_has_passed(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("d", end_date=airflow.clock.now() + timedelta(days=1)))
    async with served(airflow) as dagcall:
        assert published(dagcall) == ["d"]
        await airflow.clock.sleep(timedelta(days=2).total_seconds())
        await dagcall.catalog.refresh()
        assert published(dagcall) == []


async def test_the_tasks_of_a_dag_are_read_once_for_each_version(served: Served) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        await dagcall.catalog.refresh()
        assert len(airflow.requests_to("tasks")) == 3
        airflow.dags["plain"].version_number += 1
        await dagcall.catalog.refresh()
        assert len(airflow.requests_to("tasks")) == 4


async def test_dag_is_published_if_its_tasks_may_not_be_read(served: Served) -> None:
    airflow = an_airflow()
    airflow.add_fault(Fault(route="tasks", status=403, times=None))
    async with served(airflow) as dagcall:
        assert published(dagcall) == ["ml_one", "ml_two", "plain"]


IGNORED = "dag_run_conf_overrides_params is False in Airflow's [core]"


async def test_dag_is_withheld_while_airflow_ignores_its_arguments(served: Served) -> None:
    airflow = an_airflow()
    airflow.config = {("core", "dag_run_conf_overrides_params"): "False"}
    airflow.add_dag(FakeDag("takes", params={"x": 1}))
    airflow.add_dag(FakeDag("fixed", params={"x": 1}))
    tools = [{"dag": "takes"}, {"dag": "fixed", "fixed": {"x": 2}}, {"dag": "plain"}]

    async with served(airflow, tools=tools) as dagcall:
        assert published(dagcall) == ["plain"]
        assert {what: reason[-len(IGNORED) :] for what, reason in reasons(dagcall).items()} == {
            "fixed": IGNORED,
            "takes": IGNORED,
        }
        airflow.config["core", "dag_run_conf_overrides_params"] = "True"
        await dagcall.catalog.refresh()
        await dagcall.catalog.refresh()

        assert published(dagcall) == ["fixed", "plain", "takes"]
    assert len(airflow.requests_to("config")) == 2


@pytest.mark.parametrize(("status", "asked"), [(403, 1), (404, 1), (500, 2)])
async def test_dag_is_published_if_airflow_does_not_show_its_config(served: Served, status: int, asked: int) -> None:
    airflow = an_airflow()
    airflow.add_fault(Fault(route="config", status=status, body={"detail": "No."}, times=None))
    airflow.add_dag(FakeDag("takes", params={"x": 1}))

    async with served(airflow, dags=["takes"]) as dagcall:
        seen = len(airflow.requests_to("config"))
        await dagcall.catalog.refresh()

        assert published(dagcall) == ["takes"]
    assert len(airflow.requests_to("config")) == asked * seen


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, 0.0)])
async def test_change_between_values_that_python_calls_equal_is_noticed(
    served: Served, before: Any, after: Any
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("d", params={"x": FakeParam(before, enum=[before, "else"])}))
    async with served(airflow, dags=["*"]) as dagcall:
        airflow.add_dag(FakeDag("d", params={"x": FakeParam(after, enum=[after, "else"])}))
        await dagcall.catalog.refresh()
        schema = dagcall.catalog.tool("d").wire.input_schema
    assert repr(schema["properties"]["x"]["default"]) == repr(after)


def with_block(toml: str) -> FakeDag:
    return FakeDag("d", tasks=[FakeTask("report")], doc_md=f"Adds up.\n\n```toml dagcall\n{toml}\n```\n")


@pytest.mark.parametrize(
    ("entry", "toml", "withheld"),
    [
        pytest.param(
            {},
            'titel = "Sales"',
            (
                "d: the dagcall block in its doc_md",
                "line 4: 'titel' is not a key of this block; did you mean 'title'?",
            ),
            id="the author's key",
        ),
        pytest.param(
            {},
            'results = ["reprot"]',
            (
                "d: the dagcall block in its doc_md",
                "results names task 'reprot', which the dag does not have; did you mean 'report'?",
            ),
            id="the author's result task",
        ),
        pytest.param(
            {"results": ["report"], "output_schema": {"properties": {"total": {}}}},
            "",
            (
                "d: its output_schema",
                "the schema has a property 'total', which is not a result task; there are report.",
            ),
            id="the operator's output schema",
        ),
    ],
)
async def test_unusable_block_or_schema_is_reported_once_and_hides_no_tool(
    served: Served,
    caplog: pytest.LogCaptureFixture,
    entry: dict[str, Any],
    toml: str,
    withheld: tuple[str, str],
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(with_block(toml))
    what, reason = withheld[0], f"{withheld[1]} The tool is published without it"

    async with served(airflow, tools=[{"dag": "d", **entry}]) as dagcall:
        for _ in range(2):
            assert published(dagcall) == ["d"]
            assert reasons(dagcall) == {what: reason}
            await dagcall.catalog.refresh()
    assert caplog.messages.count(f"not published: {what}: {reason}") == 1


async def test_fixed_block_is_used_at_the_next_refresh(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(with_block('title = "Sales"\nresults = ["other"]'))

    async with served(airflow) as dagcall:
        assert dagcall.catalog.tool("d").wire.title == "d"
        dag = with_block('title = "Sales"\nresults = ["other"]')
        dag.tasks = [FakeTask("report"), FakeTask("other")]
        airflow.add_dag(dag)
        await dagcall.catalog.refresh()

        assert reasons(dagcall) == {}
        assert dagcall.catalog.tool("d").wire.title == "Sales"


async def test_entry_for_one_dag_overrides_a_pattern(served: Served) -> None:
    tools = [{"dags": "ml_*"}, {"dag": "ml_one", "title": "Ours"}, {"tag": "mcp"}]

    async with served(an_airflow(), tools=tools) as dagcall:
        titles = {name: tool.wire.title for name, tool in dagcall.catalog.snapshot.tools.items()}

    assert titles == {"ml_one": "Ours", "ml_two": "ml_two"}


async def test_one_dag_may_be_several_tools(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("d", params={"region": "all"}))
    tools = [{"dag": "d", "name": name, "fixed": {"region": name}} for name in ("north", "south")]

    async with served(airflow, tools=tools) as dagcall, Client(dagcall.mcp.sdk) as client:
        await client.call_tool("south", {})

    assert airflow.runs[0].conf == {"region": "south"}


async def test_temporarily_unreadable_dag_keeps_its_tool(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        airflow.add_fault(Fault(route="dag_details", status=500, times=None))
        await dagcall.catalog.refresh()
        assert published(dagcall) == ["ml_one", "ml_two", "plain"]
        assert reasons(dagcall) == {}


async def test_dag_that_was_never_readable_is_the_only_one_withheld(served: Served) -> None:
    airflow = an_airflow()
    airflow.add_fault(Fault(route="dag_details", status=500, times=None, when=lambda request: "ml_one" in request.path))

    async with served(airflow) as dagcall:
        assert published(dagcall) == ["ml_two", "plain"]
        assert (
            "it could not be read: Airflow at http://airflow.test cannot answer now (500)" in reasons(dagcall)["ml_one"]
        )


async def test_dag_that_the_account_may_not_see_is_the_only_one_withheld(served: Served) -> None:
    """So is a missing dag: an account with rights on single dags gets a 403 for both."""
    airflow = an_airflow()
    airflow.access.users["agent"] = FakeUser("agent", "p", readable=frozenset({"plain"}))
    tools = [{"dag": "plain"}, {"dag": "ml_one"}, {"dag": "typo"}]

    async with served(airflow, tools=tools, airflow={"username": "agent", "password": "p"}) as dagcall:
        assert published(dagcall) == ["plain"]
        assert dagcall.catalog.snapshot.problem is None
        found = reasons(dagcall)

    assert found.keys() == {"ml_one", "typo"}
    for dag_id, reason in found.items():
        assert reason.startswith("Airflow does not show it to dagcall's account: ")
        assert f"/api/v2/dags/{dag_id} (403: Forbidden)" in reason


@pytest.mark.parametrize("route", ["dag", "dag_details"])
async def test_revoked_right_on_one_dag_withholds_only_that_dag(served: Served, route: Route) -> None:
    airflow = an_airflow()
    fault = Fault(
        route=route, status=403, body={"detail": "Forbidden"}, times=None, when=lambda seen: "ml_one" in seen.path
    )

    async with served(airflow, tools=[{"dag": "ml_one"}, {"dags": "*"}]) as dagcall:
        assert published(dagcall) == ["ml_one", "ml_two", "plain"]
        airflow.add_fault(fault)
        airflow.add_dag(FakeDag("plain", description="Now it says something."))
        await dagcall.catalog.refresh()
        assert published(dagcall) == ["ml_two", "plain"]
        assert "Now it says something." in (dagcall.catalog.tool("plain").wire.description or "")
        assert "(403: Forbidden)" in reasons(dagcall)["ml_one"]

        airflow.clear_faults()
        await dagcall.catalog.refresh()
        assert published(dagcall) == ["ml_one", "ml_two", "plain"]


async def test_refused_list_withholds_only_its_entry(served: Served) -> None:
    airflow = an_airflow()
    airflow.add_fault(Fault(route="dags", status=403, body={"detail": "Forbidden"}, times=None))

    async with served(airflow, tools=[{"dag": "plain"}, {"tag": "mcp"}]) as dagcall:
        assert published(dagcall) == ["plain"]
        assert "(403: Forbidden)" in reasons(dagcall)['tag = "mcp"']


@pytest.mark.parametrize(
    "answer", [{"status": 500}, {"status": 200, "body": "<html>"}, {"status": 403, "body": "<html>blocked</html>"}]
)
async def test_unreadable_entry_keeps_its_tools_while_others_are_refreshed(
    served: Served, answer: dict[str, Any]
) -> None:
    airflow = an_airflow()
    fault = Fault(times=None, when=lambda seen: seen.path.endswith("/dags/plain"), **answer)

    async with served(airflow, tools=[{"dag": "plain"}, {"dags": "ml_*"}]) as dagcall:
        airflow.add_fault(fault)
        airflow.add_dag(FakeDag("ml_three"))
        await dagcall.catalog.refresh()
        assert published(dagcall) == ["ml_one", "ml_three", "ml_two", "plain"]
        assert reasons(dagcall)["plain"].endswith("; what it selects stays as it was")

    async with served(airflow, tools=[{"dag": "plain"}, {"dags": "ml_*"}]) as dagcall:
        assert published(dagcall) == ["ml_one", "ml_three", "ml_two"]
        assert reasons(dagcall)["plain"].startswith("it could not be read: ")


async def test_rejected_account_changes_no_tools(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow, tools=[{"dag": "plain"}, {"dags": "ml_*"}]) as dagcall:
        airflow.add_fault(Fault(route="dag", status=401, body={"detail": "Token Expired"}, times=None))
        assert "check the credentials" in ((await dagcall.catalog.refresh()).problem or "")
        airflow.clear_faults()
        airflow.add_fault(Fault(route="dag_details", status=401, body={"detail": "Token Expired"}, times=None))
        assert (await dagcall.catalog.refresh()).problem is None
        assert published(dagcall) == ["ml_one", "ml_two", "plain"]


async def test_unreachable_airflow_keeps_the_tools_and_is_reported(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        airflow.add_fault(Fault(error=httpx.ConnectError, times=None))
        snapshot = await dagcall.catalog.refresh()
        assert published(dagcall) == ["ml_one", "ml_two", "plain"]
        assert snapshot.problem is not None
        assert "cannot be reached" in snapshot.problem
        assert dagcall.catalog.is_read

        airflow.clear_faults()
        assert (await dagcall.catalog.refresh()).problem is None


async def test_airflow_unreachable_at_startup_gives_no_tools_until_it_recovers(served: Served) -> None:
    airflow = an_airflow()
    airflow.add_fault(Fault(error=httpx.ConnectError, times=None))

    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk) as client:
        assert (await client.list_tools()).tools == []
        assert not dagcall.catalog.is_read

        airflow.clear_faults()
        await dagcall.catalog.refresh()
        assert published(dagcall) == ["ml_one", "ml_two", "plain"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(route="version", status=404, times=None), "does not answer as Airflow 3.1 or newer does"),
        (
            Fault(route="version", status=200, body={"version": "3.0.6"}, times=None),
            "is Airflow 3.0.6; dagcall needs 3.1 or newer",
        ),
        (
            Fault(route="version", status=200, body="<html>", times=None),
            "with something that Airflow 3.1 to 3.3 does not send",
        ),
        (
            Fault(route="version", status=302, headers={"location": "https://login"}, times=None),
            "it points to https://login",
        ),
        (Fault(route="log_in", status=401, times=None), "did not log in user 'admin': wrong user name or password"),
        (Fault(route="log_in", status=503, times=None), "cannot log in users now (503)"),
        (
            Fault(route="dags", status=403, body={"detail": "Forbidden"}, times=None),
            "the account that dagcall uses may not do this",
        ),
    ],
)
async def test_each_problem_with_airflow_gets_one_sentence(served: Served, fault: Fault, sentence: str) -> None:
    airflow = an_airflow()
    airflow.add_fault(fault)

    async with served(airflow) as dagcall:
        problem = dagcall.catalog.snapshot.problem or ""

    assert sentence in problem
    assert "\n" not in problem
    assert "admin-password" not in problem


async def test_changes_are_announced_once(served: Served) -> None:
    airflow = an_airflow()
    told: list[str] = []

    async with served(airflow) as dagcall:

        async def count(_: object) -> None:
            told.append("changed")

        dagcall.catalog.on_change = count
        await dagcall.catalog.refresh()
        airflow.add_dag(FakeDag("plain", description="Now it says something."))
        await dagcall.catalog.refresh()
        await dagcall.catalog.refresh()

    assert told == ["changed"]


async def test_a_tool_is_rebuilt_only_when_its_dag_changed(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        before = dict(dagcall.catalog.snapshot.tools)
        airflow.add_dag(FakeDag("plain", description="Now it says something."))
        await dagcall.catalog.refresh()
        after = dagcall.catalog.snapshot.tools

    assert after["ml_one"] is before["ml_one"]
    assert after["plain"] is not before["plain"]


async def test_pinned_tools_are_published_only_as_pinned(served: Served) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        pins = {name: wire_json(tool.wire) for name, tool in dagcall.catalog.snapshot.tools.items()}
    del pins["ml_two"]

    async with served(airflow, pins=pins) as dagcall:
        airflow.add_dag(FakeDag("plain", description="Now it says something."))
        await dagcall.catalog.refresh()

        assert published(dagcall) == ["ml_one"]
        assert reasons(dagcall)["ml_two"] == "tool ml_two is not pinned; review it and run: dagcall pin ml_two"
        assert reasons(dagcall)["plain"].startswith("tool plain differs from its pin:\ndescription:")


async def test_tool_withheld_after_listing_is_refused_with_a_neutral_message(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        pins = {name: wire_json(tool.wire) for name, tool in dagcall.catalog.snapshot.tools.items()}
        pins |= {wire.name: wire_json(wire) for wire in dagcall.catalog.snapshot.own}
    pins["wait_for_dag_run"] = {"name": "wait_for_dag_run"}

    async with served(airflow, pins=pins) as dagcall, Client(dagcall.mcp.sdk) as client:
        assert "wait_for_dag_run" not in {tool.name for tool in (await client.list_tools()).tools}
        airflow.add_dag(FakeDag("plain", description="Now it says something."))
        await dagcall.catalog.refresh()

        for name in ("plain", "wait_for_dag_run"):
            with pytest.raises(MCPError) as refusal:
                await client.call_tool(name, {})
            assert str(refusal.value) == (
                f"tool {name!r} cannot be called now: its definition differs from the reviewed one. Nothing was done. "
                "List the tools again later, or tell the operator of this dagcall."
            )
        assert f"a call of {name} was refused: the tool differs from its pin" in caplog.messages
        assert "tool wait_for_dag_run differs from its pin:\n" in reasons(dagcall)["wait_for_dag_run"]
        assert airflow.runs == []


async def test_tool_withheld_during_an_outage_returns_with_its_pin(served: Served) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        reviewed = {name: wire_json(tool.wire) for name, tool in dagcall.catalog.snapshot.tools.items()}

    pins = dict(reviewed)
    async with served(airflow, pins=pins) as dagcall:
        airflow.add_fault(Fault(route="version", status=503, times=None))
        del pins["plain"]
        await dagcall.catalog.refresh()
        assert "plain" not in published(dagcall)
        pins |= reviewed
        await dagcall.catalog.refresh()
        assert "plain" in published(dagcall)
        assert dagcall.catalog.snapshot.problem


async def test_folder_of_pins_is_reread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = PinFolder(tmp_path / "pins")
    with pytest.raises(ConfigError, match=r"folder of pins not found: .*; `dagcall pin` creates it"):
        folder.read()
    folder.path.mkdir()
    assert folder.read() == Pins()
    (folder.path / "good.json").write_text(pin_text({"name": "good"}))
    (folder.path / "bad.json").write_bytes(b"\xff")
    (folder.path / "notes.txt").write_text("not a pin")
    both = Pins({"good": {"name": "good"}}, {"bad": "it cannot be read"})
    assert [folder.read(), folder.read()] == [both, both]
    folder.path.rename(tmp_path / "elsewhere")
    assert folder.read() == both
    assert caplog.messages == [
        f"the pin {folder.path / 'bad'} is unusable: it cannot be read",
        f"the folder of pins {folder.path} cannot be read (No such file or directory); the last pins remain in effect",
    ]


async def test_bug_with_one_dag_does_not_hide_others(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: Any) -> Any:
        raise ZeroDivisionError

    airflow = an_airflow()
    async with served(airflow) as dagcall:
        airflow.add_dag(FakeDag("plain", description="Now it says something."))
        monkeypatch.setattr("dagcall.tools.discovery.tool_from_dag", crash)
        await dagcall.catalog.refresh()
        assert published(dagcall) == ["ml_one", "ml_two"]
        assert reasons(dagcall) == {"plain": "dagcall could not make a tool of it; see its log"}
    assert "ZeroDivisionError" in caplog.text


async def test_refresh_repeats_by_itself_and_sooner_on_request(served: Served) -> None:
    airflow = FakeAirflow()

    async with served(airflow) as dagcall:
        changed = asyncio.Event()

        async def note(_: object) -> None:
            changed.set()

        dagcall.catalog.on_change = note
        refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(0.01))
        airflow.add_dag(FakeDag("new", tasks=[FakeTask("t")]))
        async with asyncio.timeout(60):
            await changed.wait()
        refreshing.cancel()

        changed.clear()
        refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(3600))
        async with asyncio.timeout(60):
            await dagcall.catalog.wait_until_read(1)
        airflow.add_dag(FakeDag("newer"))
        dagcall.catalog.refresh_soon("newer")
        async with asyncio.timeout(60):
            await changed.wait()
        refreshing.cancel()


@pytest.mark.virtual_time
async def test_refresh_recovers_from_an_unexpected_error(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = an_airflow()

    async def fail(_: object) -> None:
        raise ZeroDivisionError("not foreseen")

    async with served(airflow) as dagcall:
        with monkeypatch.context() as patched:
            patched.setattr(AirflowApi, "fetch_version", fail)
            refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(30))
            await asyncio.sleep(100)
            assert not dagcall.catalog.refresher.is_working
        airflow.add_dag(FakeDag("ml_three"))
        await asyncio.sleep(100)
        assert dagcall.catalog.refresher.is_working
        assert "ml_three" in published(dagcall)
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)

    assert caplog.text.count("Traceback") == 1
    assert "ZeroDivisionError: not foreseen" in caplog.text


@pytest.mark.virtual_time
@pytest.mark.parametrize("is_known", [False, True])
async def test_airflow_is_asked_again_soon_after_a_long_silence(served: Served, *, is_known: bool) -> None:
    """A failed start does not show how long it takes to read the dags."""
    airflow = an_airflow()
    silence = Hold()

    async with served(airflow) as dagcall:
        if is_known:
            await dagcall.catalog.refresh()
        airflow.add_dag(FakeDag("ml_three"))
        airflow.add_fault(Fault(hold=silence, error=httpx.ReadTimeout, times=None))
        refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(30))
        await asyncio.sleep(40)
        silence.release()
        await asyncio.sleep(1)
        airflow.clear_faults()
        await asyncio.sleep(20)
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)
        assert "ml_three" in published(dagcall)


@pytest.mark.virtual_time
@pytest.mark.parametrize("trouble", [Fault(error=httpx.ConnectError), Fault(status=404, body="404 page not found")])
async def test_failed_start_is_retried_soon(served: Served, trouble: Fault) -> None:
    airflow = an_airflow()
    airflow.add_fault(replace(trouble, times=None))

    async with served(airflow) as dagcall:
        refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(30))
        await asyncio.sleep(3)
        airflow.clear_faults()
        await asyncio.sleep(10)
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)
        assert published(dagcall)
