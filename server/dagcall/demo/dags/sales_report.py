"""The data are the orders of a small household shop in 2025, shipped with this dag as `data/shop_orders_2025.csv`.

The task loads the file into an in-memory SQLite database and answers with one parametrised query; money is added up in
cents, so the sums are exact. Rows are sorted by revenue, months by time. The value of the task `report`:

```json
{"period": {"start": "2025-01-01", "end": "2025-12-31"}, "group_by": "region",
 "rows": [{"region": "West", "orders": 1, "quantity": 2, "revenue": 39.8, "share": 1.0}],
 "rows_left_out": 0, "totals": {"orders": 1, "quantity": 2, "revenue": 39.8}}
```

`totals` and `share` refer to all orders of the period and regions, also to those of rows that `min_revenue` or `limit`
left out; `rows_left_out` counts only what `limit` cut.
"""

import csv
import json
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

ORDERS = Path(__file__).parent / "data" / "shop_orders_2025.csv"
REGIONS = ["North", "South", "East", "West"]

TABLE = """
    CREATE TABLE orders (
        order_id INTEGER, date TEXT, region TEXT, category TEXT, product TEXT, quantity INTEGER, cents INTEGER
    )
"""
FILTER = """
    CREATE VIEW chosen AS
    SELECT orders.*, CASE group_by
        WHEN 'region' THEN region WHEN 'category' THEN category WHEN 'product' THEN product ELSE substr(date, 1, 7)
    END AS name
    FROM orders, choice
    WHERE date BETWEEN start_date AND end_date
      AND (regions = '[]' OR region IN (SELECT value FROM json_each(regions)))
"""
GROUPS = """
    SELECT name, count(DISTINCT order_id), sum(quantity), sum(quantity * cents) AS revenue
    FROM chosen
    GROUP BY name
    HAVING revenue >= :min_cents
    ORDER BY CASE :group_by WHEN 'month' THEN name END, revenue DESC, name
"""
TOTALS = "SELECT count(DISTINCT order_id), coalesce(sum(quantity), 0), coalesce(sum(quantity * cents), 0) FROM chosen"


def load_orders(database: sqlite3.Connection) -> None:
    """Fill the table `orders` from the file, with prices in cents."""
    database.execute(TABLE)
    with ORDERS.open(newline="", encoding="utf-8") as file:
        database.executemany(
            "INSERT INTO orders VALUES (:order_id, :date, :region, :category, :product, :quantity, :cents)",
            ({**row, "cents": round(float(row["unit_price"]) * 100)} for row in csv.DictReader(file)),
        )


@task(retries=0)
def report() -> dict[str, Any]:
    """Load the orders, choose, group and add up."""
    params = get_current_context()["params"]
    start, end = date.fromisoformat(params["start_date"]), date.fromisoformat(params["end_date"])
    if start > end:
        raise ValueError(f"start_date {start} is after end_date {end}: swap them or correct one.")
    choice = {
        "start_date": start.isoformat(),
        "end_date": end.isoformat(),
        "group_by": params["group_by"],
        "regions": json.dumps(params["regions"]),
        "min_cents": round((params["min_revenue"] or 0) * 100),
    }
    with closing(sqlite3.connect(":memory:")) as database:
        load_orders(database)
        database.execute("CREATE TABLE choice (start_date, end_date, group_by, regions)")
        database.execute("INSERT INTO choice VALUES (:start_date, :end_date, :group_by, :regions)", choice)
        database.execute(FILTER)
        groups = database.execute(GROUPS, choice).fetchall()
        orders, quantity, revenue = database.execute(TOTALS).fetchone()
    shown = groups[: int(params["limit"])]
    return {
        "period": {"start": choice["start_date"], "end": choice["end_date"]},
        "group_by": params["group_by"],
        "rows": [
            {
                params["group_by"]: name,
                "orders": count,
                "quantity": pieces,
                "revenue": cents / 100,
                "share": round(cents / revenue, 4),
            }
            for name, count, pieces, cents in shown
        ],
        "rows_left_out": len(groups) - len(shown),
        "totals": (
            {"orders": orders, "quantity": quantity, "revenue": revenue / 100} if params["include_totals"] else None
        ),
    }


@dag(
    schedule=None,
    catchup=False,
    tags=["mcp", "sales"],
    max_active_runs=128,
    dag_display_name="Sales report",
    description=(
        "Add up the shop's orders of 2025 by region, category, product or month. "
        "Returns orders, pieces and revenue in EUR per group, and the totals of the period."
    ),
    doc_md=__doc__,
    params={
        "start_date": Param(
            "2025-01-01",
            type="string",
            format="date",
            title="From",
            description="First day of the period.",
            section="Period",
        ),
        "end_date": Param(
            "2025-12-31",
            type="string",
            format="date",
            title="To",
            description="Last day of the period, included.",
            section="Period",
        ),
        "group_by": Param(
            "region",
            type="string",
            description="What one row stands for.",
            enum=["region", "category", "product", "month"],
            values_display={
                "region": "Sales region",
                "category": "Product category",
                "product": "Single product",
                "month": "Calendar month",
            },
        ),
        "regions": Param(
            [],
            type="array",
            description="Only these sales regions; an empty list means all.",
            items={"type": "string", "enum": REGIONS},
            uniqueItems=True,
            section="Filters",
        ),
        "min_revenue": Param(
            None,
            type=["null", "number"],
            minimum=0,
            description_md="Leave out rows with **less** revenue than this, in EUR; null keeps every row.",
            section="Filters",
        ),
        "limit": Param(
            20, type="integer", minimum=1, maximum=100, description="How many rows at most.", section="Output"
        ),
        "include_totals": Param(
            default=True, type="boolean", description="Whether to add the totals of the period.", section="Output"
        ),
    },
)
def sales_report() -> Any:
    """One task: the report."""
    return report()


sales_report()
