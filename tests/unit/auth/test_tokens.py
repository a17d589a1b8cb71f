"""The issuer's keys and token introspection: when dagcall asks the issuer, and which tokens it accepts.

tests/processes/test_callers.py sends every kind of token over HTTP.
"""

import asyncio
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from dagcall.airflow.http import IssuerHttp
from dagcall.auth.tokens import (
    INTROSPECTION_SECONDS,
    KEYS_SECONDS,
    LEEWAY_SECONDS,
    MAX_TOKEN,
    READ_BURST,
    READ_INTERVAL_SECONDS,
    REFUSED_SECONDS,
    STALE_SECONDS,
    IntrospectedTokens,
    InvalidToken,
    IssuerKeys,
    JwtTokens,
    TokenPolicy,
    claims_for_us,
)
from dagcall.errors import IssuerAway
from tests.support.authorization_server import AUDIENCE, CLIENT, AuthorizationServer, SigningKey

RULES = TokenPolicy("http://127.0.0.1:1", AUDIENCE, "groups")
NOW = 1_000_000.0


class Clock:
    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


class Issuer:
    """An authorization server in this process, and dagcall's side of the connection."""

    def __init__(self) -> None:
        self.server = AuthorizationServer()
        self.http = IssuerHttp(transport=httpx.ASGITransport(self.server.app), client=CLIENT)
        self.clock = Clock()
        self.keys = IssuerKeys(self.http, issuer=self.server.issuer, url=None, now=self.clock)
        self.tokens = JwtTokens(RULES, self.keys)


def from_now(changed: dict[str, Any]) -> dict[str, Any]:
    """Claims whose times are given as seconds from now."""
    now = time.time()
    return {
        key: now + value if key in {"exp", "nbf"} and value is not None else value for key, value in changed.items()
    }


@pytest.mark.parametrize(
    ("changed", "header"),
    [
        ({"aud": AUDIENCE + "/"}, {}),
        ({"aud": ["https://other.example", AUDIENCE]}, {}),
        ({"exp": -LEEWAY_SECONDS + 10}, {}),
        ({"nbf": LEEWAY_SECONDS - 10}, {}),
        ({}, {"typ": "AT+JWT"}),
        ({}, {"typ": "application/at+jwt"}),
        ({}, {"typ": None}),
    ],
)
async def test_valid_token_is_accepted(changed: dict[str, Any], header: dict[str, Any]) -> None:
    issuer = Issuer()

    caller = await issuer.tokens.caller(issuer.server.token(header=header, groups=["finance"], **from_now(changed)))

    assert (caller.id, caller.groups) == ("http://127.0.0.1:1#u-1", frozenset({"finance"}))


@pytest.mark.parametrize(
    ("changed", "header", "reason"),
    [
        ({"aud": "https://other.example"}, {}, "Audience doesn't match"),
        ({"aud": None}, {}, 'missing the "aud" claim'),
        ({"iss": "https://other.example"}, {}, "Invalid issuer"),
        ({"iss": None}, {}, 'missing the "iss" claim'),
        ({"exp": -LEEWAY_SECONDS - 10}, {}, "Signature has expired"),
        ({"exp": None}, {}, 'missing the "exp" claim'),
        ({"nbf": LEEWAY_SECONDS + 20}, {}, "not yet valid"),
        ({"sub": None}, {}, r"it has no subject: sub, client_id and azp are missing\Z"),
        ({"filler": "x" * 20_000}, {}, r"it is too long\Z"),
        ({}, {"typ": "logout+jwt"}, r"it is of type 'logout\+jwt'\Z"),
        ({}, {"typ": 7}, "Invalid|of type 7"),
        ({}, {"kid": "another"}, r"it is signed with a key that the issuer does not have\Z"),
        ({}, {"crit": ["x"], "x": 1}, "critical"),
    ],
)
async def test_invalid_token_is_rejected(changed: dict[str, Any], header: dict[str, Any], reason: str) -> None:
    issuer = Issuer()

    with pytest.raises(InvalidToken, match=reason):
        await issuer.tokens.caller(issuer.server.token(header=header, **from_now(changed)))


async def test_shared_secret_signature_is_rejected_before_keys_are_read() -> None:
    issuer = Issuer()
    forged = jwt.encode(issuer.server.claims(), "s" * 64, "HS256", headers={"kid": "first"})

    with pytest.raises(InvalidToken, match=r"it is signed with 'HS256'\Z"):
        await issuer.tokens.caller(forged)
    assert issuer.server.key_reads == 0


async def test_malformed_token_is_rejected() -> None:
    issuer = Issuer()

    for text in ("", "x", "a.b.c", "\ud800"):
        with pytest.raises(InvalidToken):
            await issuer.tokens.caller(text)


