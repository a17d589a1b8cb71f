"""A person who is asked sees the order, the sum and the reason; what nobody has decided within a day is rejected.

**Tasks:** `check_request` → `route` → (`approve` →) `pay` → `answer`. A refund of up to 50 EUR goes straight to `pay`.
For a larger one, `approve` waits for "Approve" or "Reject"; an approval may fill in two fields: an amount, when only a
part is to be paid, and a line for the receipt. The value of `answer`, which is the dag's result in every case:

```json
{"decision": "approved", "order_id": "SO-2026-A7K2", "asked": 180.0, "paid": 120.0, "currency": "EUR",
 "receipt": {"number": "RF-2026-A7K2", "approved_by": "mia", "note": "Minus the parts that were used."}}
```

`decision` is `automatic` (a small refund), `approved` or `rejected`; `receipt` is null where nothing was paid.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, get_current_context, task

APPROVAL_ABOVE = 50.0  # EUR; no param, or whoever asks for a refund could decide that nobody needs to approve it

BODY = """\
- Order: {{ params.order_id }}
- Amount: {{ "%.2f" | format(params.amount) }} EUR
- Reason: {{ params.reason }}
"""


@task(retries=0)
def check_request() -> dict[str, Any]:
    """Round the amount to cents; refuse one that is less than a cent."""
    params = get_current_context()["params"]
    amount = round(float(params["amount"]), 2)
    if amount <= 0:
        raise ValueError("The param `amount` is less than a cent: give the sum to refund in EUR.")
    return {"order_id": params["order_id"], "asked": amount}


@task.branch(retries=0)
def route(request: dict[str, Any]) -> str:
    """Send a large refund to a person, and a small one straight to `pay`."""
    return "approve" if request["asked"] > APPROVAL_ABOVE else "pay"


@task(retries=0, trigger_rule="none_failed")
def pay(request: dict[str, Any]) -> dict[str, Any]:
    """Pay what was asked for, or the part that was approved; a rejection skips this task.

    Returns:
        The paid amount and the receipt.
    """
    approval = get_current_context()["ti"].xcom_pull(task_ids="approve") or {}  # none for a small refund
    form = approval.get("params_input") or {}
    granted = form.get("pay_only") or request["asked"]
    if granted > request["asked"]:
        raise ValueError(f"{granted:.2f} EUR were approved, but only {request['asked']:.2f} EUR were asked for.")
    receipt = {
        "number": request["order_id"].replace("SO-", "RF-"),
        "approved_by": (approval.get("responded_by_user") or {}).get("name"),
        "note": form.get("note"),
    }
    return {"paid": round(float(granted), 2), "receipt": receipt}


@task(retries=0, trigger_rule="none_failed")
def answer(request: dict[str, Any], payment: dict[str, Any] | None) -> dict[str, Any]:
    """Say what was decided and paid; after a rejection, too, when there is no payment."""
    needs_approval = request["asked"] > APPROVAL_ABOVE
    return {
        "decision": "rejected" if payment is None else "approved" if needs_approval else "automatic",
        "order_id": request["order_id"],
        "asked": request["asked"],
        "paid": payment["paid"] if payment else 0.0,
        "currency": "EUR",
        "receipt": payment["receipt"] if payment else None,
    }


@dag(
    schedule=None,
    catchup=False,
    tags=["mcp", "orders"],
    max_active_runs=128,
    dag_display_name="Refund an order",
    description=(
        "Refund money for an order. Up to 50 EUR are paid at once; more waits until a person has approved it, which "
        "may take a day. Returns what was decided and paid."
    ),
    doc_md=__doc__,
    params={
        "order_id": Param(
            type="string",
            title="Order id",
            description="The order to refund: SO-, the year, and 4 to 16 capitals or digits.",
            pattern="^SO-[0-9]{4}-[0-9A-Z]{4,16}$",
            examples=["SO-2026-A7K2"],
        ),
        "amount": Param(
            type="number",
            description="How much to refund, in EUR.",
            exclusiveMinimum=0,
            maximum=10_000,
            examples=[18.9, 180],
        ),
        "reason": Param(
            type="string",
            description="Why the customer gets the money back, in a sentence that helps a person to decide.",
            minLength=1,
            maxLength=500,
            examples=["The bag of coffee arrived open."],
        ),
    },
)
def approve_refund() -> Any:
    """Check, ask a person where the sum is large, pay, answer."""
    request = check_request()
    approve = ApprovalOperator(
        task_id="approve",
        subject="Refund {{ '%.2f' | format(params.amount) }} EUR for order {{ params.order_id }}?",
        body=BODY,
        defaults="Reject",
        response_timeout=timedelta(days=1),
        retries=0,
        params={
            "pay_only": Param(
                None,
                type=["null", "number"],
                title="Pay only this much",
                description="A part of the sum, in EUR; empty means all of it.",
                exclusiveMinimum=0,
            ),
            "note": Param(
                None,
                type=["null", "string"],
                title="Note",
                description="A line for the customer, on the receipt.",
                maxLength=500,
            ),
        },
    )
    payment = pay(request)
    route(request) >> [approve, payment]
    # "Reject" makes `approve` skip what follows it directly and leaves no value; `answer` follows only `pay`, and runs.
    approve >> payment
    return answer(request, payment)


approve_refund()
