"""The issuer's keys and its word on tokens: when it is asked, and what is taken.

tests/e2e/test_callers.py sends every kind of token over HTTP.
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
    """An authorization server in this process, and dagcall's side of it."""

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
async def test_a_good_token_is_taken(changed: dict[str, Any], header: dict[str, Any]) -> None:
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
async def test_a_bad_token_is_not_taken(changed: dict[str, Any], header: dict[str, Any], reason: str) -> None:
    issuer = Issuer()

    with pytest.raises(InvalidToken, match=reason):
        await issuer.tokens.caller(issuer.server.token(header=header, **from_now(changed)))


async def test_a_signature_with_a_shared_secret_is_refused_before_a_key_is_looked_for() -> None:
    issuer = Issuer()
    forged = jwt.encode(issuer.server.claims(), "s" * 64, "HS256", headers={"kid": "first"})

    with pytest.raises(InvalidToken, match=r"it is signed with 'HS256'\Z"):
        await issuer.tokens.caller(forged)
    assert issuer.server.key_reads == 0


async def test_what_is_no_token_is_not_taken() -> None:
    issuer = Issuer()

    for text in ("", "x", "a.b.c", "\ud800"):
        with pytest.raises(InvalidToken):
            await issuer.tokens.caller(text)


async def test_keys_are_read_once_for_many_tokens() -> None:
    issuer = Issuer()

    callers = await asyncio.gather(*(issuer.tokens.caller(issuer.server.token()) for _ in range(20)))

    assert {caller.id for caller in callers} == {"http://127.0.0.1:1#u-1"}
    assert issuer.server.key_reads == 1


async def test_keys_are_read_again_as_they_grow_old() -> None:
    issuer = Issuer()
    old = issuer.server.token()
    await issuer.tokens.caller(old)
    issuer.server.rotate(SigningKey("second"))
    await issuer.tokens.caller(old)

    issuer.clock.seconds += KEYS_SECONDS + 1

    with pytest.raises(InvalidToken, match="a key that the issuer does not have"):
        await issuer.tokens.caller(old)


async def test_keys_that_are_not_older_than_is_said_are_not_read_again() -> None:
    issuer = Issuer()
    token = issuer.server.token()
    await issuer.tokens.caller(token)

    issuer.clock.seconds += KEYS_SECONDS
    await issuer.tokens.caller(token)
    assert issuer.server.key_reads == 1

    issuer.server.is_away = True
    issuer.clock.seconds += STALE_SECONDS - KEYS_SECONDS
    assert (await issuer.tokens.caller(token)).label == "u-1"


async def test_keys_that_cannot_be_read_are_told_to_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer()
    issuer.server.is_away = True

    with pytest.raises(IssuerAway, match=r"\Athe keys of http://127.0.0.1:1 cannot be read\Z"):
        await issuer.tokens.caller(issuer.server.token())

    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith("the keys of http://127.0.0.1:1 could not be read: ")


async def test_known_keys_are_used_for_a_while_when_the_issuer_is_away() -> None:
    issuer = Issuer()
    token = issuer.server.token()
    await issuer.tokens.caller(token)
    issuer.server.is_away = True

    issuer.clock.seconds += STALE_SECONDS - 1
    assert (await issuer.tokens.caller(token)).label == "u-1"

    issuer.clock.seconds += 2
    with pytest.raises(IssuerAway):
        await issuer.tokens.caller(token)


async def test_a_key_that_is_new_while_the_issuer_is_away_is_not_called_wrong() -> None:
    """With 401 the client would throw away a token that is good."""
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


async def test_made_up_key_ids_cost_the_issuer_little() -> None:
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


async def test_a_key_that_is_too_weak_is_not_trusted() -> None:
    issuer = Issuer()
    weak = SigningKey("first")
    weak.private = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    issuer.server.rotate(weak)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = issuer.server.token()

    with pytest.raises(InvalidToken, match="below the minimum"):
        await issuer.tokens.caller(token)


async def test_a_token_that_names_no_key_is_signed_with_the_only_one() -> None:
    issuer = Issuer()
    token = issuer.server.token(header={"kid": None})

    assert (await issuer.tokens.caller(token)).label == "u-1"

    issuer.server.keys.append(SigningKey("second"))
    issuer.clock.seconds += KEYS_SECONDS + 1
    with pytest.raises(InvalidToken):
        await issuer.tokens.caller(token)


