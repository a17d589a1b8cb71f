"""The image: its Dockerfile, compose.yaml, and, if an engine is there, a container."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from dagcall.cli.serve import LAST_ANSWERS_SECONDS
from dagcall.settings.server import ServerSettings
from tests.packaging.packages import DEPLOY, ROOT
from tests.packaging.tools import Tools, output_of
from tests.support.commands import clean_environ, free_port, run_dagcall
from tests.support.terminal import terminal_of

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
COMPOSE = DEPLOY / "docker" / "compose.yaml"
PASSWORDS = {"ADMIN_PASSWORD": "one", "AGENT_PASSWORD": "other"}
MACHINES = ("x86_64", "aarch64")
ENGINES = ("docker", "podman")
BUILD_SECONDS = 900.0
START_SECONDS = 60.0
SETTINGS = """
[airflow]
url = "{url}"
username = "admin"
password_file = "airflow-password"

[server]
public_url = "http://127.0.0.1:{port}/mcp"

[auth]
keys_file = "keys.toml"

[[tools]]
dag = "add"
"""


def test_hadolint_finds_nothing(tools: Tools) -> None:
    assert tools.run("hadolint", DOCKERFILE) == ""


def test_context_has_what_is_copied() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    paths = {path for line in copied for path in line.split()}
    allowed = re.findall(r"^!(.+)$", DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert {entry for path in paths for entry in allowed if f"{path}/".startswith(f"{entry}/")} == set(allowed)
    assert [path for path in paths if not path.startswith(tuple(allowed))] == []
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_package_of_the_image_has_a_wheel_for_both_machines() -> None:
    """The image has no compiler."""
    locked = {each["name"]: each for each in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    todo, needed = ["dagcall"], set()
    while todo:
        package = locked[todo.pop()]
        lists = [package.get("dependencies", []), *package.get("optional-dependencies", {}).values()]
        on_linux = [each["name"] for some in lists for each in some if "win32" not in each.get("marker", "")]
        todo += [name for name in on_linux if name not in needed]
        needed.update(on_linux)
    without = [
        (name, machine)
        for name in sorted(needed)
        for machine in MACHINES
        if not any(runs_on(machine, wheel["url"]) for wheel in locked[name]["wheels"])
    ]
    assert needed >= {"mcp", "cryptography", "boto3"}
    assert without == []


def runs_on(machine: str, wheel: str) -> bool:
    """Return whether a wheel runs on this kind of Linux with the image's Python."""
    (version,) = re.findall(r"python:(\d+)\.(\d+)-slim", DOCKERFILE.read_text())
    return re.search(rf"-none-any\.|-(cp{''.join(version)}|abi3)-manylinux\w*_{machine}\.", wheel) is not None


def test_compose_accepts_its_file(tools: Tools) -> None:
    services = composed(tools)["services"]
    assert services.keys() == {"airflow", "dagcall", "postgres"}
    assert {port["host_ip"] for service in services.values() for port in service.get("ports", [])} == {"127.0.0.1"}
    allowed = float(services["dagcall"]["stop_grace_period"].removesuffix("s"))
    assert ServerSettings().drain_seconds + 2 * LAST_ANSWERS_SECONDS < allowed


def test_compose_wants_passwords(tools: Tools) -> None:
    done = tools.try_to_run("docker-compose", "--file", COMPOSE, "config", environ=clean_environ())
    assert done.returncode != 0
    assert "write ADMIN_PASSWORD and AGENT_PASSWORD into the file .env" in done.stderr


def composed(tools: Tools) -> Any:
    """Return the content of compose.yaml as Docker Compose reads it."""
    command = ["docker-compose", "--file", str(COMPOSE), "config", "--format", "json"]
    return json.loads(output_of(tools.try_to_run(*command, environ=clean_environ(**PASSWORDS))))


# A container, where an engine is installed


