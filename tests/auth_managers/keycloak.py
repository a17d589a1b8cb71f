"""A real Airflow with the auth manager for Keycloak, in front of a realm that the tests serve."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.auth_managers.airflow import HERE, REQUIREMENTS, with_dags
from tests.auth_managers.realm import CLIENT_ID, CLIENT_SECRET, REALM, Realm, User
from tests.support.own_airflow import OwnAirflow, own_airflow

CACHE_SECONDS = 1
"""How long Airflow remembers which dags an account sees; 30 by default."""
HOUR = 3600.0
USERS = {
    "admin": User("admin", access_seconds=HOUR),
    "user": User("user"),
    "add": User("add", dags=frozenset({"add"})),
    "viewer": User("viewer", may_start=False),
}


@asynccontextmanager
async def keycloak_airflow(base: Path, tell: Callable[[str], None]) -> AsyncIterator[tuple[OwnAirflow, Realm]]:
    """Run the Airflow and its realm."""
    realm = Realm(USERS, User())
    with realm.served():
        settings = {
            "CORE__AUTH_MANAGER": "airflow.providers.keycloak.auth_manager.keycloak_auth_manager.KeycloakAuthManager",
            "KEYCLOAK_AUTH_MANAGER__SERVER_URL": realm.url,
            "KEYCLOAK_AUTH_MANAGER__REALM": REALM,
            "KEYCLOAK_AUTH_MANAGER__CLIENT_ID": CLIENT_ID,
            "KEYCLOAK_AUTH_MANAGER__CLIENT_SECRET": CLIENT_SECRET,
            "KEYCLOAK_AUTH_MANAGER__CACHE_TTL_SECONDS": str(CACHE_SECONDS),
        }
        async with own_airflow(base, HERE / "dags", tell, requirements=REQUIREMENTS, own_settings=settings) as airflow:
            await with_dags(airflow)
            yield airflow, realm
