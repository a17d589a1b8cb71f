"""What stands in front of Airflow in Amazon MWAA and Google Cloud Composer, and the APIs of their clouds.

They behave as their documentation says; neither can be run here.
"""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fake_airflow import FakeAirflow
from tests.support.on_a_socket import on_a_socket

ENVIRONMENT = "data"
GOOGLE_PAGE = "https://accounts.google.com/o/oauth2/v2/auth?client_id=composer"


class Mwaa(httpx.AsyncBaseTransport):
    """An MWAA environment: the AWS API gives web tokens, which the environment's web server takes once each.

    Args:
        airflow: the Airflow behind it.
    """

    def __init__(self, airflow: FakeAirflow) -> None:
        self._airflow = airflow
        self._web_tokens: set[str] = set()
        self._numbers = itertools.count(1)
        self.error: tuple[int, str] | None = None
        """The status and code of the AWS API's next answer, instead of a web token."""
        self.log_in_status = 200
        """The status of the web server's answers to log-ins; only 200 comes with a cookie."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.extensions["target"] != b"/pluginsv2/aws_mwaa/login":
            return await self._airflow.transport.handle_async_request(request)
        form = parse_qs((await request.aread()).decode())
        self._web_tokens.remove(form["token"][0])
        headers = [("set-cookie", "session=s; Expires=Wed, 01 Jan 2031 00:00:00 GMT; HttpOnly; Path=/")]
        if self.log_in_status == httpx.codes.OK:
            headers.append(("set-cookie", f"_token={self._airflow.access.token()}; Path=/; Secure; SameSite=Lax"))
        return httpx.Response(self.log_in_status, headers=headers)

    async def _web_token(self, request: Request) -> Response:
        if self.error is not None:
            (status, code), self.error = self.error, None
            return JSONResponse({"message": "no"}, status, {"x-amzn-ErrorType": code})
        if request.path_params["name"] != ENVIRONMENT or "AWS4-HMAC-SHA256" not in request.headers["authorization"]:
            return JSONResponse(
                {"message": "no such environment"}, 404, {"x-amzn-ErrorType": "ResourceNotFoundException"}
            )
        token = f"web-token-{next(self._numbers)}"
        self._web_tokens.add(token)
        return JSONResponse({"WebToken": token, "WebServerHostname": "data.airflow.example"})

    @contextmanager
    def aws(self) -> Iterator[dict[str, str]]:
        """Serve the AWS API; yield the variables that lead boto3 to it."""
        app = Starlette(routes=[Route("/webtoken/{name}", self._web_token, methods=["POST"])])
        with on_a_socket(app) as url:
            yield {
                "AWS_ENDPOINT_URL_MWAA": url,
                "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
                "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_MAX_ATTEMPTS": "1",
                "AWS_EC2_METADATA_DISABLED": "true",
                "NO_PROXY": "127.0.0.1",
            }


class Composer(httpx.AsyncBaseTransport):
    """A Composer environment: Google's proxy takes opaque access tokens, and sends all others to Google's log-in page.

    Args:
        airflow: the Airflow behind it.
    """

    def __init__(self, airflow: FakeAirflow) -> None:
        self._airflow = airflow
        self._numbers = itertools.count(1)
        self.access_tokens: set[str] = set()
        """The tokens that are valid now."""
        self.error: tuple[int, str] | None = None
        """The status and error of the token endpoint's answers, instead of a token."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.access_tokens:
            return httpx.Response(302, headers={"location": GOOGLE_PAGE})
        if token:
            request.headers["authorization"] = f"Bearer {self._airflow.access.token()}"
        return await self._airflow.transport.handle_async_request(request)

    async def _token(self, request: Request) -> Response:
        if self.error is not None:
            return JSONResponse({"error": self.error[1], "error_description": "no"}, self.error[0])
        form = parse_qs((await request.body()).decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        token = f"ya29.{next(self._numbers)}"
        self.access_tokens.add(token)
        return JSONResponse({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    @contextmanager
    def google(self, folder: Path) -> Iterator[dict[str, str]]:
        """Serve the token endpoint; yield the variables that give Google's libraries a service account."""
        key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with on_a_socket(Starlette(routes=[Route("/token", self._token, methods=["POST"])])) as url:
            account = {
                "type": "service_account",
                "client_email": "agent@project.iam.gserviceaccount.com",
                "private_key_id": "1",
                "private_key": key.decode(),
                "token_uri": f"{url}/token",
            }
            file = folder / "service-account.json"
            file.write_text(json.dumps(account), encoding="utf-8")
            yield {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "NO_PROXY": "127.0.0.1"}