@dataclass(frozen=True)
class Image:
    """The built image, and the engine that has it."""

    engine: str
    name: str

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the engine to its end; the caller checks the exit code."""
        return subprocess.run(  # noqa: S603 - our own command
            [self.engine, *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )

    def ask(self, *words: str) -> str:
        """Run the engine, likewise; return its output."""
        return output_of(self.run(*words)).strip()


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest) -> Image:
    """Build the image, from the base that the variable PYTHON_IMAGE names, if it is set."""
    found = next((each for each in (Image(name, "dagcall-tested") for name in ENGINES) if works(each)), None)
    if found is None:
        pytest.skip(f"needs one of {', '.join(ENGINES)}")
    terminal_of(request.config)(f"building the image with {found.engine}")
    base = os.environ.get("PYTHON_IMAGE")  # noqa: TID251 - configures the test, not dagcall
    arguments = ["--build-arg", f"PYTHON_IMAGE={base}"] if base else []
    found.ask("build", "--network", "host", "--file", str(DOCKERFILE), "--tag", found.name, *arguments, ".")
    return found


def works(image: Image) -> bool:
    """Return whether this engine is installed and answers."""
    return shutil.which(image.engine) is not None and image.run("info").returncode == 0


@pytest.mark.long
def test_image_has_only_what_it_needs(image: Image) -> None:
    def inside(*words: str) -> str:
        return image.ask("run", "--rm", "--network", "none", "--entrypoint", words[0], image.name, *words[1:])

    assert inside("id") == "uid=10001(dagcall) gid=10001(dagcall) groups=10001(dagcall)"
    assert inside("ls", "-A", "/etc/dagcall", "/var/cache/dagcall").split() == [
        "/etc/dagcall:",
        "/var/cache/dagcall:",
    ]
    packages = inside(
        "python", "-c", "from importlib.metadata import distributions as d; print(*(e.name for e in d()))"
    )
    assert {"dagcall", "boto3", "google-auth"} <= set(packages.split())
    assert not {"pytest", "uv", "hypothesis"} & set(packages.split())


@pytest.mark.long
def test_container_does_not_start_without_authentication(image: Image) -> None:
    done = image.run("run", "--rm", "--network", "none", "--env", "DAGCALL_AIRFLOW_URL=http://127.0.0.1:9", image.name)
    assert done.returncode == 2
    assert "but authentication is off" in done.stderr


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the container calls an Airflow on this machine's loopback")
def test_container_serves_calls_from_a_read_only_root(image: Image, airflow_url: str, tmp_path: Path) -> None:
    made = image.run("run", "--rm", "--network", "none", image.name, "key", "test")
    (key,) = re.findall(r"Bearer (\S+)", made.stderr)
    port = free_port()
    (tmp_path / "keys.toml").write_text(made.stdout)
    (tmp_path / "airflow-password").write_text("admin\n")
    (tmp_path / "dagcall.toml").write_text(SETTINGS.format(url=airflow_url, port=port))
    tmp_path.chmod(0o755)
    container = image.ask(
        *["run", "--detach", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
        *["--network", "host", "--env", f"DAGCALL_SERVER_PORT={port}", "--volume", f"{tmp_path}:/etc/dagcall:ro"],
        image.name,
    )
    try:
        until_ready(f"http://127.0.0.1:{port}")
        assert called(f"http://127.0.0.1:{port}/mcp", key) == {"one": 42}
        # As Kubernetes asks, which names the pod's address.
        probe = httpx.get(f"http://127.0.0.1:{port}/ready", headers={"Host": f"10.1.2.3:{port}"}, trust_env=False)
        assert probe.status_code == httpx.codes.OK
        (health,) = re.findall(r"^    CMD (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)
        image.ask("exec", container, *json.loads(health))
        assert re.fullmatch(r"dags-\w+\.json", image.ask("exec", container, "ls", "/var/cache/dagcall"))
        image.ask("stop", "--time", "40", container)
        assert image.ask("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
    finally:
        image.run("rm", "--force", "--volumes", container)


def until_ready(url: str) -> None:
    """Wait until dagcall is ready."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"{url}/ready", trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "dagcall is not ready; its log says why"
        time.sleep(0.1)


def called(url: str, key: str) -> Any:
    """Call the tool `add` with dagcall's own command; return the results."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key"
        file.write_text(key)
        done = run_dagcall("call", "add", "x=41", "--url", url, "--token-file", str(file))
    return json.loads(output_of(done))["results"]
