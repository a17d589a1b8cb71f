"""Check an order against the catalogue and the shop's rules, then book it and reduce the stock in one transaction.

A refusal is an answer, not a failure: the run succeeds, and `reasons` holds everything that has to be mended. Sending
the identical order again gives the same receipt and books nothing; another order under a used id is refused. The tables
live in the PostgreSQL of the connection `shop` and are made on first use. The value of `book_order` is one of:

```json
{"accepted": true, "already_stored": false, "receipt": {"number": "R-2026-A7K2", "total": 42.7, …}}
{"accepted": false, "reasons": [{"field": "items[0].sku", "reason": "no product has the sku COF-999: choose one of …"}]}
```
"""

import csv
import json
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

CATALOGUE = Path(__file__).parent / "data" / "catalogue.csv"
CONNECTION = "shop"
PRICE_TOLERANCE = Decimal("0.01")
DELIVERY_DAYS = {"standard": 5, "express": 2}
SHIPPING = {"standard": Decimal("4.90"), "express": Decimal("9.90")}
FREE_SHIPPING_FROM = Decimal("50.00")  # of standard shipping
GIFT_WRAP = Decimal("2.50")
COUPONS = {"": 0, "WELCOME10": 10, "FRIENDS20": 20}  # per cent off the goods
DELIVERY_HOURS = time(8), time(18)

#: One lock for making the tables: `IF NOT EXISTS` alone lets two sessions collide in PostgreSQL's own catalogue.
SETUP_LOCK = 7_402_025
TABLES = """
    CREATE TABLE IF NOT EXISTS shop_stock (sku text PRIMARY KEY, available integer NOT NULL CHECK (available >= 0));
    CREATE TABLE IF NOT EXISTS shop_orders (
        order_id text PRIMARY KEY,
        submitted text NOT NULL,
        receipt text NOT NULL,
        stored_at timestamptz NOT NULL DEFAULT now()
    )
"""


def submitted_order() -> dict[str, Any]:
    """Read the params, with 2.0 as 2: JSON has one kind of number, and equal orders must be stored as equal text."""

    def number(text: str) -> float:
        return int(float(text)) if float(text).is_integer() else float(text)

    order: dict[str, Any] = json.loads(json.dumps(get_current_context()["params"]), parse_float=number)
    return order


def reason(field: str, text: str) -> dict[str, str]:
    """Name one thing to be mended, by the path of the argument."""
    return {"field": field, "reason": text}


def catalogue() -> dict[str, dict[str, str]]:
    """Read the shop's products by sku, as text: `{"COF-201": {"product": …, "unit_price": "18.90", …}}`."""
    with CATALOGUE.open(newline="", encoding="utf-8") as file:
        return {row["sku"]: row for row in csv.DictReader(file)}


def check_items(items: list[dict[str, Any]], products: dict[str, dict[str, str]]) -> list[dict[str, str]]:
    """List the lines that no shop could serve: unknown or repeated products, prices that are not the catalogue's."""
    reasons = []
    first_line: dict[str, int] = {}
    for index, item in enumerate(items):
        sku, price = item["sku"], Decimal(str(item["unit_price"]))
        if sku in first_line:
            text = f"{sku} is already in items[{first_line[sku]}]: send one line with the whole quantity."
            reasons.append(reason(f"items[{index}].sku", text))
        first_line.setdefault(sku, index)
        if sku not in products:
            alike = [known for known in products if known[:3] == sku[:3]] or list(products)
            text = f"no product has the sku {sku}: choose one of {', '.join(alike)}."
            reasons.append(reason(f"items[{index}].sku", text))
        elif abs(price - Decimal(products[sku]["unit_price"])) > PRICE_TOLERANCE:
            text = f"{sku} costs {products[sku]['unit_price']} EUR, not {price:.2f} EUR."
            reasons.append(reason(f"items[{index}].unit_price", text))
    return reasons


def placed_on(placed_at: str | None, run_after: datetime) -> date | None:
    """Tell the day on which the order was placed, in UTC; None for a time that cannot be read or has no time zone."""
    if placed_at is None:
        return run_after.astimezone(UTC).date()
    try:
        moment = datetime.fromisoformat(placed_at)
    except ValueError:
        return None
    return moment.astimezone(UTC).date() if moment.tzinfo else None


