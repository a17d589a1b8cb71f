"""The demo's folder.

postgres/           the database
airflow/            AIRFLOW_HOME
dags/               the user's own dags
logs/               a log per process, and Airflow's task logs in tasks/
run/                pid files, and the addresses of the running demo
secrets             passwords and keys, created once
dagcall.toml        written at each start
"""

import base64
import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

OWN_DAGS = """\
# Your own dags

While the demo runs, a dag tagged `mcp` in this folder becomes a tool within seconds.
"""


class DemoRuns(Exception):  # a statement, as its siblings in errors.py
    """Another demo runs in this folder."""


@dataclass(frozen=True)
class Secrets:
    """Passwords and keys of one demo."""

    admin_password: str
    agent_password: str
    jwt_secret: str
    api_secret_key: str
    fernet_key: str


@dataclass(frozen=True)
class Folder:
    """The demo's folder."""

    path: Path

    @property
    def postgres(self) -> Path:
        """The database's folder."""
        return self.path / "postgres"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.path / "airflow"

    @property
    def dags(self) -> Path:
        """The user's own dags."""
        return self.path / "dags"

    @property
    def logs(self) -> Path:
        """The logs."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Pid files, and the working directory of all children."""
        return self.path / "run"

    @property
    def config(self) -> Path:
        """The settings file of dagcall."""
        return self.path / "dagcall.toml"

    @property
    def agent_password_file(self) -> Path:
        """The file with the password that dagcall logs in with."""
        return self.path / "airflow-agent-password"

    @property
    def passwords_file(self) -> Path:
        """The passwords in the format of Airflow's SimpleAuthManager."""
        return self.path / "airflow-passwords.json"

    def prepare(self) -> Secrets:
        """Create missing files and folders; return the passwords and keys."""
        for folder in (self.path, self.postgres, self.airflow_home, self.dags, self.logs, self.run):
            folder.mkdir(parents=True, exist_ok=True)
        readme = self.dags / "README.md"
        if not readme.exists():
            readme.write_text(OWN_DAGS)
        own = self._secrets()
        write_private(self.passwords_file, json.dumps({"admin": own.admin_password, "agent": own.agent_password}))
        write_private(self.agent_password_file, own.agent_password + "\n")
        return own

    def _secrets(self) -> Secrets:
        path = self.path / "secrets"
        if path.exists():
            return Secrets(**json.loads(path.read_text()))
        own = Secrets(
            admin_password=secrets.token_urlsafe(9),
            agent_password=secrets.token_urlsafe(24),
            jwt_secret=secrets.token_urlsafe(48),
            api_secret_key=secrets.token_urlsafe(48),
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        )
        write_private(path, json.dumps(asdict(own), indent=2) + "\n")
        return own

    @contextlib.contextmanager
    def claimed(self, addresses: Mapping[str, str]) -> Iterator[None]:
        """Lock the folder for this process.

        Args:
            addresses: shown if a second demo is started here, such as `{"dagcall": "http://…"}`.

        Raises:
            DemoRuns: another process has locked it.
        """
        self.run.mkdir(parents=True, exist_ok=True)
        with (self.run / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise DemoRuns(runs_already(self.path, file.read())) from None
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), **addresses}))
            file.flush()
            yield
            file.truncate(0)


def runs_already(folder: Path, note: str) -> str:
    """Return an error that names the demo running in `folder`, from its lock file's content, which may be empty."""
    other = json.loads(note) if note else {}
    pid = other.pop("pid", None)
    who = f" (process {pid})" if pid else ""
    where = "".join(f"; {name} is at {address}" for name, address in other.items())
    return (
        f"a demo already runs in {folder}{who}{where}. Stop it with Ctrl-C there, or choose another folder with --dir"
    )


def write_private(path: Path, text: str) -> None:
    """Write a file atomically, readable only by its owner."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.replace(path)
