"""Authentication over HTTP: real requests to a real `dagcall serve`, tokens from a real authorization server."""

import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import jwt
import pytest
from jwt.utils import base64url_encode

from dagcall.auth.keys import entry_of, hash_of, new_key
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.fake_airflow.serving import WallClock, served
from tests.support.authorization_server import AUDIENCE, CLIENT, AuthorizationServer, SigningKey
from tests.support.authorization_server import served as served_authority
from tests.support.commands import run_dagcall
from tests.support.plain_http import PLAIN
from tests.support.serving_process import (
    LEGACY,
    MODERN,
    HttpServer,
    environ_for,
    headers,
    http_server,
    request,
    stdio_server,
)

revisions = pytest.mark.parametrize("revision", [MODERN, LEGACY])
METADATA = "https://dagcall.example/.well-known/oauth-protected-resource/mcp"


def now() -> int:
    return int(time.time())


def ask(server: HttpServer, credential: str | None, revision: str = MODERN, **more: str) -> httpx.Response:
    """Send `tools/list` and return the HTTP response."""
    message = request(revision, 1, "tools/list", {})
    sent = headers(revision, message) | more
    if credential is not None:
        sent["Authorization"] = f"Bearer {credential}"
    return httpx.post(server.url, json=message, headers=sent, timeout=60, trust_env=False, verify=PLAIN)


@pytest.fixture(scope="module")
def airflow() -> Iterator[str]:
    airflow = FakeAirflow(clock=WallClock())
    airflow.add_dag(FakeDag("echo", params={"it": ""}, tasks=[FakeTask("back", lambda params: params["it"])]))
    with served(airflow) as url:
        yield url


@pytest.fixture(scope="module")
def authority() -> Iterator[AuthorizationServer]:
    with served_authority() as authority:
        yield authority


@pytest.fixture(scope="module")
def key() -> str:
    return new_key()


@pytest.fixture(scope="module")
def server(
    airflow: str, authority: AuthorizationServer, key: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpServer]:
    """One server for all tests that must not crash it; it accepts tokens and keys."""
    keys = tmp_path_factory.mktemp("keys") / "keys.toml"
    keys.write_text(entry_of(key, "ci", scopes=["dags.run"]) + "\n" + entry_of(f"{key}-2", "idle"), encoding="utf-8")
    with http_server(environ(airflow, authority, DAGCALL_AUTH_KEYS_FILE=str(keys))) as running:
        yield running
        code, errors = running.stop()
        assert code == 0
        assert "Traceback" not in errors
        assert key not in errors


def environ(airflow: str, authority: AuthorizationServer, **more: str) -> Mapping[str, str]:
    return environ_for(
        airflow,
        DAGCALL_AUTH_ISSUER=authority.issuer,
        DAGCALL_AUTH_SCOPES="dags.run",
        DAGCALL_SERVER_PUBLIC_URL=AUDIENCE,
        **more,
    )


# Tokens


@revisions
def test_valid_token_is_accepted(server: HttpServer, authority: AuthorizationServer, revision: str) -> None:
    response = ask(server, authority.token(header={"typ": "at+jwt"}), revision)

    assert response.status_code == 200
    assert '"echo"' in response.text


@revisions
def test_token_with_minor_differences_is_accepted(
    server: HttpServer, authority: AuthorizationServer, revision: str
) -> None:
    for changed in (
        {"aud": ["https://other.example", f"{AUDIENCE}/"]},
        {"exp": now() - 10},
        {"nbf": now() + 10},
        {"scope": None, "scp": ["dags.run"]},
    ):
        assert ask(server, authority.token(**changed), revision).status_code == 200, changed


@revisions
def test_request_without_a_token_gets_a_challenge(server: HttpServer, revision: str) -> None:
    response = ask(server, None, revision)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == f'Bearer scope="dags.run", resource_metadata="{METADATA}"'


