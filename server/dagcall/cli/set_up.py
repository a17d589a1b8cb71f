"""The steps of `dagcall init`, each of which asks, tries, and says what it found.

In a terminal they ask for what no option says; elsewhere, a missing option is an error.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.prompt import Confirm, Prompt
from rich.table import Table
from rich.text import Text

from dagcall.airflow import DagQuery, DagSummary
from dagcall.cli.client_files import (
    CLIENTS,
    CannotMerge,
    ClientFile,
    ClientName,
    desktops_here,
    difference,
    file_of,
    found_clients,
    merged,
)
from dagcall.cli.new_files import replace_keeping_copy, write_new
from dagcall.cli.options import PIN_FOLDER
from dagcall.cli.reading import airflow_of, read_snapshot, require_answer, run_to_end
from dagcall.cli.terminal import indented
from dagcall.cli.tools import print_snapshot
from dagcall.demo.introduction import dagcall_command
from dagcall.errors import AirflowError, AirflowLogInRefused, ConfigError
from dagcall.settings import FILE_NAME, Settings, settings_from
from dagcall.text import in_one_line, visible
from dagcall.tools import PinFolder, Snapshot, ToolPolicy, pin_text, policy_from_text, published_by

DEFAULT_URL = "http://127.0.0.1:8080"
SHOWN_DAGS = 50
"""More would scroll away the question."""
ABOUT_LENGTH = 80
TRIES = 3
"""How often a person may try to log in: Airflow may lock an account."""
WAYS = {
    "password": "with a user name and a password",
    "token": "with a token, as on Astro",
    "client": "with a client id and a secret, as with Keycloak",
    "mwaa": "as MWAA, with AWS's own credentials (needs dagcall[aws])",
    "composer": "as Cloud Composer, with Google's own credentials (needs dagcall[google])",
    "none": "not at all: this Airflow lets everybody in",
}
"""The ways to log in that it asks for."""


NEXT = {
    "dagcall doctor": "tries everything that a call needs",
    "dagcall call TOOL": "calls a tool from here",
    "dagcall serve": "serves any number of clients over HTTP",
}
"""What the user may do next: command -> what it does."""


@dataclass(frozen=True, slots=True)
class LogIn:
    """How dagcall is to log in."""

    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of `[airflow]`, without a secret."""
    secret: tuple[str, str] | None = None
    """The key of a secret that was typed, and the secret."""

    @property
    def secret_file(self) -> str | None:
        """The name of the file for the secret."""
        return None if self.secret is None else f"airflow-{self.secret[0].replace('_', '-')}"

    def to_try(self) -> dict[str, str]:
        """Return the keys of `[airflow]` with the secret itself."""
        return {**self.keys, **(dict([self.secret]) if self.secret else {})}

    def to_write(self) -> dict[str, str]:
        """Return the keys of `[airflow]` with the file of the secret."""
        file = {} if self.secret is None else {f"{self.secret[0]}_file": str(self.secret_file)}
        return {**self.keys, **file}


@dataclass(frozen=True, slots=True)
class ClientChange:
    """A client's file, before and after."""

    file: ClientFile
    before: str | None
    after: str