async def test_keys_are_read_once_for_many_tokens() -> None:
    issuer = Issuer()

    callers = await asyncio.gather(*(issuer.tokens.caller(issuer.server.token()) for _ in range(20)))

    assert {caller.id for caller in callers} == {"http://127.0.0.1:1#u-1"}
    assert issuer.server.key_reads == 1


async def test_old_keys_are_read_again() -> None:
    issuer = Issuer()
    old = issuer.server.token()
    await issuer.tokens.caller(old)
    issuer.server.rotate(SigningKey("second"))
    await issuer.tokens.caller(old)

    issuer.clock.seconds += KEYS_SECONDS + 1

    with pytest.raises(InvalidToken, match="a key that the issuer does not have"):
        await issuer.tokens.caller(old)


async def test_keys_are_used_up_to_their_exact_maximum_age() -> None:
    issuer = Issuer()
    token = issuer.server.token()
    await issuer.tokens.caller(token)

    issuer.clock.seconds += KEYS_SECONDS
    await issuer.tokens.caller(token)
    assert issuer.server.key_reads == 1

    issuer.server.is_away = True
    issuer.clock.seconds += STALE_SECONDS - KEYS_SECONDS
    assert (await issuer.tokens.caller(token)).label == "u-1"


async def test_unreadable_keys_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer()
    issuer.server.is_away = True

    with pytest.raises(IssuerAway, match=r"\Athe keys of http://127.0.0.1:1 cannot be read\Z"):
        await issuer.tokens.caller(issuer.server.token())

    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith("the keys of http://127.0.0.1:1 could not be read: ")


async def test_known_keys_are_used_for_a_while_if_the_issuer_is_unreachable() -> None:
    issuer = Issuer()
    token = issuer.server.token()
    await issuer.tokens.caller(token)
    issuer.server.is_away = True

    issuer.clock.seconds += STALE_SECONDS - 1
    assert (await issuer.tokens.caller(token)).label == "u-1"

    issuer.clock.seconds += 2
    with pytest.raises(IssuerAway):
        await issuer.tokens.caller(token)


async def test_new_key_is_not_called_invalid_while_the_issuer_is_unreachable() -> None:
    """A 401 would make the client discard a valid token."""
    issuer = Issuer()
    await issuer.tokens.caller(issuer.server.token())
    issuer.server.rotate(SigningKey("second"))
    issuer.server.is_away = True
    token = issuer.server.token()

    for _ in range(2 * READ_BURST):
        with pytest.raises(IssuerAway):
            await issuer.tokens.caller(token)

    issuer.server.is_away = False
    issuer.clock.seconds += READ_INTERVAL_SECONDS
    assert (await issuer.tokens.caller(token)).label == "u-1"


async def test_forged_key_ids_cause_few_reads_of_the_keys() -> None:
    issuer = Issuer()

    async def forge(number: int) -> None:
        with pytest.raises(InvalidToken):
            await issuer.tokens.caller(issuer.server.token(header={"kid": f"made up {number}"}))

    for number in range(20):
        await forge(number)
    assert issuer.server.key_reads == READ_BURST

    issuer.clock.seconds += READ_INTERVAL_SECONDS
    for number in range(20):
        await forge(number)
    assert issuer.server.key_reads == READ_BURST + 1

    issuer.clock.seconds += 100 * READ_INTERVAL_SECONDS
    for number in range(20):
        await forge(number)
    assert issuer.server.key_reads == 2 * READ_BURST + 1


async def test_weak_key_is_not_trusted() -> None:
    issuer = Issuer()
    weak = SigningKey("first")
    weak.private = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    issuer.server.rotate(weak)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = issuer.server.token()

    with pytest.raises(InvalidToken, match="below the minimum"):
        await issuer.tokens.caller(token)


async def test_token_without_a_key_id_is_accepted_only_if_the_issuer_has_one_key() -> None:
    issuer = Issuer()
    token = issuer.server.token(header={"kid": None})

    assert (await issuer.tokens.caller(token)).label == "u-1"

    issuer.server.keys.append(SigningKey("second"))
    issuer.clock.seconds += KEYS_SECONDS + 1
    with pytest.raises(InvalidToken):
        await issuer.tokens.caller(token)


async def test_encryption_key_is_not_used_for_signatures() -> None:
    issuer = Issuer()

    class ForSecrets(SigningKey):
        @property
        def published(self) -> dict[str, Any]:
            return super().published | {"use": "enc"}

    issuer.server.rotate(ForSecrets("first"))

    with pytest.raises(InvalidToken):
        await issuer.tokens.caller(issuer.server.token())


