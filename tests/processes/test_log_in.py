"""User log-in: refused by `dagcall serve`, the SDK's OAuth client finds the authorization server and gets a token.

The client knows only dagcall's URL.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp_types import CallToolResult

from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.fake_airflow.serving import WallClock, served
from tests.support.authorization_server import SigningKey
from tests.support.authorization_server import served as served_authority
from tests.support.log_in_server import LogInServer
from tests.support.plain_http import PLAIN
from tests.support.serving_process import HttpServer, environ_for, http_server

Mode = Literal["auto", "legacy"]
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
CALLBACK = "http://127.0.0.1:1/callback"


class Memory:
    """The log-in data that a client stores."""

    def __init__(self, token: str | None = None, scope: str | None = None) -> None:
        self.token = OAuthToken(access_token=token, scope=scope) if token else None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.token

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.token = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """Opens the URL that the client shows its user, and returns to the client's callback URL."""

    def __init__(self) -> None:
        self._came_back = ""

    async def open(self, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, verify=PLAIN) as http:
            self._came_back = (await http.get(url)).headers["location"]

    async def came_back(self) -> AuthorizationCodeResult:
        assert self._came_back.startswith(CALLBACK)
        found = {name: values[0] for name, values in parse_qs(urlsplit(self._came_back).query).items()}
        return AuthorizationCodeResult(code=found["code"], state=found["state"], iss=found.get("iss"))


@pytest.fixture(scope="module")
def airflow() -> FakeAirflow:
    airflow = FakeAirflow(clock=WallClock())
    airflow.add_dag(FakeDag("echo", params={"it": ""}, tasks=[FakeTask("back", lambda params: params["it"])]))
    return airflow


@pytest.fixture
def authority() -> Iterator[LogInServer]:
    authority = LogInServer()
    with served_authority(authority):
        yield authority


@pytest.fixture
def server(airflow: FakeAirflow, authority: LogInServer) -> Iterator[HttpServer]:
    with (
        served(airflow) as url,
        http_server(environ_for(url, DAGCALL_AUTH_ISSUER=authority.issuer, DAGCALL_AUTH_SCOPES="dags.run")) as running,
    ):
        yield running


@asynccontextmanager
async def logged_in(server: HttpServer, mode: Mode, memory: Memory) -> AsyncIterator[Client]:
    browser = Browser()
    auth = OAuthClientProvider(
        server.url,
        OAuthClientMetadata.model_validate({"redirect_uris": [CALLBACK], "client_name": "an agent"}),
        memory,
        redirect_handler=browser.open,
        callback_handler=browser.came_back,
    )
    async with (
        create_mcp_http_client(auth=auth) as http,
        Client(streamable_http_client(server.url, http_client=http), mode=mode) as client,
    ):
        yield client


def result_of(answer: CallToolResult) -> object:
    assert answer.structured_content is not None
    return answer.structured_content["results"]


@ERAS
async def test_client_that_knows_only_the_url_logs_its_user_in(
    server: HttpServer, authority: LogInServer, airflow: FakeAirflow, mode: Mode
) -> None:
    memory = Memory()
    async with logged_in(server, mode, memory) as client:
        answer = await client.call_tool("echo", {"it": "hello"})

    assert result_of(answer) == {"back": "hello"}
    assert [client.client_name for client in authority.clients.values()] == ["an agent"]
    (asked,) = authority.asked
    assert (asked.scopes, asked.resource) == (["dags.run"], server.url)
    assert asked.code_challenge
    assert f"by ann ({authority.issuer}#ann) with " in (airflow.runs[-1].note or "")
    assert memory.token is not None
    assert memory.token.access_token not in (airflow.runs[-1].note or "")


@ERAS
async def test_client_with_a_missing_scope_requests_it(server: HttpServer, authority: LogInServer, mode: Mode) -> None:
    little = Memory(authority.token(aud=server.url, sub="ann", scope="dags.list"), "dags.list")
    async with logged_in(server, mode, little) as client:
        answer = await client.call_tool("echo", {"it": "hello"})

    assert result_of(answer) == {"back": "hello"}
    (asked,) = authority.asked
    assert set(asked.scopes or ()) == {
        "dags.list",
        "dags.run",
    }  # the token's scope, and the scope that dagcall requires


@ERAS
async def test_client_with_a_refused_token_logs_in_again(
    server: HttpServer, authority: LogInServer, mode: Mode
) -> None:
    async with logged_in(server, mode, Memory()) as client:
        first = await client.call_tool("echo", {"it": "one"})
        authority.rotate(SigningKey("second"))
        async with httpx.AsyncClient(
            trust_env=False, verify=PLAIN
        ) as http:  # makes dagcall reload the keys before they expire
            await http.post(server.url, headers={"Authorization": f"Bearer {authority.token(aud=server.url)}"})
        second = await client.call_tool("echo", {"it": "two"})

    assert [result_of(first), result_of(second)] == [{"back": "one"}, {"back": "two"}]
    assert len(authority.asked) == 2
    assert len(authority.clients) == 1
