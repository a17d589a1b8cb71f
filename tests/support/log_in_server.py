"""An authorization server with client registration and log-in: the SDK's endpoints, but our tokens.

Every user is logged in as `ann`, without a log-in page.
"""

import time
from typing import Any

from mcp.server.auth.provider import AuthorizationCode, AuthorizationParams, construct_redirect_uri
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from starlette.applications import Starlette

from tests.support.authorization_server import AuthorizationServer

SECONDS = 300


class LogInServer(AuthorizationServer):
    """The authorization server, and the provider for the SDK's endpoints. The SDK checks PKCE."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.asked: list[AuthorizationParams] = []
        """The authorization requests, in order."""
        self._codes: dict[str, AuthorizationCode] = {}

    @property
    def app(self) -> Starlette:
        provider: Any = self  # it implements only the methods used here
        issuer = AuthSettings.model_validate({"issuer_url": self.issuer, "resource_server_url": None}).issuer_url
        registration = ClientRegistrationOptions(enabled=True, valid_scopes=["dags.list", "dags.run"])
        app = super().app
        app.routes.extend(create_auth_routes(provider, issuer, client_registration_options=registration))
        return app

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id is not None
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        assert client.client_id is not None
        self.asked.append(params)
        code = f"code-{len(self.asked)}"
        self._codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or [],
            expires_at=time.time() + SECONDS,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(self, _: OAuthClientInformationFull, code: str) -> AuthorizationCode | None:
        return self._codes.get(code)

    async def exchange_authorization_code(self, _: OAuthClientInformationFull, code: AuthorizationCode) -> OAuthToken:
        del self._codes[code.code]
        scope = " ".join(code.scopes)
        token = self.token(aud=code.resource, sub="ann", scope=scope, client_id=code.client_id)
        return OAuthToken(access_token=token, expires_in=SECONDS, scope=scope)