async def test_key_without_a_declared_use_is_accepted() -> None:
    issuer = Issuer()

    class ForAnything(SigningKey):
        @property
        def published(self) -> dict[str, Any]:
            return {name: value for name, value in super().published.items() if name != "use"}

    issuer.server.rotate(ForAnything("first"))

    assert (await issuer.tokens.caller(issuer.server.token())).label == "u-1"


async def test_configured_url_of_the_keys_is_used() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"keys": [SigningKey("first", "EdDSA").published]})

    http = IssuerHttp(transport=httpx.MockTransport(answer))
    keys = IssuerKeys(http, issuer="https://issuer.example", url="https://keys.example/all")

    assert (await keys.key("first")) is not None
    assert asked == ["https://keys.example/all"]


WRONG_METADATA = "{place} is not about https://issuer.example/team, or has no jwks_uri"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"issuer": "https://other.example", "jwks_uri": "https://other.example/keys"}, WRONG_METADATA),
        (
            {"issuer": "https://issuer.example/team", "jwks_uri": "http://issuer.example/keys"},
            "{place} names http://issuer.example/keys, which is not https",
        ),
        ({"issuer": "https://issuer.example/team"}, WRONG_METADATA),
        (["nothing"], None),
    ],
)
async def test_unusable_metadata_is_not_followed(
    metadata: Any, reason: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json=metadata)

    http = IssuerHttp(transport=httpx.MockTransport(answer))
    with pytest.raises(IssuerAway):
        await IssuerKeys(http, issuer="https://issuer.example/team", url=None).key("first")
    assert asked == [
        "https://issuer.example/team/.well-known/openid-configuration",
        "https://issuer.example/.well-known/oauth-authorization-server/team",
    ]
    (told,) = (record.getMessage() for record in caplog.records)
    if reason is None:
        assert told.count("https://issuer.example") == 3  # the issuer, and the two addresses that were asked
    else:
        reasons = "; ".join(reason.format(place=place) for place in asked)
        assert told == f"the keys of https://issuer.example/team could not be read: {reasons}"


@pytest.mark.parametrize(
    ("issuer", "place"),
    [
        ("https://issuer.example/", "https://issuer.example/.well-known/openid-configuration"),
        ("https://issuer.example/", "https://issuer.example/.well-known/oauth-authorization-server"),
        ("https://issuer.example/X/", "https://issuer.example/X/.well-known/openid-configuration"),
        ("https://issuer.example/X/", "https://issuer.example/.well-known/oauth-authorization-server/X"),
        ("http://issuer.example", "http://issuer.example/.well-known/openid-configuration"),
    ],
)
async def test_metadata_is_found_at_either_well_known_address(issuer: str, place: str) -> None:
    server = AuthorizationServer(issuer)

    def answer(request: httpx.Request) -> httpx.Response:
        if str(request.url) == place:
            return httpx.Response(200, json={"issuer": server.issuer, "jwks_uri": "https://keys.example/all"})
        if str(request.url) == "https://keys.example/all":
            return httpx.Response(200, json={"keys": [key.published for key in server.keys]})
        return httpx.Response(404, json={})

    keys = IssuerKeys(IssuerHttp(transport=httpx.MockTransport(answer)), issuer=server.issuer, url=None)
    assert (await keys.key("first")) is not None


async def test_redirect_is_not_followed() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://elsewhere.example"}, json={})

    http = IssuerHttp(transport=httpx.MockTransport(answer), client=CLIENT)
    with pytest.raises(IssuerAway):
        await http.get("https://issuer.example/keys")
    with pytest.raises(IssuerAway):
        await http.post("https://issuer.example/introspect", {"token": "t"})
    assert asked == ["issuer.example", "issuer.example"]
    await http.aclose()


async def test_introspection_answer_is_cached_for_a_while() -> None:
    issuer = Issuer()
    tokens = IntrospectedTokens(RULES, issuer.http, "http://127.0.0.1:1/introspect", wall_clock=issuer.clock)
    said = {"active": True, "sub": "u-1", "aud": AUDIENCE, "exp": NOW + 1000, "groups": ["finance"]}
    issuer.server.introspected = {"long": said, "short": said | {"exp": NOW + 5}}

    for _ in range(3):
        assert (await tokens.caller("long")).groups == {"finance"}
    assert issuer.server.questions == 1

    issuer.clock.seconds += INTROSPECTION_SECONDS
    issuer.server.introspected.pop("long")
    with pytest.raises(InvalidToken):
        await tokens.caller("long")


