"""Which callers a selector matches, and what a caller sees of a tool it may not use."""

from collections.abc import Collection

import pytest
from pydantic import ValidationError

from dagcall.auth.callers import LOCAL, Caller
from dagcall.auth.rights import is_meant
from dagcall.errors import UnknownTool
from dagcall.tools.catalog import Catalog
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.tool import Tool
from tests.fake_airflow import FakeAirflow, FakeDag
from tests.support.in_memory import Served

CI = Caller("key:ci", "ci", frozenset({"dags.run"}), frozenset())
ANN = Caller("https://issuer.test#4711", "ann", frozenset({"openid", "a:b"}), frozenset({"finance"}))


@pytest.mark.parametrize(
    ("selector", "callers"),
    [
        ("*", {LOCAL, CI, ANN}),
        ("local", {LOCAL}),
        ("key:ci", {CI}),
        ("key:c", set()),
        ("scope:dags.run", {CI}),
        ("scope:a:b", {ANN}),
        ("group:finance", {ANN}),
        ("group:openid", set()),
        ("id:https://issuer.test#4711", {ANN}),
        ("id:4711", set()),
    ],
)
def test_selector_matches_callers(selector: str, callers: set[Caller]) -> None:
    assert {caller for caller in (LOCAL, CI, ANN) if is_meant(caller, (selector,))} == callers


def test_one_matching_selector_is_enough() -> None:
    assert is_meant(CI, ("group:finance", "key:ci"))


@pytest.mark.parametrize("selector", ["ci", "key:", "keys:ci", "", "LOCAL", "group"])
def test_invalid_selector_is_rejected(selector: str) -> None:
    assert problem(selector) == (
        f'Value error, {selector!r} is not a selector: write "key:<name>", "scope:<scope>", "group:<group>", '
        '"id:<issuer>#<subject>", "local" or "*"'
    )


@pytest.mark.parametrize("selector", ["*", "local", "key:ci", "scope:a:b", "group:g", "id:https://issuer.test#1"])
def test_valid_selector_is_accepted(selector: str) -> None:
    assert ToolPolicy.model_validate({"dag": "d", "callers": [selector]}).callers == (selector,)


def test_empty_list_of_callers_is_rejected() -> None:
    assert problem() == 'Value error, is empty; leave it out, or write ["*"] for all callers'


def problem(*selectors: str) -> str:
    with pytest.raises(ValidationError) as refused:
        ToolPolicy.model_validate({"dag": "d", "callers": selectors})
    (found,) = refused.value.errors()
    return found["msg"]


def names(catalog: Catalog, caller: Caller) -> list[str]:
    return [tool.name for tool in catalog.wire_tools(caller)]


async def test_caller_sees_only_the_tools_it_may_use(served: Served) -> None:
    airflow = FakeAirflow()
    for name in ("payroll", "payrolls", "report"):
        airflow.add_dag(FakeDag(name))
    tools = [
        {"dag": "payroll", "callers": ["group:finance"]},
        {"dag": "payrolls", "callers": ["*"]},
        {"dag": "report"},
    ]

    async with served(airflow, tools=tools, auth={"callers": ["scope:dags.run"]}) as dagcall:
        catalog = dagcall.catalog
        assert names(catalog, CI) == ["payrolls", "report"]
        assert names(catalog, ANN) == ["payroll", "payrolls"]
        assert names(catalog, LOCAL) == ["payrolls"]
        with pytest.raises(UnknownTool) as hidden:
            catalog.tool("payroll", CI)
        with pytest.raises(UnknownTool) as missing:
            catalog.tool("payrole", CI)

    assert str(hidden.value) == "there is no tool 'payroll'; did you mean 'payrolls'?"
    assert str(missing.value) == "there is no tool 'payrole'; did you mean 'payrolls'?"


async def test_tool_change_affects_only_callers_that_may_use_the_tool(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("payroll"))
    airflow.add_dag(FakeDag("report"))
    told: list[set[str]] = []

    async with served(airflow, tools=[{"dag": "payroll", "callers": ["key:ci"]}, {"dag": "report"}]) as dagcall:

        async def note(changed: Collection[Tool]) -> None:
            may_use = dagcall.catalog.may_use
            told.append({caller.label for caller in (CI, ANN) for tool in changed if may_use(caller, tool)})

        dagcall.catalog.on_change = note
        airflow.add_dag(FakeDag("payroll", description="New."))
        await dagcall.catalog.refresh()
        airflow.add_dag(FakeDag("report", description="New."))
        await dagcall.catalog.refresh()
        airflow.add_dag(FakeDag("payroll", is_paused=True))
        await dagcall.catalog.refresh()

    assert told == [{"ci"}, {"ci", "ann"}, {"ci"}]
