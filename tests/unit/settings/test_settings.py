"""Settings: what they mean, and one sentence per mistake."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from dagcall.errors import ConfigError
from dagcall.settings.auth import ALLOW_ANYONE
from dagcall.settings.settings import Settings, find_config, load_settings, read_secret, variable_names


def load(tmp_path: Path, toml: str) -> object:
    path = tmp_path / "dagcall.toml"
    path.write_text(toml, encoding="utf-8")
    return load_settings(path)


def test_paths_in_a_settings_file_are_relative_to_it(tmp_path: Path) -> None:
    path = tmp_path / "dagcall.toml"
    path.write_text(
        """
        pins = "tool_schemas"
        [airflow]
        url = "https://airflow.example/team/"
        username = "agent"
        password_file = "secret"
        [[tools]]
        dag = "a"
        wait_seconds = 9
        [[tools]]
        tag = "mcp"
        """,
        encoding="utf-8",
    )

    settings = load_settings(path)

    assert settings.airflow.url == "https://airflow.example/team"
    assert settings.airflow.password_file == tmp_path / "secret"
    assert settings.pins == tmp_path / "tool_schemas"
    assert [policy.selector for policy in settings.policies] == ['dag = "a"', 'tag = "mcp"']
    assert settings.policies[0].wait_seconds == 9


def test_variables_override_the_file_and_options_override_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dagcall.toml"
    path.write_text('[airflow]\nurl = "http://file:1"\ntoken = "t"\n[server]\nport = 1\n', encoding="utf-8")
    monkeypatch.setenv("DAGCALL_AIRFLOW_URL", "http://variable:2")
    monkeypatch.setenv("DAGCALL_SERVER_PORT", "2")
    monkeypatch.setenv("DAGCALL_DAGS", "summarize_text, tag:mcp")

    settings = load_settings(path, server={"port": 3})

    assert settings.airflow.url == "http://variable:2"
    assert settings.airflow.token is not None
    assert settings.server.port == 3
    assert [policy.selector for policy in settings.policies] == ['dag = "summarize_text"', 'tag = "mcp"']


def test_secrets_are_masked(tmp_path: Path) -> None:
    settings = load(tmp_path, '[airflow]\nusername = "u"\npassword = "hush-hush"\n')

    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("[airflo]", "dagcall.toml: airflo is not a dagcall setting; did you mean 'airflow'?"),
        ('[airflow]\nurk = "x"', "dagcall.toml: airflow.urk is not a dagcall setting; did you mean 'url'?"),
        ('[[tools]]\ndag = "a"\nresult = ["x"]', "tools[0].result is not a dagcall setting; did you mean 'results'?"),
        (
            '[[tools]]\ndag = "a"\n[tools.annotations]\nreadonly = true',
            "tools[0].annotations.readonly is not a dagcall setting; did you mean 'read_only'?",
        ),
        ("[airflow", "is not valid TOML"),
        (
            '[airflow]\nurl = "airflow:8080"',
            "airflow.url: 'airflow:8080' is not an address such as http://127.0.0.1:8080",
        ),
        ('[airflow]\nurl = "http://u:p@airflow"', "airflow.url: contains a user name or password"),
        ('[airflow]\nusername = "u"', "airflow: username needs password_file or password"),
        ('[airflow]\npassword = "p"', "airflow: password needs username"),
        ('[airflow]\ntoken_command = ""', "airflow.token_command: contains no command"),
        ('[airflow]\ntoken_command = " "', "airflow.token_command: contains no command"),
        (
            '[airflow]\ntoken_command = "gcloud \'oops"',
            "airflow.token_command: is not a valid command line: No closing quotation",
        ),
        ('[airflow]\ntoken = ""', "airflow.token: is empty"),
        ('[airflow]\nusername = ""\npassword = "p"', "airflow.username: is empty"),
        ('[airflow]\nusername = "u"\npassword = ""', "airflow.password: is empty"),
        ('[server]\nsecret = ""', "server.secret: is empty"),
        ('[airflow]\ntoken_file = "~nobody-of-this-name/token"', "Could not determine home directory"),
        ('[airflow]\ntoken = "t"\ntoken_command = "c"', "airflow: token and token_command contradict each other"),
        (
            '[airflow]\nusername = "u"\npassword = "p"\npassword_file = "f"',
            "airflow: password and password_file contradict each other; give one of them",
        ),
        ("[airflow]\nmax_in_flight = 0", "airflow.max_in_flight: Input should be greater than or equal to 1"),
        ("[airflow]\nmin_in_flight = 33", "airflow: min_in_flight (33) is above max_in_flight (32)"),
        ('[server]\nhost = "0.0.0.0"', "server.host: '0.0.0.0' is reachable from other machines"),
        ('[server]\nhost = "example.com"', "server.host: 'example.com' is reachable from other machines"),
        ("[[tools]]", "tools[0]: give exactly one of dag, dags and tag; this entry has none of them"),
        (
            '[[tools]]\ndag = "a"\nname = "x"\n[[tools]]\ndag = "b"\nname = "x"',
            "two tools are named 'x': dag 'a' and dag 'b'",
        ),
        ('[[tools]]\ndag = "a"\n[[tools]]\ndag = "a"', "dag 'a' is listed twice; give each entry a name of its own"),
    ],
)
def test_each_mistake_is_reported_in_one_sentence(tmp_path: Path, toml: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, toml)

    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "function" not in str(refusal.value)


def test_a_variable_with_a_typo_is_an_error() -> None:
    with pytest.raises(
        ConfigError, match="DAGCALL_AIRFLOW_URI is not a dagcall setting; did you mean 'DAGCALL_AIRFLOW_URL'"
    ):
        load_settings(None, environ={"DAGCALL_AIRFLOW_URI": "x", "OTHER": "y"})


def test_settings_have_environment_variables() -> None:
    assert {"DAGCALL_CONFIG", "DAGCALL_DAGS", "DAGCALL_AIRFLOW_TOKEN_FILE", "DAGCALL_SERVER_PORT"} <= set(
        variable_names()
    )


def test_settings_file_is_the_given_one_or_that_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(None) is None

    (tmp_path / "dagcall.toml").touch()
    assert find_config(None) == tmp_path / "dagcall.toml"

    monkeypatch.setenv("DAGCALL_CONFIG", str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigError, match=r"settings file not found: .*gone\.toml \(from DAGCALL_CONFIG\)"):
        find_config(None)
    with pytest.raises(ConfigError, match=r"settings file not found: other\.toml$"):
        find_config(Path("other.toml"))


def test_secret_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(ConfigError, match=r"airflow\.token_file: .* cannot be read: No such file"):
        read_secret(path, "airflow.token_file")

    path.write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is empty"):
        read_secret(path, "airflow.token_file")

    path.write_text(" s3cret\n", encoding="utf-8")
    assert read_secret(path, "airflow.token_file") == "s3cret"


def test_invalid_ca_file_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "dagcall.toml"
    (tmp_path / "ca.pem").write_text("nothing of the kind", encoding="utf-8")
    path.write_text('[airflow]\nca_file = "ca.pem"\n', encoding="utf-8")

    with pytest.raises(ConfigError, match=r"airflow\.ca_file: .*ca\.pem cannot be used"):
        load_settings(path).airflow.tls()


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    """Windows editors write one."""
    (tmp_path / "token").write_text("s3cret\n", encoding="utf-8-sig")
    path = tmp_path / "dagcall.toml"
    path.write_text('[airflow]\ntoken_file = "token"\n', encoding="utf-8-sig")

    token_file = load_settings(path).airflow.token_file

    assert token_file is not None
    assert read_secret(token_file, "airflow.token_file") == "s3cret"


def settings_that_are_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        if Path in kinds:
            yield f"{prefix}{name}"
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from settings_that_are_paths(kind, f"{prefix}{name}.")


PATHS = sorted(settings_that_are_paths(Settings))
BESIDE = {
    "airflow.password_file": 'username = "u"',
    "airflow.client_secret_file": 'client_id = "c"',
    "airflow.client_key_file": 'client_cert_file = "c"',
    "auth.ca_file": 'issuer = "https://issuer.example"',
    "auth.client_secret_file": 'issuer = "https://i.test"\nintrospection_url = "https://i.test/i"\nclient_id = "d"',
    "accounts.password_file": 'callers = ["*"]\nusername = "u"',
    "accounts.client_secret_file": 'callers = ["*"]\nclient_id = "c"',
    "accounts.token_file": 'callers = ["*"]',
}
"""What else a file must contain if it has one of these settings."""


def test_path_settings_are_found() -> None:
    assert {"pins", "cache_folder", "audit.file", "server.secret_file", "accounts.token_file"} <= set(PATHS)


def toml_of(setting: str, value: str) -> str:
    table, _, key = setting.rpartition(".")
    head = f"[[{table}]]" if table == "accounts" else f"[{table}]" if table else ""
    return f"{head}\n{BESIDE.get(setting, '')}\n{key} = '{value}'\n"


def value_of(settings: Settings, setting: str) -> Path:
    found: Any = settings
    for part in setting.split("."):
        found = found[0] if isinstance(found, tuple) else found
        found = getattr(found, part)
    assert isinstance(found, Path)
    return found


@pytest.mark.parametrize("setting", PATHS)
def test_path_is_relative_to_the_settings_file_or_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    path = tmp_path / "dagcall.toml"
    expected = {"here/x": tmp_path / "here/x", "~/x": Path("/home/ann/x"), "/abs/x": Path("/abs/x")}
    for value, meant in expected.items():
        path.write_text(toml_of(setting, value), encoding="utf-8")
        assert value_of(load_settings(path), setting) == meant


@pytest.mark.parametrize("setting", [setting for setting in PATHS if not setting.startswith("accounts")])
def test_path_in_a_variable_may_start_from_the_home_folder(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    for line in BESIDE.get(setting, "").splitlines():
        key, value = line.split(" = ")
        monkeypatch.setenv(f"DAGCALL_{setting.partition('.')[0]}_{key}".upper(), value.strip('"'))
    monkeypatch.setenv(f"DAGCALL_{setting.replace('.', '_')}".upper(), "~/x")
    assert value_of(load_settings(None), setting) == Path("/home/ann/x")


def test_files_beside_a_link_to_the_settings_are_found_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes mounts ConfigMaps and Secrets: links into a folder that it replaces as a whole."""
    monkeypatch.chdir(tmp_path)

    def mount(folder: str, **contents: str) -> None:
        (tmp_path / folder).mkdir()
        for name, content in contents.items():
            (tmp_path / folder / name).write_text(content)
        (tmp_path / "..new").symlink_to(folder)
        (tmp_path / "..new").rename(tmp_path / "..data")

    settings = '[auth]\nkeys_file = "keys"\n'
    mount("..1", **{"dagcall.toml": settings, "keys": ""})
    for name in ("dagcall.toml", "keys"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    keys_file = load_settings(find_config(None)).auth.keys_file
    mount("..2", **{"dagcall.toml": settings, "keys": "changed"})
    shutil.rmtree(tmp_path / "..1")

    assert keys_file is not None
    assert keys_file.read_text() == "changed"


def test_settings_file_in_a_variable_may_start_from_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "d.toml").touch()
    monkeypatch.setenv("DAGCALL_CONFIG", "~/d.toml")
    assert find_config(None) == (tmp_path / "d.toml").resolve()


@pytest.mark.parametrize(
    ("settings", "access"),
    [
        ({}, "open"),
        ({"server": {"host": "::1"}}, "open"),
        ({"server": {"public_url": "https://dagcall.example/mcp"}}, "none"),
        ({"server": {"host": "10.0.0.5"}, "auth": {"allow_anyone": ALLOW_ANYONE}}, "none"),
        ({"auth": {"keys_file": "keys.toml"}}, "callers"),
        ({"auth": {"keys_file": "keys.toml"}, "metrics": {"port": 9090}}, "none"),
        ({"metrics": {"port": 9090}}, "none"),
    ],
)
def test_metrics_are_open_only_within_this_machine(settings: dict[str, Any], access: str) -> None:
    assert Settings.model_validate(settings).metrics_access == access
