"""Where desktop clients keep their MCP servers, and a server's entry in such a file.

Looks which files and folders exist, and changes nothing. A file is merged, never rewritten: everything else in it
stays, and a file that is not plain JSON (VS Code permits comments) is left to its owner.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal


class CannotMerge(Exception):  # a statement, as its siblings in errors.py
    """A client's file cannot be changed without losing something; the message says why."""


@dataclass(frozen=True, slots=True)
class Desktop:
    """A system on which clients run: this one, or the Windows around it if this is WSL."""

    system: Literal["linux", "darwin", "windows"]
    home: Path
    """The user's folder, as seen from here."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """The variables there, as far as they are known here."""
    prefix: tuple[str, ...] = ()
    """What comes before a command of this system that is started from there."""


WINDOWS_USERS = Path("/mnt/c/Users")


def desktops_here(platform: str, home: Path, environ: Mapping[str, str], users: Path = WINDOWS_USERS) -> list[Desktop]:
    """Return the systems whose clients can start commands here.

    Args:
        platform: `sys.platform`.
        home: the user's home folder.
        environ: the environment.
        users: the folder of Windows' users, as WSL shows it.
    """
    here = Desktop("darwin" if platform == "darwin" else "linux", home, environ)
    if "WSL_DISTRO_NAME" not in environ:
        return [here]
    prefix = ("wsl.exe", "-d", environ["WSL_DISTRO_NAME"], "-e")
    homes = [folder.parent for folder in sorted(users.glob("*/AppData")) if folder.parent.name != "Default"]
    return [here, *(Desktop("windows", folder, prefix=prefix) for folder in homes)]


class ClientName(StrEnum):
    """A client's name on the command line."""

    CLAUDE_DESKTOP = "claude-desktop"
    CLAUDE_CODE = "claude-code"
    VSCODE = "vscode"
    CURSOR = "cursor"


@dataclass(frozen=True, slots=True)
class Client:
    """A client that starts MCP servers on stdio."""

    name: str
    """As people know it."""
    servers_key: str
    """The object in its file that holds the servers."""
    says_type: bool
    """Whether an entry says that it is a stdio server."""
    files: Callable[[Desktop], Iterator[Path]]
    """Its possible files, the likeliest first; the last is the usual one."""

    def entry(self, command: Sequence[str]) -> dict[str, Any]:
        """Return the entry of a server that this command starts."""
        kind = {"type": "stdio"} if self.says_type else {}
        return {**kind, "command": command[0], "args": list(command[1:])}


def _app_folder(desktop: Desktop) -> Path:
    """Return the folder in which the system's applications keep their settings."""
    if desktop.system == "darwin":
        return desktop.home / "Library" / "Application Support"
    if desktop.system == "windows":
        return desktop.home / "AppData" / "Roaming"
    return Path(desktop.environ.get("XDG_CONFIG_HOME") or desktop.home / ".config")


def _claude_desktop(desktop: Desktop) -> Iterator[Path]:
    file = Path("Claude") / "claude_desktop_config.json"
    if desktop.system == "windows":  # the build of the Windows Store reads a copy of its own
        packages = desktop.home / "AppData" / "Local" / "Packages"
        for package in sorted(packages.glob("Claude_*")):
            yield package / "LocalCache" / "Roaming" / file
    yield _app_folder(desktop) / file


def _claude_code(desktop: Desktop) -> Iterator[Path]:
    yield Path(desktop.environ.get("CLAUDE_CONFIG_DIR") or desktop.home) / ".claude.json"


def _vscode(desktop: Desktop) -> Iterator[Path]:
    yield _app_folder(desktop) / "Code" / "User" / "mcp.json"


def _cursor(desktop: Desktop) -> Iterator[Path]:
    yield desktop.home / ".cursor" / "mcp.json"


CLIENTS: dict[ClientName, Client] = {
    ClientName.CLAUDE_DESKTOP: Client("Claude Desktop", "mcpServers", says_type=False, files=_claude_desktop),
    ClientName.CLAUDE_CODE: Client("Claude Code", "mcpServers", says_type=True, files=_claude_code),
    ClientName.VSCODE: Client("VS Code", "servers", says_type=True, files=_vscode),
    ClientName.CURSOR: Client("Cursor", "mcpServers", says_type=False, files=_cursor),
}


@dataclass(frozen=True, slots=True)
class ClientFile:
    """A client's file, and the system whose client reads it."""

    client: Client
    path: Path
    desktop: Desktop

    @property
    def is_there(self) -> bool:
        """Whether the client seems to be installed: a home folder alone says nothing, a package of the Store all."""
        is_packaged = "Packages" in self.path.parts
        return (
            self.path.exists() or is_packaged or (self.path.parent != self.desktop.home and self.path.parent.is_dir())
        )


def file_of(client: Client, desktops: Sequence[Desktop]) -> ClientFile:
    """Return the client's file: the first that seems to be in use, otherwise the usual one of the first system."""
    files = [[ClientFile(client, path, desktop) for path in client.files(desktop)] for desktop in desktops]
    return next((file for some in files for file in some if file.is_there), files[0][-1])


def found_clients(desktops: Sequence[Desktop]) -> dict[ClientName, ClientFile]:
    """Return the clients that seem to be installed, by their names on the command line."""
    files = {key: file_of(client, desktops) for key, client in CLIENTS.items()}
    return {key: file for key, file in files.items() if file.is_there}


def merged(text: str | None, file: ClientFile, name: str, command: Sequence[str]) -> str:
    """Return a client's file with a server added.

    Args:
        text: the file; None if there is none.
        file: whose text it is.
        name: the server's name in it.
        command: the command that starts the server, here.

    Raises:
        CannotMerge: the file is not plain JSON, or has another server of this name.
    """
    client = file.client
    entry = client.entry([*file.desktop.prefix, *command])
    if text is None or not text.strip():
        return _written({client.servers_key: {name: entry}}, "  ")
    try:
        content = json.loads(text.removeprefix("\ufeff"))
    except ValueError as error:
        raise CannotMerge(f"it is not plain JSON ({error}); comments in it would be lost") from error
    servers = content.get(client.servers_key, {}) if isinstance(content, dict) else None
    if not isinstance(servers, dict):
        raise CannotMerge(f"{client.servers_key} in it is not an object")
    if servers.get(name, entry) != entry:
        raise CannotMerge(f"it has another server named {name!r}; choose another name with --name")
    if name in servers:
        return text
    indent = re.search(r"^[ \t]+", text, re.MULTILINE)
    return _written({**content, client.servers_key: {**servers, name: entry}}, indent[0] if indent else "  ")


def difference(before: str | None, after: str, file: Path) -> str:
    """Return what changes in a file, as a unified diff."""
    lines = difflib.unified_diff((before or "").splitlines(), after.splitlines(), str(file), str(file), lineterm="")
    return "\n".join(lines)


def _written(content: Mapping[str, Any], indent: str) -> str:
    return json.dumps(content, indent=indent, ensure_ascii=False) + "\n"
