"""Where clients keep their MCP servers, and that nothing else in these files changes."""

import json
from pathlib import Path

import pytest

from dagcall.cli.client_files import (
    CLIENTS,
    CannotMerge,
    ClientFile,
    ClientName,
    Desktop,
    desktops_here,
    difference,
    file_of,
    found_clients,
    merged,
)
from dagcall.cli.new_files import replace_keeping_copy

COMMAND = ["/opt/dagcall", "serve", "--stdio"]
LINUX = Desktop("linux", Path("/home/ann"))
"""https://code.claude.com/docs/en/mcp, https://code.visualstudio.com/docs/copilot/customization/mcp-servers,
https://docs.cursor.com/context/mcp, https://modelcontextprotocol.io/docs/develop/connect-local-servers"""


def file(key: str, desktop: Desktop = LINUX) -> ClientFile:
    return file_of(CLIENTS[ClientName(key)], [desktop])


@pytest.mark.parametrize(
    ("key", "desktop", "path"),
    [
        ("claude-desktop", LINUX, "/home/ann/.config/Claude/claude_desktop_config.json"),
        ("claude-code", LINUX, "/home/ann/.claude.json"),
        ("vscode", LINUX, "/home/ann/.config/Code/User/mcp.json"),
        ("cursor", LINUX, "/home/ann/.cursor/mcp.json"),
        (
            "claude-desktop",
            Desktop("darwin", Path("/Users/ann")),
            "/Users/ann/Library/Application Support/Claude/claude_desktop_config.json",
        ),
        ("vscode", Desktop("darwin", Path("/Users/ann")), "/Users/ann/Library/Application Support/Code/User/mcp.json"),
        (
            "claude-code",
            Desktop("linux", Path("/home/ann"), {"CLAUDE_CONFIG_DIR": "/etc/claude"}),
            "/etc/claude/.claude.json",
        ),
        ("vscode", Desktop("linux", Path("/home/ann"), {"XDG_CONFIG_HOME": "/conf"}), "/conf/Code/User/mcp.json"),
        ("vscode", Desktop("windows", Path("/mnt/c/Users/ann")), "/mnt/c/Users/ann/AppData/Roaming/Code/User/mcp.json"),
        ("cursor", Desktop("windows", Path("/mnt/c/Users/ann")), "/mnt/c/Users/ann/.cursor/mcp.json"),
    ],
)
def test_file_of_a_client(key: str, desktop: Desktop, path: str) -> None:
    assert file(key, desktop).path == Path(path)


def test_clients_that_are_not_installed_are_not_found(tmp_path: Path) -> None:
    assert found_clients([Desktop("linux", tmp_path)]) == {}
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".claude.json").touch()
    assert list(found_clients([Desktop("linux", tmp_path)])) == ["claude-code", "cursor"]


def test_windows_around_wsl_is_found_with_the_build_of_its_store(tmp_path: Path) -> None:
    users, home = tmp_path / "Users", tmp_path / "home"
    package = users / "ann" / "AppData" / "Local" / "Packages" / "Claude_x1"
    roaming = users / "ann" / "AppData" / "Roaming" / "Claude"
    roaming.mkdir(parents=True)
    (users / "Default" / "AppData" / "Roaming" / "Claude").mkdir(parents=True)

    desktops = desktops_here("linux", home, {"WSL_DISTRO_NAME": "Debian"}, users)
    assert file_of(CLIENTS[ClientName.CLAUDE_DESKTOP], desktops).path == roaming / "claude_desktop_config.json"
    package.mkdir(parents=True)
    found = file_of(CLIENTS[ClientName.CLAUDE_DESKTOP], desktops)
    assert found.path == package / "LocalCache" / "Roaming" / "Claude" / "claude_desktop_config.json"
    server = json.loads(merged(None, found, "airflow", COMMAND))["mcpServers"]["airflow"]
    assert server == {"command": "wsl.exe", "args": ["-d", "Debian", "-e", *COMMAND]}
    assert desktops_here("darwin", home, {}, users) == [Desktop("darwin", home, {})]


def test_new_file_has_only_the_server() -> None:
    assert json.loads(merged(None, file("claude-desktop"), "airflow", COMMAND)) == {
        "mcpServers": {"airflow": {"command": "/opt/dagcall", "args": ["serve", "--stdio"]}}
    }
    assert json.loads(merged("", file("vscode"), "airflow", COMMAND)) == {
        "servers": {"airflow": {"type": "stdio", "command": "/opt/dagcall", "args": ["serve", "--stdio"]}}
    }


def test_everything_else_in_a_file_stays() -> None:
    before = '{\n\t"theme": "d\u00e4rk",\n\t"mcpServers": {\n\t\t"files": {\n\t\t\t"command": "npx"\n\t\t}\n\t}\n}\n'
    after = merged(before, file("cursor"), "airflow", COMMAND)
    assert difference(before, after, Path("mcp.json")) == (
        "--- mcp.json\n"
        "+++ mcp.json\n"
        "@@ -3,6 +3,13 @@\n"
        ' \t"mcpServers": {\n'
        ' \t\t"files": {\n'
        ' \t\t\t"command": "npx"\n'
        "+\t\t},\n"
        '+\t\t"airflow": {\n'
        '+\t\t\t"command": "/opt/dagcall",\n'
        '+\t\t\t"args": [\n'
        '+\t\t\t\t"serve",\n'
        '+\t\t\t\t"--stdio"\n'
        "+\t\t\t]\n"
        " \t\t}\n"
        " \t}\n"
        " }"
    )
    assert merged(after, file("cursor"), "airflow", COMMAND) == after


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ('{\n  // mine\n  "mcpServers": {}\n}', "it is not plain JSON"),
        ('{"mcpServers": []}', "mcpServers in it is not an object"),
        ("[]", "mcpServers in it is not an object"),
        ('{"mcpServers": {"airflow": {"command": "other"}}}', "it has another server named 'airflow'"),
    ],
)
def test_file_that_would_lose_something_is_not_changed(before: str, reason: str) -> None:
    with pytest.raises(CannotMerge, match=reason):
        merged(before, file("cursor"), "airflow", COMMAND)


def test_replaced_file_keeps_its_link_its_mode_and_a_copy(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles.json", tmp_path / "mcp.json"
    real.write_text("1")
    real.chmod(0o600)
    link.symlink_to(real)

    copies = [replace_keeping_copy(link, text) for text in ("2", "3")]

    assert [copy.read_text() for copy in copies if copy] == ["1", "2"]
    assert (link.is_symlink(), real.read_text(), real.stat().st_mode & 0o777) == (True, "3", 0o600)
    assert replace_keeping_copy(tmp_path / "new" / "mcp.json", "4") is None
    assert (tmp_path / "new" / "mcp.json").read_text() == "4"
