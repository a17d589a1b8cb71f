"""dagcall in front of a real Airflow, over HTTP and over stdio behind a bridge."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.stdio_bridge import stdio_bridge
from tests.support.authorization_server import served
from tests.support.commands import clean_environ, free_port
from tests.support.log_in_server import LogInServer
from tests.support.running_demo import RunningDemo
from tests.support.serving_process import http_server

SETTINGS = """\
[airflow]
url = "{url}"
username = "{username}"
password_file = "{password_file}"

[[tools]]
tag = "conformance"
repeat = "new"
"""
"""`repeat = "new"`: the suite repeats identical calls and expects a new run each time."""


@dataclass(frozen=True)
class Serving:
    """The addresses of the servers."""

    http: str
    stdio: str
    """The URL of the bridge."""
    settings: Path
    """The settings file of both servers."""

    def of(self, transport: str) -> str:
        """Return the address for a transport."""
        return self.stdio if transport == "stdio" else self.http


@contextmanager
def serving(demo: RunningDemo, folder: Path) -> Iterator[Serving]:
    """Run both servers until the block ends.

    Args:
        demo: the demo with the Airflow and the fixture dags.
        folder: the folder for the settings.
    """
    airflow = tomllib.loads(demo.config.read_text())["airflow"]
    settings = folder / "dagcall.toml"
    settings.write_text(
        SETTINGS.format(
            url=airflow["url"],
            username=airflow["username"],
            password_file=demo.folder / airflow["password_file"],
        )
    )
    environ = clean_environ(DAGCALL_CONFIG=str(settings), DAGCALL_REFRESH_SECONDS="2")
    with http_server(environ) as server, stdio_bridge(environ) as bridge:
        yield Serving(server.url, bridge, settings)


@contextmanager
def serving_with_log_in(settings: Path) -> Iterator[tuple[str, str, str]]:
    """Run a server that requires tokens; yield its URL, a token for it, and a token for another server.

    Args:
        settings: the settings file.
    """
    with served(LogInServer()) as authority:
        port = free_port()
        url = f"http://127.0.0.1:{port}/mcp"
        environ = clean_environ(
            DAGCALL_CONFIG=str(settings),
            DAGCALL_AUTH_ISSUER=authority.issuer,
            DAGCALL_AUTH_SCOPES="dags.run",
            DAGCALL_SERVER_PUBLIC_URL=url,
        )
        with http_server(environ, port=port):
            yield url, authority.token(aud=url), authority.token(aud="https://elsewhere.example/mcp")
