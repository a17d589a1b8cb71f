"""What the Airflows of this suite share: their packages, their dags, and a pool without slots."""

from functools import partial
from pathlib import Path

from tests.faults.record import Record, until
from tests.support.own_airflow import OwnAirflow

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements" / "airflow-auth-managers.txt"
"""Both auth managers are in one environment, which takes long to make."""
DAGS = ("add", "held", "broken", "approved")


async def with_dags(airflow: OwnAirflow) -> None:
    """Wait for the dags, and make the pool."""
    async with Record(airflow.url, "admin") as record:
        await record.make_pool("closed", 0)
        for dag_id in DAGS:
            await until(partial(record.has_dag, dag_id))
