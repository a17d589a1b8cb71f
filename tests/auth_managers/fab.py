"""A real Airflow with the FAB auth manager, and its accounts."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.auth_managers.airflow import HERE, REQUIREMENTS, with_dags
from tests.support.own_airflow import OwnAirflow, own_airflow

TOKEN_SECONDS = 20
PATH = "/airflow"
SETTINGS = {
    "CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "API_AUTH__JWT_EXPIRATION_TIME": str(TOKEN_SECONDS),
}

SMALLEST = (
    ("can_read", "DAG Runs"),
    ("can_create", "DAG Runs"),
    ("can_edit", "DAG Runs"),
    ("can_read", "Task Instances"),
    ("can_read", "XComs"),
    ("can_read", "Task Logs"),
)
"""What a role needs besides `can_read` and `can_edit` on each of its dags; `docs/authentication.md` lists the same."""
FOR_PEOPLE = (("can_read", "HITL Detail"), ("can_edit", "HITL Detail"))
"""For dags that ask people."""
FOR_MANY_DAGS = (("can_read", "DAG Versions"),)
"""For noticing changes of many dags sooner."""


def on_dags(*dag_ids: str) -> tuple[tuple[str, str], ...]:
    """Return a role's permissions on single dags."""
    return tuple((action, f"DAG:{dag_id}") for dag_id in dag_ids for action in ("can_read", "can_edit"))


ROLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "caller of add": (*on_dags("add"), *SMALLEST),
    "caller of approved": (*on_dags("approved"), *SMALLEST, *FOR_PEOPLE),
    "reader of add": (("can_read", "DAG:add"), *SMALLEST),
}
ACCOUNTS: Mapping[str, str] = {
    "admin": "Admin",
    "user": "User",
    "viewer": "Viewer",
    "add": "caller of add",
    "approved": "caller of approved",
    "reader": "reader of add",
    "leaver": "User",
}
"""User name, which is also the password -> role."""

MAKE_ACCOUNTS = f"""
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

with get_application_builder() as builder:
    manager = builder.sm
    manager.sync_roles()
    manager.bulk_sync_roles([{{"role": name, "perms": perms}} for name, perms in {dict(ROLES)!r}.items()])
    for name, role in {dict(ACCOUNTS)!r}.items():
        made = manager.add_user(name, name, name, f"{{name}}@example.com", manager.find_role(role), password=name)
        assert made, name
"""
DEACTIVATE = """
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

with get_application_builder() as builder:
    user = builder.sm.find_user(username={name!r})
    user.active = False
    builder.sm.update_user(user)
"""


@asynccontextmanager
async def fab_airflow(base: Path, tell: Callable[[str], None]) -> AsyncIterator[OwnAirflow]:
    """Run the Airflow, with all accounts and dags."""
    async with own_airflow(
        base,
        HERE / "dags",
        tell,
        requirements=REQUIREMENTS,
        own_settings=SETTINGS,
        set_up={"accounts": MAKE_ACCOUNTS},
        path=PATH,
    ) as airflow:
        await with_dags(airflow)
        yield airflow


async def deactivate(airflow: OwnAirflow, name: str) -> None:
    """Deactivate an account."""
    await airflow.run(f"deactivate-{name}", ["-c", DEACTIVATE.format(name=name)])