def test_metadata_names_the_resource_and_the_issuer(server: HttpServer, authority: AuthorizationServer) -> None:
    metadata = httpx.get(
        f"{server.root}/.well-known/oauth-protected-resource/mcp", trust_env=False, verify=PLAIN, timeout=60
    ).json()

    assert metadata["resource"] == AUDIENCE
    assert metadata["authorization_servers"] == [authority.issuer]
    assert metadata["scopes_supported"] == ["dags.run"]


def with_another_body(authority: AuthorizationServer) -> str:
    head, _, signature = authority.token().split(".")
    return f"{head}.{authority.token(sub='u-2').split('.')[1]}.{signature}"


def signed_with_the_public_key(authority: AuthorizationServer) -> str:
    """Sign with HS256 and the public key; without PyJWT, which refuses to."""
    head = {"alg": "HS256", "typ": "JWT", "kid": "first"}
    signed = b".".join(base64url_encode(json.dumps(part).encode()) for part in (head, authority.claims()))
    signature = hmac.digest(authority.keys[0].public_pem, signed, "sha256")
    return (signed + b"." + base64url_encode(signature)).decode()


REFUSED: dict[str, Callable[[AuthorizationServer], str]] = {
    "garbage": lambda _: "garbage",
    "three parts of garbage": lambda _: "a.b.c",
    "far too long": lambda it: it.token(filler="x" * 20_000),
    "signed with another key": lambda it: it.token(SigningKey("first")),
    "changed after it was signed": with_another_body,
    "not signed": lambda it: jwt.encode(it.claims(), "", "none", headers={"kid": "first"}),
    "without the signature that its header announces": lambda it: it.token().rpartition(".")[0] + ".",
    "signed with the public key as if it were a secret": signed_with_the_public_key,
    "for another audience": lambda it: it.token(aud="https://other.example/mcp"),
    "without an audience": lambda it: it.token(aud=None),
    "for another path of our host": lambda it: it.token(aud="https://dagcall.example"),
    "of another issuer": lambda it: it.token(iss="https://issuer.example"),
    "of an issuer with an additional slash": lambda it: it.token(iss=f"{it.issuer}/"),
    "without an issuer": lambda it: it.token(iss=None),
    "expired": lambda it: it.token(exp=now() - 60),
    "without an expiry": lambda it: it.token(exp=None),
    "not yet valid": lambda it: it.token(nbf=now() + 60),
    "without a subject": lambda it: it.token(sub=None),
    "of another type": lambda it: it.token(header={"typ": "logout+jwt"}),
    "with an unknown critical header": lambda it: it.token(header={"crit": ["x"], "x": 1}),
}


@revisions
@pytest.mark.parametrize("why", REFUSED)
def test_invalid_token_is_refused(server: HttpServer, authority: AuthorizationServer, revision: str, why: str) -> None:
    response = ask(server, REFUSED[why](authority), revision)

    assert response.status_code == 401
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="invalid_token"')
    assert challenge.endswith(f'scope="dags.run", resource_metadata="{METADATA}"')
    assert "echo" not in response.text


@revisions
def test_token_without_the_scope_gets_the_required_scope(
    server: HttpServer, authority: AuthorizationServer, revision: str
) -> None:
    response = ask(server, authority.token(scope="dags.list dags.run.other"), revision)

    assert response.status_code == 403
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="insufficient_scope"')
    assert challenge.endswith(f'scope="dags.run", resource_metadata="{METADATA}"')


@pytest.mark.parametrize("header", ["Basic {}", "bearer", "{}", "Token {}"])
def test_other_authorization_schemes_are_refused(
    server: HttpServer, authority: AuthorizationServer, header: str
) -> None:
    response = ask(server, None, Authorization=header.format(authority.token()))

    assert response.status_code == 401


def test_token_in_the_url_is_ignored(server: HttpServer, authority: AuthorizationServer) -> None:
    message = request(MODERN, 1, "tools/list", {})
    response = httpx.post(
        f"{server.url}?access_token={authority.token()}",
        json=message,
        headers=headers(MODERN, message),
        trust_env=False,
        verify=PLAIN,
    )

    assert response.status_code == 401