async def test_keys_for_something_else_are_not_for_signatures() -> None:
    issuer = Issuer()

    class ForSecrets(SigningKey):
        @property
        def published(self) -> dict[str, Any]:
            return super().published | {"use": "enc"}

    issuer.server.rotate(ForSecrets("first"))

    with pytest.raises(InvalidToken):
        await issuer.tokens.caller(issuer.server.token())


async def test_keys_that_do_not_say_what_they_are_for_are_taken() -> None:
    issuer = Issuer()

    class ForAnything(SigningKey):
        @property
        def published(self) -> dict[str, Any]:
            return {name: value for name, value in super().published.items() if name != "use"}

    issuer.server.rotate(ForAnything("first"))

    assert (await issuer.tokens.caller(issuer.server.token())).label == "u-1"


async def test_the_settings_may_say_where_the_keys_are() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"keys": [SigningKey("first", "EdDSA").published]})

    http = IssuerHttp(transport=httpx.MockTransport(answer))
    keys = IssuerKeys(http, issuer="https://issuer.example", url="https://keys.example/all")

    assert (await keys.key("first")) is not None
    assert asked == ["https://keys.example/all"]


NOT_ABOUT_IT = "{place} is not about https://issuer.example/team, or has no jwks_uri"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"issuer": "https://other.example", "jwks_uri": "https://other.example/keys"}, NOT_ABOUT_IT),
        (
            {"issuer": "https://issuer.example/team", "jwks_uri": "http://issuer.example/keys"},
            "{place} names http://issuer.example/keys, which is not https",
        ),
        ({"issuer": "https://issuer.example/team"}, NOT_ABOUT_IT),
        (["nothing"], None),
    ],
)
async def test_metadata_that_leads_elsewhere_is_not_followed(
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
        assert told.count("https://issuer.example") == 3  # that it is about, and what was asked
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
async def test_metadata_stands_in_one_of_two_places(issuer: str, place: str) -> None:
    server = AuthorizationServer(issuer)

    def answer(request: httpx.Request) -> httpx.Response:
        if str(request.url) == place:
            return httpx.Response(200, json={"issuer": server.issuer, "jwks_uri": "https://keys.example/all"})
        if str(request.url) == "https://keys.example/all":
            return httpx.Response(200, json={"keys": [key.published for key in server.keys]})
        return httpx.Response(404, json={})

    keys = IssuerKeys(IssuerHttp(transport=httpx.MockTransport(answer)), issuer=server.issuer, url=None)
    assert (await keys.key("first")) is not None


async def test_no_redirect_is_followed() -> None:
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


async def test_what_the_issuer_says_of_a_token_is_kept_for_a_while() -> None:
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


async def test_a_refusal_is_kept_for_a_moment() -> None:
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


async def test_made_up_tokens_do_not_drive_out_good_ones(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_an_answer_is_kept_no_longer_than_its_token() -> None:
    issuer = Issuer()
    tokens = IntrospectedTokens(RULES, issuer.http, "http://127.0.0.1:1/introspect", wall_clock=issuer.clock)
    issuer.server.introspected = {"short": {"active": True, "sub": "u-1", "aud": AUDIENCE, "exp": NOW + 5}}
    await tokens.caller("short")

    issuer.clock.seconds += 36
    with pytest.raises(InvalidToken, match="expired"):
        await tokens.caller("short")


async def test_a_token_that_is_far_too_long_is_not_even_sent() -> None:
    issuer = Issuer()
    tokens = IntrospectedTokens(RULES, issuer.http, "http://127.0.0.1:1/introspect")

    with pytest.raises(InvalidToken, match=r"it is too long\Z"):
        await tokens.caller("x" * (MAX_TOKEN + 1))
    assert issuer.server.questions == 0

    issuer.server.introspected = {"x" * MAX_TOKEN: {"active": True, "sub": "u-1", "aud": AUDIENCE, "exp": 2e9}}
    assert (await tokens.caller("x" * MAX_TOKEN)).label == "u-1"


async def test_the_issuer_is_asked_of_an_access_token() -> None:
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
def test_what_an_issuer_says_of_a_good_token_is_taken(changed: dict[str, Any]) -> None:
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
def test_what_an_issuer_says_of_a_token_is_checked(changed: dict[str, Any], reason: str) -> None:
    claims = {"active": True, "iss": RULES.issuer, "aud": [AUDIENCE], "exp": NOW, "nbf": NOW}
    assert claims_for_us(claims, RULES, now=NOW) == claims

    with pytest.raises(InvalidToken) as refused:
        claims_for_us(claims | changed, RULES, now=NOW)
    assert str(refused.value) == reason