def check_terms(order: dict[str, Any], earliest: date | None) -> list[dict[str, str]]:
    """List what is wrong with everything but the lines; `earliest` is the first possible day of delivery."""
    reasons = []
    if earliest is None:
        text = "this is no date and time with a time zone, such as 2026-03-02T09:30:00+01:00."
        reasons.append(reason("placed_at", text))
    elif order["requested_delivery"] and date.fromisoformat(order["requested_delivery"]) < earliest:
        text = (
            f"{order['requested_delivery']} is too early: the first day for {order['priority']} delivery is {earliest}."
        )
        reasons.append(reason("requested_delivery", text))
    if not DELIVERY_HOURS[0] <= time.fromisoformat(order["deliver_from"]) <= DELIVERY_HOURS[1]:
        text = f"parcels arrive between {DELIVERY_HOURS[0]:%H:%M} and {DELIVERY_HOURS[1]:%H:%M}."
        reasons.append(reason("deliver_from", text))
    if "." not in order["customer"]["email"].rpartition("@")[2]:
        reasons.append(reason("customer.email", "the part after the @ is no domain such as example.org."))
    if order["coupon"] not in COUPONS:
        reasons.append(reason("coupon", "there is no such coupon: correct it or leave it out."))
    if not isinstance(order["gift_wrap"], bool):
        reasons.append(reason("gift_wrap", "this must be true or false."))
    return reasons


