"""The dependency rule: this table is the architecture, and adding a module or an edge fails until it says so."""

import ast
from pathlib import Path

import dagcall

PACKAGE = Path(dagcall.__file__).parent

ALLOWED = {
    "errors": set(),
    "wording": set(),
    "prose": set(),
    "values": set(),
    "model": set(),
    "keywords": {"model"},
    "patterns": {"prose"},
    "clients": {"keywords", "model", "patterns", "prose"},
    "naming": {"clients"},
    "waiting": set(),
    "handles": {"model", "waiting"},
    "pins": {"prose"},
    "pin_folder": {"errors", "pins", "prose"},
    "arguments": {"model"},
    "checking": {"arguments", "model", "wording"},
    "dialect": {"errors", "keywords", "model", "prose", "wording"},
    "shapes": {"clients", "keywords", "model", "patterns", "prose"},
    "schemas": {
        *("arguments", "checking", "dialect", "errors", "keywords", "model", "naming", "prose", "shapes", "wording"),
    },
    "results": {"model", "values"},
    "sights": {"model"},
    "task_dates": {"model"},
    "import_errors": {"masking", "model", "prose", "wording"},
    "masking": {"model"},
    "logs": {"masking", "model", "prose", "wording"},
    "failures": {"logs", "masking", "model", "sights", "wording"},
    "rights": {"callers"},
    "policy": {"clients", "model", "naming", "rights"},
    "outputs": {"checking", "dialect", "errors", "keywords", "model", "wording"},
    "authoring": {"policy", "prose", "wording"},
    "tools": {"authoring", "callers", "clients", "errors", "model", "naming", "outputs", "policy", "prose", "schemas"},
    "forms": {"keywords", "model", "wording"},
    "questions": {"errors", "forms", "keywords", "model", "prose", "schemas", "wording"},
    "unanswered": {"questions"},
    "excerpts": {"errors", "model", "wording"},
    "answers": {"excerpts", "model", "prose", "questions", "tools", "values"},
    "callers": {"model", "prose"},
    "keys": {"callers", "errors"},
    "pressure": set(),
    "identity": {"arguments", "model"},
    "ledger": {"identity"},
    "deadlines": set(),
    "delivery": {"ledger"},
    "line_ends": {"delivery"},
    "handshake": {"delivery", "model", "origins"},
    "gate": {"errors", "pressure"},
    "credentials": {"errors", "shared"},
    "allowances": {"arguments", "rights"},
    "authentication": {"errors", "rights"},
    "connection": {"errors", "gate"},
    "config": {"allowances", "authentication", "connection", "errors", "policy", "wording"},
    "airflow_clock": set(),
    "transport": {"airflow_clock", "errors", "values"},
    "probing": {"errors", "gate", "loops", "transport"},
    "rest": {"credentials", "errors", "gate", "probing", "transport", "airflow_clock"},
    "tokens": {"callers", "errors", "model", "transport"},
    "admission": {"callers", "delivery", "errors", "keys", "tokens", "wording"},
    "accounts": {"callers", "credentials", "errors", "rights"},
    "releases": set(),
    "listings": {"gate", "rest", "transport"},
    "xcoms": {"errors", "gate", "listings", "model", "rest", "transport"},
    "surroundings": {"gate", "listings", "model", "rest"},
    "airflow": {
        *(
            "accounts",
            "credentials",
            "errors",
            "gate",
            "import_errors",
            "listings",
            "model",
            "questions",
            "releases",
            "rest",
            "transport",
        ),
    },
    "remembered": {"model"},
    "catalog": {
        *("airflow", "callers", "errors", "gate", "import_errors", "loops", "masking", "model", "pins", "policy"),
        *("remembered", "rights", "task_dates", "tools", "wording"),
    },
    "waiter": {"airflow", "errors", "gate", "loops", "model", "waiting", "values"},
    "receipts": {"airflow", "errors", "ledger", "model"},
    "mismatches": {"model", "tools"},
    "replies": {"accounts", "airflow", "errors", "model", "questions", "receipts"},
    "outcomes": {"airflow", "errors", "masking", "model", "releases", "results", "shared", "tools", "xcoms"},
    "dossiers": {"airflow", "errors", "failures", "masking", "model", "results", "task_dates"},
    "insight": {"airflow", "errors", "gate", "loops", "model", "questions", "sights", "surroundings", "waiting"},
    "progress": {"insight", "prose"},
    "recent": {"excerpts", "model"},
    "loops": set(),
    "shared": set(),
    "quotas": {"airflow", "arguments", "errors", "tools"},
    "calls": {"accounts", "errors", "ledger", "model", "tools", "values"},
    "starting": {
        *("airflow", "calls", "catalog", "deadlines", "errors", "identity", "ledger", "model", "pressure", "quotas"),
        *("receipts", "shared", "tools"),
    },
    "answering": {
        *(
            "airflow",
            "answers",
            "deadlines",
            "dossiers",
            "errors",
            "failures",
            "insight",
            "ledger",
            "model",
            "outcomes",
            "tools",
        ),
        *("receipts", "values", "waiter"),
    },
    "leaving": {"accounts", "airflow", "errors", "ledger", "model", "receipts", "tools"},
    "runs": {
        *("accounts", "airflow", "answering", "answers", "catalog", "dossiers", "errors", "gate", "identity"),
        *(
            "calls",
            "deadlines",
            "leaving",
            "ledger",
            "masking",
            "model",
            "outcomes",
            "progress",
            "questions",
            "quotas",
            "receipts",
        ),
        *("recent", "replies", "sights", "starting", "tools", "waiter"),
    },
    "origins": {"callers", "values"},
    "audit": {"allowances", "errors", "identity", "masking", "origins"},
    "announcements": {"callers", "catalog", "origins", "tools"},
    "people": {"accounts", "answers", "errors", "model", "questions", "runs", "tools"},
    "resources": {"answers", "callers", "catalog", "errors", "excerpts", "model", "prose", "runs", "tools", "wording"},
    "attendance": {"answers", "calls", "handles", "insight", "ledger", "model", "runs", "tools"},
    "tasks": {
        *(
            "accounts",
            "answers",
            "attendance",
            "audit",
            "callers",
            "calls",
            "catalog",
            "errors",
            "handles",
            "ledger",
            "model",
            "origins",
        ),
        *("people", "prose", "questions", "receipts", "runs", "tools", "unanswered", "waiting", "wording"),
    },
    "mcp_server": {
        *("accounts", "announcements", "answers", "audit", "callers", "catalog", "delivery", "errors", "ledger"),
        *("mismatches", "model", "origins", "people", "progress", "prose", "resources", "runs", "starting", "tasks"),
        *("tools", "wording"),
    },
    "assembly": {
        *("admission", "airflow", "authentication", "catalog", "config", "credentials", "dossiers", "errors", "gate"),
        "airflow_clock",
        *("accounts", "allowances", "audit", "connection", "identity", "keys", "masking", "quotas", "tokens"),
        *("mcp_server", "pins", "remembered", "rest", "runs", "transport", "waiter"),
    },
    "stdio": {"line_ends"},
    "remote": {"errors"},
    "questionnaire": {"prose"},
    "serve": {
        *("assembly", "authentication", "config", "delivery", "errors", "garbage", "handshake", "line_ends"),
        *("pins", "remembered", "stdio"),
    },
    "terminal": {"catalog", "prose", "rights"},
    "calling": {
        *("arguments", "assembly", "config", "errors", "pins", "prose", "questionnaire", "remote", "starting"),
    },
    "cli": {
        *(
            "assembly",
            "calling",
            "catalog",
            "config",
            "demo",
            "errors",
            "garbage",
            "keys",
            "pin_folder",
            "pins",
            "prose",
        ),
        *("remote", "serve", "terminal", "tools"),
    },
    "garbage": {"loops"},
    "__main__": {"cli", "garbage"},
    "__init__": set(),
}
ONLY_IMPORTER = {"httpx": "transport", "uvicorn": "serve", "typer": "cli", "pydantic_settings": "config"}
PURE = {
    *("errors", "wording", "prose", "model", "naming", "arguments", "dialect", "schemas", "results", "sights"),
    *("keywords", "patterns", "clients", "shapes"),
    *(
        "masking",
        "logs",
        "failures",
        "outputs",
        "policy",
        "authoring",
        "tools",
        "forms",
        "questions",
        "excerpts",
        "answers",
        "task_dates",
        "import_errors",
    ),
    *("pins", "waiting", "handles", "pressure", "identity", "ledger", "recent", "callers", "releases", "rights"),
    "airflow_clock",
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