def test_two_tokens_are_refused(server: HttpServer, authority: AuthorizationServer) -> None:
    message = request(MODERN, 1, "tools/list", {})
    twice = [("Authorization", f"Bearer {authority.token()}")] * 2
    response = httpx.post(
        server.url, json=message, headers=[*headers(MODERN, message).items(), *twice], trust_env=False, verify=PLAIN
    )

    assert response.status_code == 401


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/metrics", "/", "/health/", "//health", "/HEALTH"])
def test_all_other_paths_require_authentication(server: HttpServer, method: str, path: str) -> None:
    assert httpx.request(method, server.root + path, trust_env=False, verify=PLAIN, timeout=60).status_code == 401


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_require_no_authentication(server: HttpServer, path: str) -> None:
    assert httpx.get(server.root + path, trust_env=False, verify=PLAIN, timeout=60).status_code == 200


@revisions
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_other_asymmetric_signatures_are_accepted(airflow: str, revision: str, algorithm: str) -> None:
    with served_authority() as authority:
        authority.rotate(SigningKey("other", algorithm))
        with http_server(environ(airflow, authority)) as server:
            assert ask(server, authority.token(), revision).status_code == 200


@revisions
def test_rotated_signing_key_replaces_the_old_one_at_once(airflow: str, revision: str) -> None:
    with served_authority() as authority, http_server(environ(airflow, authority)) as server:
        old = authority.token()
        assert ask(server, old, revision).status_code == 200

        authority.rotate(SigningKey("second"))

        assert ask(server, authority.token(), revision).status_code == 200
        assert ask(server, old, revision).status_code == 401


@revisions
def test_unknown_key_ids_do_not_flood_the_issuer(airflow: str, revision: str) -> None:
    with served_authority() as authority, http_server(environ(airflow, authority)) as server:
        for number in range(40):
            forged = authority.token(header={"kid": f"made up {number}"})
            assert ask(server, forged, revision).status_code == 401

        assert authority.key_reads <= 6  # 3, plus one for every 10 s
        assert ask(server, authority.token(), revision).status_code == 200


@revisions
def test_unreachable_issuer_is_answered_with_retry_after(airflow: str, revision: str) -> None:
    with served_authority() as authority, http_server(environ(airflow, authority)) as server:
        authority.is_away = True
        response = ask(server, authority.token(), revision)
        assert response.status_code == 503
        assert response.headers["retry-after"]

        authority.is_away = False
        assert ask(server, authority.token(), revision).status_code == 200

        authority.is_away = True
        assert ask(server, authority.token(), revision).status_code == 200  # its keys are cached


