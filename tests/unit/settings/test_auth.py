"""`[auth]`, and the addresses that dagcall may listen on: what the settings mean, and one sentence per mistake."""

from pathlib import Path

import pytest

from dagcall.errors import ConfigError
from dagcall.settings.settings import Settings, load_settings

CLIENT = 'client_id = "d"\nclient_secret = "s"\n'
INTROSPECTION = 'introspection_url = "https://i.example/introspect"\n'


def load(tmp_path: Path, toml: str) -> Settings:
    path = tmp_path / "dagcall.toml"
    path.write_text(toml, encoding="utf-8")
    return load_settings(path)


def test_paths_are_relative_to_the_file_and_secrets_are_masked(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        '[auth]\nkeys_file = "keys.toml"\nissuer = "https://i.example"\nscopes = "a b"\n' + INTROSPECTION + CLIENT,
    )

    assert settings.auth.keys_file == tmp_path / "keys.toml"
    assert settings.auth.required_scopes == ("a", "b")
    assert settings.auth.is_on
    assert list(settings.auth.secrets()) == ["s"]
    assert "'s'" not in repr(settings)


def test_authentication_is_off_by_default(tmp_path: Path) -> None:
    assert not load(tmp_path, "").auth.is_on


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ('issuer = "http://i.example"', "auth.issuer: 'http://i.example' is not an https address"),
        ('issuer = "https://u:p@i.example"', "is not an https address"),
        ('issuer = "i.example"', "is not an https address"),
        ('audience = "a"', "auth: audience needs issuer"),
        ('jwks_url = "https://i.example"', "auth: jwks_url needs issuer"),
        ('issuer = "https://i.example"\n' + CLIENT, "need each other"),
        ('issuer = "https://i.example"\n' + INTROSPECTION, "need each other"),
        ('issuer = "https://i.example"\nclient_secret_file = "s"', "need each other"),
        (
            'issuer = "https://i.example"\njwks_url = "https://i.example/k"\n' + INTROSPECTION + CLIENT,
            "jwks_url and introspection_url contradict",
        ),
        (
            'issuer = "https://i.example"\nclient_secret_file = "s"\n' + INTROSPECTION + CLIENT,
            "client_secret and client_secret_file contradict",
        ),
        ('scopes = "a"', "auth: scopes need keys_file or issuer"),
        ('issuer = "https://i.example"\nscopes = \'a"b\'', "auth.scopes: String should match"),
        ('allow_anyone = "yes"', "auth.allow_anyone: Input should be 'whoever reaches this port"),
        (
            'keys_file = "k"\nallow_anyone = "whoever reaches this port may run the published dags"',
            "auth: allow_anyone contradicts keys_file and issuer",
        ),
        ('key_file = "k"', "auth.key_file is not a dagcall setting; did you mean 'keys_file'?"),
    ],
)
def test_each_mistake_is_reported_in_one_sentence(tmp_path: Path, toml: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"[auth]\n{toml}\n")

    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unusable_ca_file_is_a_config_error(tmp_path: Path) -> None:
    settings = load(tmp_path, '[auth]\nissuer = "https://i.example"\nca_file = "none.pem"\n')

    with pytest.raises(ConfigError, match=r"auth.ca_file: .* cannot be used"):
        settings.auth.tls()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "dagcall.example"])  # noqa: S104 - refused
def test_listening_beyond_this_machine_requires_authentication(tmp_path: Path, host: str) -> None:
    server = f'[server]\nhost = "{host}"\npublic_url = "https://dagcall.example/mcp"\n'

    with pytest.raises(ConfigError, match="is reachable from other machines"):
        load(tmp_path, server)
    with pytest.raises(ConfigError, match="but authentication is off"):
        load_settings(None, server={"host": host})

    for way in ('keys_file = "k"', 'issuer = "https://i.example"'):
        assert load(tmp_path, f"{server}[auth]\n{way}\n").server.host == host
    allowed = '[auth]\nallow_anyone = "whoever reaches this port may run the published dags"\n'
    assert load(tmp_path, server + allowed).server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_listening_on_this_machine_needs_no_authentication(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, f'[server]\nhost = "{host}"\n').server.host == host


