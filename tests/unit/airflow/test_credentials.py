import asyncio
import base64
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.airflow.credentials import Credentials, expiry_of, static_token, token_command
from dagcall.errors import AirflowError, AirflowLogInRefused, AirflowUnreachable, CircuitOpen


def jwt(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{payload}.signature"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_token_is_renewed_at_80_percent_of_its_lifetime() -> None:
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


async def test_concurrent_requests_share_one_log_in() -> None:
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
async def test_user_id_is_read_from_the_token(token: str, user_id: str | None) -> None:
    assert await Credentials(static_token(token), now=Clock()).user_id() == user_id
    assert await Credentials(None, now=Clock()).user_id() is None


async def test_renewal_is_possible_only_after_a_sent_token_was_refused() -> None:
    credentials = Credentials(static_token("new"), now=Clock())
    await credentials.token()

    assert credentials.can_renew_after("old")  # another request has renewed it meanwhile
    assert not credentials.can_renew_after(None)
    assert not Credentials(None, now=Clock()).can_renew_after("any")


async def test_airflow_without_authentication_needs_no_token() -> None:
    assert await Credentials(None, now=Clock()).token() is None


@given(st.text())
def test_an_opaque_token_has_no_expiry(token: str) -> None:
    assert expiry_of(token) is None


def test_expiry_is_read_from_a_jwt() -> None:
    assert expiry_of(jwt(exp=12.5)) == 12.5
    assert expiry_of(jwt(sub="x")) is None


def test_repr_does_not_contain_the_token() -> None:
    assert "hush" not in repr(Credentials(static_token("hush"), now=Clock()))


async def test_token_is_read_from_the_commands_output() -> None:
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
async def test_failing_token_command_is_named_without_its_arguments(command: str, sentence: str) -> None:
    with pytest.raises(AirflowUnreachable, match=sentence):
        await token_command(command)()


async def test_hanging_token_command_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.airflow.credentials.COMMAND_SECONDS", 0.1)

    with pytest.raises(AirflowUnreachable, match="did not finish within"):
        await token_command(f"{sys.executable} -c 'import time; time.sleep(60)'")()


class Source:
    """A source of tokens that can fail."""

    def __init__(self) -> None:
        self.tries = 0
        self.error: AirflowError | None = None
        self.secret: object = "wrong"

    async def __call__(self) -> str:
        self.tries += 1
        await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        return f"token-{self.tries}"

    def credentials(self) -> Credentials:
        return Credentials(self, now=Clock(), secret=lambda: self.secret)


async def fifty_at_once(credentials: Credentials) -> set[str]:
    found = await asyncio.gather(*(credentials.token() for _ in range(50)), return_exceptions=True)
    return {str(one) for one in found}


@pytest.mark.untraced
@pytest.mark.virtual_time
async def test_refused_log_in_is_retried_rarely_and_reported_to_every_caller() -> None:
    source = Source()
    source.error = AirflowLogInRefused("wrong user name or password")
    credentials = source.credentials()
    loop = asyncio.get_running_loop()

    for _ in range(3600):
        assert await fifty_at_once(credentials) == {"wrong user name or password"}
        await asyncio.sleep(1)

    assert loop.time() > 3600
    assert source.tries == 10  # after 30, 60, 120, 240, 480, 600 … seconds
    source.error = None
    await asyncio.sleep(601)
    assert await fifty_at_once(credentials) == {"token-11"}


@pytest.mark.virtual_time
async def test_changed_password_is_tried_at_once() -> None:
    source = Source()
    source.error = AirflowLogInRefused("wrong user name or password")
    credentials = source.credentials()
    await fifty_at_once(credentials)

    source.error, source.secret = None, "right"
    assert await fifty_at_once(credentials) == {"token-2"}


@pytest.mark.virtual_time
async def test_failed_log_in_is_retried_soon_but_not_by_every_request() -> None:
    source = Source()
    source.error = AirflowUnreachable("later", is_effect_possible=False)
    credentials = source.credentials()
    assert await fifty_at_once(credentials) == {"later"}

    with pytest.raises(AirflowUnreachable, match="later") as caught:
        await credentials.token()
    assert caught.value.retry_after_seconds is not None
    assert source.tries == 1

    source.error = None
    await asyncio.sleep(caught.value.retry_after_seconds)
    assert await credentials.token() == "token-2"


@pytest.mark.virtual_time
async def test_retry_of_a_failed_log_in_honours_retry_after() -> None:
    source = Source()
    source.error = AirflowUnreachable("later", is_effect_possible=False, retry_after_seconds=20)
    credentials = source.credentials()
    for _ in range(19):
        await fifty_at_once(credentials)
        await asyncio.sleep(1)
    assert source.tries == 1


async def test_log_in_stopped_by_the_breaker_is_not_cached() -> None:
    source = Source()
    source.error = CircuitOpen("away", is_effect_possible=False)
    credentials = source.credentials()
    await fifty_at_once(credentials)
    await fifty_at_once(credentials)
    assert source.tries == 2


async def test_cancelled_request_does_not_cancel_a_shared_log_in() -> None:
    source = Source()
    credentials = source.credentials()
    first = asyncio.create_task(credentials.token())
    others = asyncio.create_task(fifty_at_once(credentials))
    await asyncio.sleep(0)
    first.cancel()
    assert await others == {"token-1"}


@pytest.mark.virtual_time
async def test_account_whose_tokens_are_all_refused_logs_in_rarely() -> None:
    source = Source()
    credentials = source.credentials()
    for _ in range(600):
        token = await credentials.token()
        if credentials.can_renew_after(token):
            await credentials.token()
        await asyncio.sleep(0.1)
    assert source.tries <= 3 * 60 / 30 + 2

    before = source.tries
    source.secret = "another"
    assert credentials.can_renew_after(await credentials.token())
    await credentials.token()
    assert source.tries == before + 1


@pytest.mark.parametrize("token", ["", "two words", "\ufefftoken", "line\nline", "töken"])
async def test_token_with_invalid_characters_is_rejected(token: str) -> None:
    with pytest.raises(AirflowUnreachable, match="spaces or characters that are invalid in a token"):
        await Credentials(static_token(token), now=Clock()).token()


async def test_seemingly_expired_token_is_reused() -> None:
    """If dagcall's clock is far ahead, every token seems to have expired."""
    source = Source()

    async def fetch() -> str:
        await source()
        return jwt(exp=999.0)

    credentials = Credentials(fetch, now=Clock())
    await credentials.token()
    await credentials.token()
    assert source.tries == 1