@revisions
def test_opaque_tokens_are_introspected(airflow: str, revision: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(CLIENT[1], encoding="utf-8")
    with served_authority() as authority:
        good = {"active": True, "client_id": "pipeline"}
        authority.introspected = {
            "good": authority.claims() | good,
            "expired": authority.claims(exp=now() - 60) | good,
            "early": authority.claims(nbf=now() + 60) | good,
            "foreign": authority.claims(iss="https://issuer.example") | good,
            "misdirected": authority.claims(aud="https://other.example") | good,
            "aimless": authority.claims(aud=None) | good,
            "idle": authority.claims(scope="dags.list") | good,
            "almost": authority.claims() | {"active": "true"},
        }
        chosen = environ(
            airflow,
            authority,
            DAGCALL_AUTH_INTROSPECTION_URL=f"{authority.issuer}/introspect",
            DAGCALL_AUTH_CLIENT_ID=CLIENT[0],
            DAGCALL_AUTH_CLIENT_SECRET_FILE=str(secret),
        )
        with http_server(chosen) as server:
            assert ask(server, "good", revision).status_code == 200
            assert ask(server, "good", revision).status_code == 200
            assert authority.questions == 1
            for token in ("expired", "early", "foreign", "misdirected", "aimless", "almost", "unknown"):
                assert ask(server, token, revision).status_code == 401, token
            assert ask(server, "idle", revision).status_code == 403
            authority.is_away = True
            assert ask(server, "another", revision).status_code == 503


# Keys


@revisions
def test_key_is_accepted_alongside_tokens(server: HttpServer, key: str, revision: str) -> None:
    assert ask(server, key, revision).status_code == 200


@revisions
def test_unknown_key_is_refused(server: HttpServer, key: str, revision: str) -> None:
    for wrong in (new_key(), key[:-1], key.swapcase(), f"{key}-3", hash_of(key)):
        assert ask(server, wrong, revision).status_code == 401


@revisions
def test_key_without_the_scope_is_refused(server: HttpServer, key: str, revision: str) -> None:
    assert ask(server, f"{key}-2", revision).status_code == 403


@revisions
def test_key_file_is_reloaded_when_it_changes(airflow: str, revision: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    made = {name: run_dagcall("key", name) for name in ("old", "new")}
    secrets = {name: ran.stderr.split("Bearer ")[1].split()[0] for name, ran in made.items()}
    keys.write_text(made["old"].stdout, encoding="utf-8")
    with http_server(environ_for(airflow, DAGCALL_AUTH_KEYS_FILE=str(keys))) as server:
        refused = ask(server, None, revision)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"  # neither an issuer nor a scope is configured
        assert ask(server, secrets["old"], revision).status_code == 200
        assert ask(server, secrets["new"], revision).status_code == 401

        keys.write_text(made["new"].stdout, encoding="utf-8")
        assert ask(server, secrets["old"], revision).status_code == 401
        assert ask(server, secrets["new"], revision).status_code == 200

        keys.write_text("[[keys]\nbroken", encoding="utf-8")
        assert ask(server, secrets["new"], revision).status_code == 200
        assert ask(server, secrets["old"], revision).status_code == 401

        keys.unlink()
        assert ask(server, secrets["new"], revision).status_code == 200
        _, errors = server.stop()
    assert "the previous keys remain valid" in errors
    assert secrets["new"] not in errors


@pytest.mark.parametrize("is_right", [True, False])
def test_call_command_sends_the_key_from_token_file(
    server: HttpServer, key: str, tmp_path: Path, *, is_right: bool
) -> None:
    file = tmp_path / "key"
    file.write_text(key if is_right else new_key(), encoding="utf-8")

    ran = run_dagcall("call", "echo", "it=hello", "--url", server.url, "--token-file", str(file))

    if is_right:
        assert json.loads(ran.stdout)["results"] == {"back": "hello"}
    else:
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "does not let this caller in (status 401)" in ran.stderr
        assert "--token-file" in ran.stderr


# Host, Origin and addresses


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:8000"}, 421),
        ({"Host": "dagcall.example"}, 200),
        ({"Host": "localhost:1234"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://dagcall.example"}, 200),
    ],
)
@revisions
def test_host_and_origin_are_checked(
    server: HttpServer, key: str, revision: str, sent: dict[str, str], status: int
) -> None:
    assert ask(server, key, revision, **sent).status_code == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 - refused
def test_serve_refuses_a_public_address_without_authentication(airflow: str, host: str) -> None:
    ran = run_dagcall("serve", "--host", host, environ=environ_for(airflow))

    assert ran.returncode == 2
    assert "but authentication is off" in ran.stderr
    assert "auth.keys_file" in ran.stderr


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_plain_text_public_url_is_warned_about(airflow: str, scheme: str) -> None:
    environ = environ_for(airflow, DAGCALL_SERVER_PUBLIC_URL=f"{scheme}://dagcall.example/mcp")
    with http_server(environ) as server:
        assert httpx.get(f"{server.root}/health", trust_env=False, verify=PLAIN, timeout=60).is_success
        _, errors = server.stop()

    assert ("callers reach dagcall at http://dagcall.example/mcp, in plain text" in errors) is (scheme == "http")


def test_stdio_requires_no_authentication(airflow: str, authority: AuthorizationServer) -> None:
    with stdio_server(environ(airflow, authority)) as server:
        *_, answer = server.stream(MODERN, request(MODERN, 1, "tools/list", {}))

    assert "echo" in [tool["name"] for tool in answer["result"]["tools"]]
