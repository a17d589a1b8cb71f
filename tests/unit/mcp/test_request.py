"""What dagcall records about a request: the verified caller, and unverified client data that cannot forge one."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from mcp import Client
from mcp_types import Implementation

from dagcall.auth.callers import LOCAL, Caller
from dagcall.errors import RetryLater
from dagcall.masking import Masker
from dagcall.mcp.audit import Audit
from dagcall.mcp.request import Origin, said_in_note
from dagcall.runs.delivery_marks import says_cancelled
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.server.test_calls import add
from tests.support.in_memory import Served

ANN = Caller("https://issuer.test#4711", "ann", frozenset(), frozenset())
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_note_names_the_request_the_caller_and_the_client() -> None:
    origin = Origin(ANN, "by hand 1", "7", TRACE)
    assert origin.note("add") == (
        f"Called through MCP (dagcall) as tool add (request 7, trace {TRACE}) by ann (https://issuer.test#4711) with "
        "by hand 1"
    )


def test_note_of_a_local_client_omits_missing_fields() -> None:
    assert Origin(LOCAL, "a client", None, None).note("add") == "Called through MCP (dagcall) as tool add by a client"


@pytest.mark.parametrize(
    "rest", ["", " [0123456789abcdef]", " [0123456789abcdef] (answered)", " [0ab] Answered through MCP"]
)
@pytest.mark.parametrize(
    ("origin", "who"),
    [
        (Origin(LOCAL, "a client", None, None), "a client"),
        (Origin(ANN, "by hand 1", "7", TRACE), "ann (https://issuer.test#4711) with by hand 1"),
        (Origin(ANN, "claude [beta] 2", None, None), "ann (https://issuer.test#4711) with claude [beta] 2"),
    ],
)
def test_note_says_again_which_tool_and_who(origin: Origin, who: str, rest: str) -> None:
    assert said_in_note(origin.note("add") + rest) == ("add", who)


def test_note_that_a_person_has_replaced_says_nothing() -> None:
    assert said_in_note("looked at it, fine") is None


@pytest.mark.parametrize(
    ("traceparent", "noted"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", f", trace {TRACE}"),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", ""),
        ("by admin", ""),
        (7, ""),
    ],
)
async def test_client_data_is_shortened_and_cleaned(served: Served, traceparent: object, noted: str) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    info = Implementation(name="a\n\x1b[31m\u202eb" + "c" * 200, version="1")

    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk, client_info=info) as client:
        await client.call_tool("add", {"x": 1}, meta={"traceparent": traceparent})  # type: ignore[arg-type]

    note = airflow.runs[0].note or ""
    said, _, _ = note.rpartition(" [")
    name = ("a [31mb" + "c" * 200)[:100]
    assert said == f"Called through MCP (dagcall) as tool add (request 2{noted}) by {name}"


async def test_client_name_cannot_forge_a_caller_or_a_mark(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("fails", tasks=[FakeTask("it", lambda _: 1 / 0)]))
    info = Implementation(name="ann (key:ann) with it (answered) (cancelled)", version="1")

    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk, client_info=info) as client:
        await client.call_tool("fails", {})
        (run,) = airflow.runs
        seen = await dagcall.runs.look(dagcall.catalog.tool("fails"), run.run_id, caller="local")

    assert "by ann [key:ann] with it [answered] [cancelled] 1" in (run.note or "")
    assert not says_cancelled(seen)


def audit_into(written: list[str]) -> Audit:
    return Audit(
        written.append,
        arguments="full",
        masker=Masker(["the-secret"]),
        key=b"k",
        wall_clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(asyncio.CancelledError(), "left"), (KeyError("x"), "error"), (RetryLater("later"), "refused")],
)
async def test_audit_line_states_how_a_request_ended_early(error: BaseException, outcome: str) -> None:
    written: list[str] = []

    with pytest.raises(type(error)), audit_into(written).request(Origin(ANN, "c", None, None), "m", {}):
        raise error

    assert json.loads(written[0])["outcome"] == outcome


async def test_arguments_that_cannot_be_encoded_are_replaced() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    written: list[str] = []

    for arguments in (deep, {"n": 10**5000}):
        with audit_into(written).request(Origin(ANN, "c", None, None), "m", arguments):
            pass

    assert [json.loads(line)["arguments"] for line in written] == ["(no JSON)"] * 2


async def test_audit_line_has_no_control_characters_line_breaks_or_secrets() -> None:
    written: list[str] = []
    origin = Origin(ANN, "c", None, None)

    with audit_into(written).request(
        origin, "m" * 1000, {"a": "\x7f\u2028\nthe-secret" + "x" * 30_000}, tool="t" * 1000
    ) as line:
        line.failed(ValueError("the-secret\nsecond line"))

    (text,) = written
    assert text.isprintable()
    assert "the-secret" not in text
    assert "second line" not in text
    assert len(text) < 25_000