async def test_introspection_refusal_is_cached_briefly() -> None:
    issuer = Issuer()
    tokens = IntrospectedTokens(RULES, issuer.http, "http://127.0.0.1:1/introspect", wall_clock=issuer.clock)

    for reason in (
        "the issuer says that it is not active",
        "it was refused a moment ago",
        "it was refused a moment ago",
    ):
        with pytest.raises(InvalidToken) as refused:
            await tokens.caller("late")
        assert str(refused.value) == reason
    assert issuer.server.questions == 1

    issuer.server.introspected = {"late": {"active": True, "sub": "u-1", "aud": AUDIENCE, "exp": NOW + 1000}}
    issuer.clock.seconds += REFUSED_SECONDS
    assert (await tokens.caller("late")).label == "u-1"


async def test_forged_tokens_do_not_evict_valid_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.auth.tokens.MAX_KEPT", 2)
    issuer = Issuer()
    tokens = IntrospectedTokens(RULES, issuer.http, "http://127.0.0.1:1/introspect", wall_clock=issuer.clock)
    issuer.server.introspected = {"good": {"active": True, "sub": "u-1", "aud": AUDIENCE, "exp": NOW + 1000}}
    await tokens.caller("good")

    for number in range(5):
        with pytest.raises(InvalidToken):
            await tokens.caller(f"made up {number}")
    await tokens.caller("good")

    assert issuer.server.questions == 6


async def test_cached_introspection_answer_expires_with_its_token() -> None:
    issuer = Issuer()
    tokens = IntrospectedTokens(RULES, issuer.http, "http://127.0.0.1:1/introspect", wall_clock=issuer.clock)
    issuer.server.introspected = {"short": {"active": True, "sub": "u-1", "aud": AUDIENCE, "exp": NOW + 5}}
    await tokens.caller("short")

    issuer.clock.seconds += 36
    with pytest.raises(InvalidToken, match="expired"):
        await tokens.caller("short")


async def test_oversized_token_is_not_sent_to_the_issuer() -> None:
    issuer = Issuer()
    tokens = IntrospectedTokens(RULES, issuer.http, "http://127.0.0.1:1/introspect")

    with pytest.raises(InvalidToken, match=r"it is too long\Z"):
        await tokens.caller("x" * (MAX_TOKEN + 1))
    assert issuer.server.questions == 0

    issuer.server.introspected = {"x" * MAX_TOKEN: {"active": True, "sub": "u-1", "aud": AUDIENCE, "exp": 2e9}}
    assert (await tokens.caller("x" * MAX_TOKEN)).label == "u-1"


async def test_introspection_request_has_the_access_token_hint() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.content.decode())
        return httpx.Response(200, json={"active": True, "sub": "u-1", "aud": AUDIENCE, "exp": NOW + 1000})

    http = IssuerHttp(transport=httpx.MockTransport(answer), client=CLIENT)
    tokens = IntrospectedTokens(RULES, http, "https://issuer.example/introspect", wall_clock=Clock())

    assert (await tokens.caller("opaque")).label == "u-1"
    assert asked == ["token=opaque&token_type_hint=access_token"]
    await http.aclose()


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None},
        {"aud": AUDIENCE + "/"},
        {"aud": ["https://other.example", AUDIENCE]},
        {"exp": NOW - 30},
        {"exp": NOW + 0.5},
        {"nbf": NOW + 30},
        {"nbf": None},
    ],
)
def test_introspection_of_a_valid_token_is_accepted(changed: dict[str, Any]) -> None:
    said = {"active": True, "iss": RULES.issuer, "aud": AUDIENCE, "exp": NOW, "nbf": NOW} | changed
    claims = {name: value for name, value in said.items() if value is not None}

    assert claims_for_us(claims, RULES, now=NOW) == claims


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"active": False}, "the issuer says that it is not active"),
        ({"active": None}, "the issuer says that it is not active"),
        ({"active": 1}, "the issuer says that it is not active"),
        ({"iss": "https://other.example"}, "another issuer made it"),
        ({"aud": "https://other.example"}, "it is for another audience"),
        ({"aud": [AUDIENCE + "x", 7, {}]}, "it is for another audience"),
        ({"aud": None}, "it is for another audience"),
        ({"exp": NOW - 31}, "it has expired, or has no expiry"),
        ({"exp": None}, "it has expired, or has no expiry"),
        ({"exp": True}, "it has expired, or has no expiry"),
        ({"exp": "soon"}, "it has expired, or has no expiry"),
        ({"nbf": NOW + 31}, "it is not valid yet"),
        ({"nbf": "soon"}, "it is not valid yet"),
    ],
)
def test_introspection_answer_is_validated(changed: dict[str, Any], reason: str) -> None:
    claims = {"active": True, "iss": RULES.issuer, "aud": [AUDIENCE], "exp": NOW, "nbf": NOW}
    assert claims_for_us(claims, RULES, now=NOW) == claims

    with pytest.raises(InvalidToken) as refused:
        claims_for_us(claims | changed, RULES, now=NOW)
    assert str(refused.value) == reason