def test_listening_on_every_address_requires_a_host_name(tmp_path: Path) -> None:
    auth = '[auth]\nkeys_file = "k"\n'
    server = '[server]\nhost = "0.0.0.0"\n'

    with pytest.raises(ConfigError, match="set the one that callers use"):
        load(tmp_path, server + auth)
    named = load(tmp_path, server + 'allowed_hosts = ["dagcall.internal", "[::1]:8000"]\n' + auth)
    assert named.server.allowed_hosts == ("dagcall.internal", "[::1]:8000")


def test_issuer_requires_a_public_url_if_the_host_means_every_address(tmp_path: Path) -> None:
    auth = '[auth]\nissuer = "https://i.example"\n'
    server = '[server]\nhost = "0.0.0.0"\nallowed_hosts = ["dagcall.internal"]\n'

    with pytest.raises(ConfigError, match=r"needs server.public_url, because server.host .* means every address"):
        load(tmp_path, server + auth)
    assert load(tmp_path, f'{server}public_url = "https://dagcall.internal/mcp"\n{auth}').auth.is_on


@pytest.mark.parametrize(
    ("toml", "names"),
    [
        ('public_url = "https://DagCall.example/mcp"', ["dagcall.example"]),
        ('public_url = "https://dagcall.example:443/mcp"', ["dagcall.example"]),
        ('public_url = "http://[FE80::1]:8000/mcp"', ["[fe80::1]"]),
        ('allowed_hosts = ["Dagcall.internal:8000"]', ["dagcall.internal:8000"]),
        ('host = "::1"', []),
    ],
)
def test_host_names_are_normalised(tmp_path: Path, toml: str, names: list[str]) -> None:
    server = load(tmp_path, f"[server]\n{toml}\n").server

    assert set(server.host_names) == {"127.0.0.1", "localhost", "[::1]", *names}


def test_listening_address_is_a_host_name_unless_it_means_every_address(tmp_path: Path) -> None:
    server = load(tmp_path, "").server

    assert "192.0.2.1" in server.model_copy(update={"host": "192.0.2.1"}).host_names
    assert "[2001:db8::1]" in server.model_copy(update={"host": "2001:DB8::1"}).host_names
    for host in ("0.0.0.0", "::", ""):  # noqa: S104 - as a setting
        assert len(server.model_copy(update={"host": host}).host_names) == 3


@pytest.mark.parametrize(
    ("url", "is_read"),
    [
        ("https://dagcall.example/mcp", False),
        ("http://dagcall.example/mcp", True),
        ("http://localhost:9000/mcp", False),
        ("http://[::1]/mcp", False),
    ],
)
def test_plain_http_beyond_this_machine_is_detected(tmp_path: Path, url: str, *, is_read: bool) -> None:
    server = load(tmp_path, f'[server]\npublic_url = "{url}"\n').server

    assert server.is_read_on_the_way is is_read
    assert not load(tmp_path, "").server.is_read_on_the_way
    assert server.model_copy(update={"host": "192.0.2.1", "public_url": None}).is_read_on_the_way


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ('allowed_hosts = ["https://a.example"]', "'https://a.example' is not a host name"),
        ('allowed_hosts = ["*"]', "'*' is not a host name"),
        ('public_url = "dagcall.example"', "'dagcall.example' is not an address such as"),
        ('public_url = "https://u@dagcall.example/mcp"', "is not an address such as"),
        ('public_url = "https://dagcall.example/mcp?a=b"', "is not an address such as"),
    ],
)
def test_invalid_host_names_and_urls_are_rejected(tmp_path: Path, toml: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"[server]\n{toml}\n")

    assert sentence in str(caught.value)


def test_server_url_is_the_public_url_or_the_listening_address(tmp_path: Path) -> None:
    assert load(tmp_path, "").server.url == "http://127.0.0.1:8000/mcp"
    assert load(tmp_path, '[server]\nhost = "::1"\n').server.url == "http://[::1]:8000/mcp"
    public = '[server]\npublic_url = "https://dagcall.example/mcp/"\n'
    assert load(tmp_path, public).server.url == "https://dagcall.example/mcp"


def test_auth_settings_can_come_from_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGCALL_AUTH_ISSUER", "https://i.example")
    monkeypatch.setenv("DAGCALL_AUTH_SCOPES", "a b")
    monkeypatch.setenv("DAGCALL_SERVER_ALLOWED_HOSTS", "a.example, b.example:1")

    settings = load_settings(None)

    assert settings.auth.required_scopes == ("a", "b")
    assert settings.server.allowed_hosts == ("a.example", "b.example:1")
