"""The dependency rule: this table is the architecture, and adding a module or an edge fails until it says so."""

import ast
from pathlib import Path

import dagcall

PACKAGE = Path(dagcall.__file__).parent

ALLOWED = {
    "errors": set(),
    "wording": set(),
    "model": set(),
    "naming": set(),
    "waiting": set(),
    "pins": set(),
    "arguments": {"model"},
    "schemas": {"arguments", "errors", "model", "naming", "wording"},
    "results": {"model"},
    "failures": {"model"},
    "policy": {"model", "naming"},
    "tools": {"model", "naming", "policy", "schemas"},
    "answers": {"model", "tools"},
    "pressure": set(),
    "identity": {"model"},
    "ledger": set(),
    "delivery": {"ledger"},
    "gate": {"errors", "pressure"},
    "credentials": {"errors"},
    "config": {"errors", "gate", "policy", "wording"},
    "rest": {"credentials", "errors", "gate"},
    "airflow": {"errors", "gate", "model", "rest"},
    "catalog": {"airflow", "errors", "model", "pins", "policy", "tools", "wording"},
    "waiter": {"airflow", "errors", "gate", "model", "waiting"},
    "receipts": {"airflow", "errors", "model"},
    "outcomes": {"airflow", "model", "results", "tools"},
    "dossiers": {"airflow", "errors", "failures", "model"},
    "progress": set(),
    "starting": {"airflow", "catalog", "errors", "identity", "ledger", "model", "pressure", "receipts", "tools"},
    "runs": {
        *("airflow", "answers", "catalog", "dossiers", "errors", "gate", "identity", "ledger", "model", "outcomes"),
        *("progress", "receipts", "starting", "tools", "waiter"),
    },
    "mcp_server": {
        *("answers", "catalog", "delivery", "errors", "ledger", "model", "progress", "runs", "starting", "tools"),
    },
    "assembly": {
        *("airflow", "catalog", "config", "credentials", "errors", "gate", "identity", "mcp_server", "rest", "runs"),
        "waiter",
    },
    "stdin": set(),
    "serve": {"assembly", "config", "delivery", "errors", "stdin"},
    "cli": {"arguments", "assembly", "catalog", "config", "demo", "errors", "pins", "serve", "starting", "tools"},
    "__main__": {"cli"},
    "__init__": set(),
}
ONLY_IMPORTER = {"httpx": "rest", "uvicorn": "serve", "typer": "cli", "pydantic_settings": "config"}
PURE = {
    *("errors", "wording", "model", "naming", "waiting", "pins", "arguments", "schemas", "results", "failures"),
    *("policy", "tools", "answers", "pressure", "identity", "ledger"),
}
IMPURE_LIBRARIES = {"asyncio", "time", "os", "socket", "subprocess", "logging", "random", "secrets"}


def imports_of(path: Path) -> set[str]:
    """Return what a module imports: `dagcall.x` as it is, everything else by its top level."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


MODULES = {path.stem: imports_of(path) for path in PACKAGE.glob("*.py")}


def test_modules_import_only_what_the_table_allows() -> None:
    actual = {
        name: {part.split(".")[1] for part in imports if part.startswith("dagcall.")}
        for name, imports in MODULES.items()
    }
    assert actual == ALLOWED


def test_some_libraries_have_one_importer() -> None:
    tops = {name: {part.split(".")[0] for part in imports} for name, imports in MODULES.items()}
    importers = {library: {name for name, used in tops.items() if library in used} for library in ONLY_IMPORTER}
    assert importers == {library: {name} for library, name in ONLY_IMPORTER.items()}


def test_pure_modules_do_no_io_and_take_no_clock() -> None:
    impure = {name: MODULES[name] & IMPURE_LIBRARIES for name in PURE}
    assert not any(impure.values()), impure


def test_the_map_names_every_module() -> None:
    listed = (dagcall.__doc__ or "").split()
    assert {name for name in MODULES if not name.startswith("__")} <= set(listed)


def test_the_demo_stands_apart() -> None:
    """The demo is a program beside dagcall that starts it as its users do."""
    for path in (PACKAGE / "demo").glob("*.py"):
        assert {part for part in imports_of(path) if part.startswith("dagcall.") and ".demo" not in part} == set(), path
