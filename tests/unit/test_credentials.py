import asyncio
import base64
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.credentials import Credentials, expiry_of, static_token, token_command
from dagcall.errors import AirflowRefused


def jwt(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{payload}.signature"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_is_fetched_once_and_renewed_at_80_per_cent_of_its_life() -> None:
    clock, fetched = Clock(), 0

    async def fetch() -> str:
        nonlocal fetched
        fetched += 1
        return jwt(exp=clock.now + 100, n=fetched)

    credentials = Credentials(fetch, now=clock)

    first = await credentials.token()
    clock.now += 79
    assert await credentials.token() == first
    clock.now += 1
    assert await credentials.token() != first
    assert fetched == 2


async def test_many_who_need_a_token_at_once_share_one_log_in() -> None:
    fetched = 0

    async def fetch() -> str:
        nonlocal fetched
        fetched += 1
        await asyncio.sleep(0)
        return "t"

    credentials = Credentials(fetch, now=Clock())
    assert await asyncio.gather(*(credentials.token() for _ in range(10))) == ["t"] * 10
    assert fetched == 1


@pytest.mark.parametrize(
    ("token", "user_id"),
    [
        (jwt(sub="admin"), "admin"),
        (jwt(sub=7), None),
        (jwt(), None),
        ("opaque", None),
        ("a.W10.b", None),
        ("a.!.b", None),
    ],
)
async def test_whose_token_it_is(token: str, user_id: str | None) -> None:
    assert await Credentials(static_token(token), now=Clock()).user_id() == user_id
    assert await Credentials(None, now=Clock()).user_id() is None


async def test_only_a_refused_token_is_forgotten() -> None:
    credentials = Credentials(static_token("new"), now=Clock())
    await credentials.token()

    assert credentials.can_renew_after("old")  # somebody else has renewed it meanwhile
    assert not credentials.can_renew_after(None)
    assert not Credentials(None, now=Clock()).can_renew_after("any")


async def test_an_airflow_for_all_needs_no_token() -> None:
    assert await Credentials(None, now=Clock()).token() is None


@given(st.text())
def test_a_token_that_is_no_jwt_has_no_expiry(token: str) -> None:
    assert expiry_of(token) is None


def test_the_expiry_of_a_jwt() -> None:
    assert expiry_of(jwt(exp=12.5)) == 12.5
    assert expiry_of(jwt(sub="x")) is None


def test_a_token_is_in_no_repr() -> None:
    assert "hush" not in repr(Credentials(static_token("hush"), now=Clock()))


async def test_a_command_prints_the_token() -> None:
    assert await token_command(f"{sys.executable} -c 'print(\" t0ken \")'")() == "t0ken"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("/no/such/program x", "the token command '/no/such/program' could not be started: No such file or directory"),
        (
            f"{sys.executable} -c 'import sys; sys.exit(\"please log in\")'",
            r"printed no token \(exit code 1\): please log in",
        ),
        (f"{sys.executable} -c ''", r"printed no token \(exit code 0\)$"),
    ],
)
async def test_a_command_that_prints_none_is_named_without_its_arguments(command: str, sentence: str) -> None:
    with pytest.raises(AirflowRefused, match=sentence):
        await token_command(command)()


async def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.credentials.COMMAND_SECONDS", 0.1)

    with pytest.raises(AirflowRefused, match="did not finish within"):
        await token_command(f"{sys.executable} -c 'import time; time.sleep(60)'")()