class SetUp:
    """The steps, each of which asks, tries and says what it found."""

    def __init__(self, console: Console, *, is_asking: bool, config: Path) -> None:
        self._console = console
        self._is_asking = is_asking
        self._config = config

    # Questions

    def say(self, text: str, style: str = "") -> None:
        """Print a line; text from elsewhere cannot control the terminal."""
        self._console.print(Text(visible(text), style=style))

    def ask(self, question: str, option: str, *, default: str | None = None, is_secret: bool = False) -> str:
        """Ask until something is typed.

        Raises:
            ConfigError: nobody can be asked.
        """
        if not self._is_asking:
            raise ConfigError(f"{option} is missing; in a terminal, dagcall init asks for it")
        while True:
            answer: str | None = Prompt.ask(
                Text(question), console=self._console, default=default, password=is_secret, show_default=True
            )
            if answer and answer.strip():
                return answer.strip()

    def confirmed(self, given: bool | None, question: str) -> bool:  # noqa: FBT001 - an option of three values
        """Return what an option says, or the answer to the question; no if nobody can be asked."""
        if given is not None or not self._is_asking:
            return bool(given)
        return Confirm.ask(Text(question), console=self._console, default=False)

    # Steps

    def reach(self, url: str | None, network: Mapping[str, str]) -> dict[str, str]:
        """Find Airflow; return the keys of `[airflow]` for it, with those of the network."""
        while True:
            asked = url or self.ask("Airflow's address, as in a browser", "--url", default=DEFAULT_URL)
            try:
                settings = settings_from({"airflow": {"url": asked, **network}}, "--url")
                version = run_to_end(_version(settings))
            except (AirflowError, ConfigError) as error:
                if url is not None or not self._is_asking:
                    raise
                self.say(str(error), "red")
                continue
            self.say(f"Airflow {version} answers at {settings.airflow.url}.", "green")
            return {"url": settings.airflow.url, **network}

    def log_in(self, airflow: Mapping[str, str], given: LogIn | None) -> tuple[LogIn, tuple[DagSummary, ...]]:
        """Log in; return how, and the dags that the account may see."""
        for tries in range(1, TRIES + 1):
            log_in = self._with_secret(given) if given is not None else self._asked_log_in()
            settings = settings_from({"airflow": {**airflow, **log_in.to_try()}}, "the log-in")
            try:
                listed = run_to_end(_dags(settings))
            except AirflowLogInRefused as error:
                if not self._is_asking or tries == TRIES or (given is not None and log_in.secret is None):
                    raise
                self.say(str(error), "red")
                continue
            self.say(f"Logged in. This account sees {len(listed)} dags.", "green")
            return log_in, listed
        raise AssertionError

    def _with_secret(self, given: LogIn) -> LogIn:
        """Return a log-in with the secret that the options leave out."""
        for name, secret in (("username", "password"), ("client_id", "client_secret")):
            if name in given.keys and f"{secret}_file" not in given.keys:
                typed = self.ask(
                    f"{secret.replace('_', ' ').capitalize()} of {given.keys[name]}",
                    option_of(f"{secret}_file"),
                    is_secret=True,
                )
                return LogIn(given.keys, (secret, typed))
        return given

    def _asked_log_in(self) -> LogIn:
        self.say("\nHow does dagcall log in to Airflow?")
        for number, words in enumerate(WAYS.values(), 1):
            self.say(f"  {number}  {words}")
        numbers = [str(number) for number in range(1, len(WAYS) + 1)]
        if not self._is_asking:
            raise ConfigError("give --username, --token-file, --client-id or --auth; in a terminal, dagcall init asks")
        chosen = Prompt.ask("Number", console=self._console, choices=numbers, default="1", show_choices=False)
        match list(WAYS)[int(chosen) - 1]:
            case "password":
                return self._with_secret(LogIn({"username": self.ask("User name", "--username")}))
            case "client":
                return self._with_secret(LogIn({"client_id": self.ask("Client id", "--client-id")}))
            case "token":
                return LogIn({}, ("token", self.ask("Token", "--token-file", is_secret=True)))
            case "mwaa":
                environment = self.ask("The environment's name in MWAA", "--mwaa-environment")
                return LogIn({"auth": "mwaa", "mwaa_environment": environment})
            case "composer":
                return LogIn({"auth": "composer"})
            case _:
                return LogIn()

    def choose(
        self, airflow: Mapping[str, str], listed: Sequence[DagSummary], given: Sequence[str] | None
    ) -> tuple[Settings, list[ToolPolicy]]:
        """Let the user choose dags; return the settings to try, and the allow-list."""
        if not given:
            self._show_dags(listed)
            self.say("\nWhich dags may agents run? Names, patterns (ml_*) or tags (tag:mcp), with commas between them.")
        while True:
            tagged = any("mcp" in dag.tags for dag in listed)
            texts = given or self.ask("Dags", "--dags", default="tag:mcp" if tagged else None).split(",")
            policies = [policy_from_text(text.strip()) for words in texts for text in words.split(",") if text.strip()]
            if missing := [policy.selector for policy in policies if not any(map(policy.selects, listed))]:
                sentence = f"this account sees no dag with {missing[0]}"
                if given or not self._is_asking:
                    raise ConfigError(f"--dags: {sentence}")
                self.say(sentence, "red")
                continue
            tools = [policy.model_dump(exclude_unset=True) for policy in policies]
            return settings_from({"airflow": airflow, "tools": tools}, "--dags"), policies

    def _show_dags(self, listed: Sequence[DagSummary]) -> None:
        table = Table("dag", "description", "tags")
        table.columns[0].no_wrap = True
        for dag in listed[:SHOWN_DAGS]:
            paused = "(paused) " if dag.is_paused else ""
            row = (dag.dag_id, paused + one_line_about(dag), ", ".join(sorted(dag.tags)))
            table.add_row(*(Text(visible(cell)) for cell in row))
        self._console.print(table)
        if len(listed) > SHOWN_DAGS:
            self.say(f"… and {len(listed) - SHOWN_DAGS} more")

    def preview(self, settings: Settings) -> Snapshot:
        """Show what would be published."""
        snapshot = require_answer(run_to_end(read_snapshot(settings)))
        print_snapshot(snapshot, dict.fromkeys(snapshot.tools, settings.auth.callers))
        return snapshot

    def pinned(self, given: bool | None) -> bool:  # noqa: FBT001 - likewise
        """Return whether to pin the tools."""
        if given is None and self._is_asking:
            self.say(
                "\nA pin is a file of what agents see of a tool. With pins, dagcall publishes a tool only as long as it"
            )
            self.say("equals its pin; after a change, `dagcall pin` accepts it.")
        return self.confirmed(given, "Pin the tools?")

    def client_changes(self, given: Sequence[ClientName] | None, name: str) -> Iterator[ClientChange]:
        """Yield the changes to clients' files that the user wants."""
        environ = dict(os.environ)  # noqa: TID251 - where clients keep their files
        desktops = desktops_here(sys.platform, Path.home(), environ)
        files = {key: file_of(CLIENTS[key], desktops) for key in given} if given else found_clients(desktops)
        command = [*dagcall_command(), "serve", "--stdio", "--config", str(self._config)]
        for file in files.values():
            before = file.path.read_text(encoding="utf-8") if file.path.exists() else None
            try:
                change = ClientChange(file, before, merged(before, file, name, command))
            except CannotMerge as error:
                if given:
                    raise ConfigError(f"{file.path} was not changed: {error}") from error
                self.say(f"{file.client.name}: {file.path} stays as it is: {error}", "yellow")
                continue
            if change.after == before:
                self.say(f"{file.client.name} has this server already.")
            elif self.confirmed(True if given else None, f"Enter dagcall into {file.client.name} ({file.path})?"):
                yield change

    # Writing

    def show_plan(self, text: str, log_in: LogIn, changes: Sequence[ClientChange]) -> None:
        """Print what would be written."""
        if log_in.secret_file:
            self.say(f"\n{self._config.parent / log_in.secret_file} (only its owner may read it)\n  …")
        self.say(f"\n{self._config}\n{indented(text)}")
        for change in changes:
            self.say(f"\n{difference(change.before, change.after, change.file.path)}")
        self.say("\nNothing was written (--dry-run).")

    def write(self, text: str, log_in: LogIn, pinned: Snapshot | None, changes: Sequence[ClientChange]) -> None:
        """Write everything, and say what comes next."""
        folder = self._config.parent
        folder.mkdir(parents=True, exist_ok=True)
        if log_in.secret is not None and log_in.secret_file is not None:
            write_new(folder / log_in.secret_file, log_in.secret[1] + "\n", mode=0o600)
            self.say(f"wrote {folder / log_in.secret_file} (only you may read it)")
        write_new(self._config, text)
        self.say(f"wrote {self._config}")
        if pinned is not None:
            pins = PinFolder(folder / PIN_FOLDER)
            for tool, wire in published_by(pinned).items():
                pins.write(tool, pin_text(wire))
            self.say(f"pinned {len(pinned.tools)} tools in {folder / PIN_FOLDER}")
        for change in changes:
            backup = replace_keeping_copy(change.file.path, change.after)
            done = "wrote" if backup is None else f"the file as it was is {backup}; changed"
            self.say(f"{done} {change.file.path}")
            self.say(f"restart {change.file.client.name} to see the tools")
        where = "" if self._config == Path(FILE_NAME).absolute() else f" --config {self._config}"
        self.say("\nNext:")
        for command, what in NEXT.items():
            self.say(f"  {command + where:<{18 + len(where)}}  {what}")


async def _version(settings: Settings) -> str:
    async with airflow_of(settings) as api:
        return ".".join(map(str, await api.fetch_version()))


async def _dags(settings: Settings) -> tuple[DagSummary, ...]:
    async with airflow_of(settings) as api:
        return await api.fetch_dags(DagQuery())


def one_line_about(dag: DagSummary) -> str:
    """Return the beginning of a dag's description, on one line."""
    text = in_one_line(dag.description or "")
    return text if len(text) <= ABOUT_LENGTH else f"{text[:ABOUT_LENGTH].rpartition(' ')[0]} …"


def option_of(key: str) -> str:
    """Return the option that gives a key of `[airflow]`."""
    return f"--{key.replace('_', '-')}"