def receipt_for(order: dict[str, Any], earliest: date, products: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Work out what the customer pays and when the parcel comes, for an order without faults."""
    lines = []
    goods = Decimal(0)
    for item in order["items"]:
        product = products[item["sku"]]
        amount = Decimal(product["unit_price"]) * item["quantity"]
        goods += amount
        lines.append(
            {
                "sku": item["sku"],
                "product": product["product"],
                "quantity": item["quantity"],
                "unit_price": float(product["unit_price"]),
                "amount": float(amount),
            }
        )
    discount = (goods * COUPONS[order["coupon"]] / 100).quantize(Decimal("0.01"))
    is_free = order["priority"] == "standard" and goods - discount >= FREE_SHIPPING_FROM
    shipping = Decimal(0) if is_free else SHIPPING[order["priority"]]
    wrapping = GIFT_WRAP if order["gift_wrap"] else Decimal(0)
    return {
        "number": order["order_id"].replace("SO-", "R-", 1),
        "order_id": order["order_id"],
        "customer": order["customer"]["name"],
        "lines": lines,
        "goods": float(goods),
        "discount": float(discount),
        "shipping": float(shipping),
        "gift_wrap": float(wrapping),
        "total": float(goods - discount + shipping + wrapping),
        "currency": order["currency"],
        "delivery": f"{order['requested_delivery'] or earliest}T{order['deliver_from']}",
    }


def prepare_tables(cursor: Any) -> None:
    """Make the tables and fill the shelves, unless that was done before."""
    cursor.execute("SELECT to_regclass('shop_orders')")
    if cursor.fetchone()[0] is None:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SETUP_LOCK,))
        cursor.execute(TABLES)
        cursor.executemany(
            "INSERT INTO shop_stock VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [(sku, int(product["stock"])) for sku, product in catalogue().items()],
        )


def check_stock(cursor: Any, items: list[dict[str, Any]]) -> list[dict[str, str]]:
    """List the lines that the stock cannot serve; the products stay locked until the transaction ends.

    All callers lock in the order of the sku, so that two orders never wait for each other.
    """
    skus = sorted({item["sku"] for item in items})
    cursor.execute("SELECT sku, available FROM shop_stock WHERE sku = ANY(%s) ORDER BY sku FOR UPDATE", (skus,))
    available = dict(cursor.fetchall())
    reasons = []
    for index, item in enumerate(items):
        left = available.get(item["sku"], item["quantity"])
        if left < item["quantity"]:
            text = f"only {left} of {item['sku']} are left." if left else f"{item['sku']} is sold out."
            reasons.append(reason(f"items[{index}].quantity", text))
    return reasons


def book(cursor: Any, order: dict[str, Any], checked: dict[str, Any]) -> dict[str, Any]:
    """Store the order, or say why not, or find it stored already; the caller commits."""
    order_id = order["order_id"]
    submitted = json.dumps(order, sort_keys=True)
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (order_id,))
    cursor.execute("SELECT submitted, receipt FROM shop_orders WHERE order_id = %s", (order_id,))
    stored = cursor.fetchone()
    if stored and stored[0] == submitted:
        return {"accepted": True, "already_stored": True, "receipt": json.loads(stored[1])}
    reasons = checked["reasons"] + check_stock(cursor, order["items"])
    if stored:
        text = (
            "another order is stored under this id: use a new id, or send the stored order unchanged for its receipt."
        )
        reasons.insert(0, reason("order_id", text))
    if reasons:
        return {"accepted": False, "reasons": reasons}
    cursor.executemany(
        "UPDATE shop_stock SET available = available - %s WHERE sku = %s",
        [(item["quantity"], item["sku"]) for item in order["items"]],
    )
    receipt = checked["receipt"]
    cursor.execute(
        "INSERT INTO shop_orders (order_id, submitted, receipt) VALUES (%s, %s, %s)",
        (order_id, submitted, json.dumps(receipt)),
    )
    return {"accepted": True, "already_stored": False, "receipt": receipt}


@task(retries=0)
def check_order() -> dict[str, Any]:
    """Check what needs no database.

    Returns:
        `{"reasons": […], "receipt": {…}}`, the receipt being None when there are reasons.
    """
    order = submitted_order()
    products = catalogue()
    placed = placed_on(order["placed_at"], get_current_context()["dag_run"].run_after)
    earliest = placed + timedelta(days=DELIVERY_DAYS[order["priority"]]) if placed else None
    reasons = check_items(order["items"], products) + check_terms(order, earliest)
    receipt = receipt_for(order, earliest, products) if earliest and not reasons else None
    return {"reasons": reasons, "receipt": receipt}


@task(retries=2, retry_delay=timedelta(seconds=1))
def book_order(checked: dict[str, Any]) -> dict[str, Any]:
    """Book the order in one transaction; safe to retry, for a stored order is recognised."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook  # noqa: PLC0415 - keeps parsing the dag quick

    order = submitted_order()
    with closing(PostgresHook(CONNECTION).get_conn()) as connection, connection.cursor() as cursor:
        prepare_tables(cursor)
        connection.commit()
        answer = book(cursor, order, checked)
        connection.commit()
    return answer


@dag(
    schedule=None,
    catchup=False,
    tags=["mcp", "orders"],
    max_active_runs=128,
    dag_display_name="Submit an order",
    description=(
        "Submit a shop order. Returns a receipt, or every reason why the order is refused. "
        "Sending the same order again returns the same receipt and books nothing twice. "
        "`coupon` takes a code that lowers the price, and `gift_wrap` adds 2.50 EUR."
    ),
    doc_md=__doc__,
    params={
        "order_id": Param(
            type="string",
            title="Order id",
            description="Chosen by the sender, one per order: SO-, the year, and 4 to 16 capitals or digits.",
            pattern="^SO-[0-9]{4}-[0-9A-Z]{4,16}$",
            examples=["SO-2026-A7K2"],
        ),
        "customer": Param(
            type="object",
            description="Who orders, and the country to deliver to.",
            examples=[{"name": "Ada Müller", "email": "ada@example.org", "country": "DE"}],
            properties={
                "name": {"type": "string", "minLength": 1, "maxLength": 100},
                "email": {"type": "string", "format": "email"},
                "country": {"type": "string", "enum": ["AT", "BE", "CH", "DE", "FR", "NL"]},
            },
            required=["name", "email", "country"],
            additionalProperties=False,
        ),
        "items": Param(
            type="array",
            description="The lines of the order; each product once, at the catalogue's price in EUR.",
            examples=[[{"sku": "COF-201", "quantity": 2, "unit_price": 18.9}]],
            items={
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{3}$"},
                    "quantity": {"type": "integer", "minimum": 1, "maximum": 1000},
                    "unit_price": {"type": "number", "exclusiveMinimum": 0},
                },
                "required": ["sku", "quantity", "unit_price"],
                "additionalProperties": False,
            },
            minItems=1,
            maxItems=50,
        ),
        "placed_at": Param(
            None,
            type=["null", "string"],
            format="date-time",
            description="When the customer placed the order, with the time zone; null means now.",
        ),
        "requested_delivery": Param(
            None, type=["null", "string"], format="date", description="The day wanted; null means as soon as possible."
        ),
        "deliver_from": Param(
            "09:00:00", type="string", format="time", description="Earliest time of day for the parcel, as HH:MM:SS."
        ),
        "priority": Param(
            "standard",
            type="string",
            description="How fast the parcel comes.",
            enum=["standard", "express"],
            values_display={"standard": "Standard: 5 days", "express": "Express: 2 days"},
        ),
        "currency": Param("EUR", const="EUR", description="The shop sells in euros only."),
        "note": Param(
            None, type=["null", "string"], maxLength=500, description="A note for the parcel service; null means none."
        ),
        "coupon": "",
        "gift_wrap": False,
    },
)
def submit_order() -> Any:
    """Check, then book."""
    return book_order(check_order())


submit_order()
