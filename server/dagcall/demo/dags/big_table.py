"""One row per minute and one column per sensor; computed, not measured, so equal arguments give equal tables.

For seeing how a result is handed over that is too large for one message: about 3 MB, unless asked for less. The value
of the task `read_sensors`:

```json
{"unit": "°C", "rows": 1, "sensors": {"sensor_01": {"lowest": -19.5, "highest": -19.5, "mean": -19.5, "too_warm": 0}},
 "readings": [{"time": "2026-01-01T00:00:00Z", "sensor_01": -19.5}]}
```

`too_warm` counts the minutes above -17 °C.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

START = datetime(2026, 1, 1, tzinfo=UTC)
TOO_WARM = -17.0


def temperature(minute: int, sensor: int) -> float:
    """Return a reading between -19.5 and -16.5; the steps have no common divisor with 31, so every value occurs."""
    return ((7 * minute + 13 * sensor) % 31 - 195) / 10


def summary_of(column: list[float]) -> dict[str, Any]:
    """Describe the readings of one sensor."""
    return {
        "lowest": min(column),
        "highest": max(column),
        "mean": round(sum(column) / len(column), 2),
        "too_warm": sum(value > TOO_WARM for value in column),
    }


@task(retries=0)
def read_sensors() -> dict[str, Any]:
    """Compute the table and describe its columns."""
    params = get_current_context()["params"]
    sensors = [f"sensor_{number:02}" for number in range(1, int(params["columns"]) + 1)]
    rows = [
        {
            "time": f"{START + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}",
            **{name: temperature(minute, number) for number, name in enumerate(sensors)},
        }
        for minute in range(int(params["rows"]))
    ]
    return {
        "unit": "°C",
        "rows": len(rows),
        "sensors": {name: summary_of([row[name] for row in rows]) for name in sensors},
        # The longest name: PostgreSQL sorts keys by length, and whoever sees only a part should see the summary.
        "readings": rows,
    }


@dag(
    schedule=None,
    catchup=False,
    tags=["mcp", "demo"],
    max_active_runs=128,
    dag_display_name="A big table",
    description=(
        "Return the temperatures of a cold store as a table of several MB, with the lowest, highest and mean of each "
        "sensor. Ask for fewer rows and columns when the summary will do."
    ),
    doc_md=__doc__,
    params={
        "rows": Param(
            18_000,
            type="integer",
            description="How many minutes, from 1 January 2026 on.",
            minimum=1,
            maximum=50_000,
            examples=[60],
        ),
        "columns": Param(8, type="integer", description="How many sensors.", minimum=1, maximum=20, examples=[2]),
    },
)
def big_table() -> Any:
    """One task: the table."""
    return read_sensors()


big_table()
