"""The demo's calls as plain data: each call with its exact results or its failure.

The figures are not copied from the dags' output: `tests/unit/demo/test_dags.py` recomputes those of `sales_report` and
the ranking of `summarize_text`, and comments show the calculation of the others.
"""

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DemoCall:
    """One successful call; `results` maps each result task to its value as JSON."""

    tool: str
    arguments: dict[str, Any]
    results: dict[str, Any]


@dataclass(frozen=True)
class DemoFailure:
    """One call whose run fails: the last try of `task` is number `tries`, and its log ends with `error`."""

    tool: str
    arguments: dict[str, Any]
    task: str
    tries: int
    error: str


FERRY = (
    "The harbour of Ostend was closed on Monday. The ferry Nora had lost power near the harbour entrance at "
    "6.30 a.m. and blocked the channel for five hours. Dr. M. Peeters of the port authority said that two tugs "
    "pulled the ferry back to its berth. Nobody was hurt! Passengers were given breakfast. A fire in the "
    "engine room, which the crew put out within minutes, had caused the loss of power. The ferry will stay in "
    "the harbour until its engine has been repaired."
)
CYCLING = (
    "Radwege\n\nDie Stadt Köln plant z. B. drei neue Radwege. Am 3. Mai beginnt der Bau der Radwege. "
    "Die Kosten trägt die Stadt."
)
JAPAN = (
    "東京は日本の首都です。京都は昔の首都でした。大阪は商業の都市です！"  # noqa: RUF001 - Japanese punctuation
    "東京には多くの人が住んでいます。"
)

SUMMARIES = [
    # Sentences 2 (harbour, ferry, power) and 7 (ferry, harbour, engine) share the most words, then sentence 1.
    DemoCall(
        "summarize_text",
        {"text": FERRY},
        {
            "summarize": {
                "summary": (
                    "The harbour of Ostend was closed on Monday. The ferry Nora had lost power near the harbour "
                    "entrance at 6.30 a.m. and blocked the channel for five hours. The ferry will stay in the harbour "
                    "until its engine has been repaired."
                ),
                "sentences": [
                    {"position": 1, "text": "The harbour of Ostend was closed on Monday.", "score": 0.579},
                    {
                        "position": 2,
                        "text": (
                            "The ferry Nora had lost power near the harbour entrance at 6.30 a.m. and blocked the "
                            "channel for five hours."
                        ),
                        "score": 1.0,
                    },
                    {
                        "position": 7,
                        "text": "The ferry will stay in the harbour until its engine has been repaired.",
                        "score": 0.985,
                    },
                ],
                "sentences_total": 7,
                "keywords": ["ferry", "harbour", "engine", "power", "authority"],
            }
        },
    ),
    DemoCall(
        "summarize_text",
        {"text": CYCLING, "max_sentences": 2, "style": "bullets", "keywords": 2, "focus": ["Kosten"]},
        {
            "summarize": {
                "summary": "- Die Stadt Köln plant z. B. drei neue Radwege.\n- Die Kosten trägt die Stadt.",
                "sentences": [
                    {"position": 2, "text": "Die Stadt Köln plant z. B. drei neue Radwege.", "score": 1.0},
                    {"position": 4, "text": "Die Kosten trägt die Stadt.", "score": 0.702},
                ],
                "sentences_total": 4,
                "keywords": ["radwege", "stadt"],
            }
        },
    ),
    DemoCall(
        "summarize_text",
        {"text": JAPAN, "max_sentences": 1, "keywords": 2},
        {
            "summarize": {
                "summary": "東京は日本の首都です。",
                "sentences": [{"position": 1, "text": "東京は日本の首都です。", "score": 1.0}],
                "sentences_total": 4,
                "keywords": [
                    "東京",
                    "首都",
                ],  # both occur twice, in two sentences, so they are ordered by their characters
            }
        },
    ),
    DemoCall(
        "summarize_text",
        {"text": "one sentence, no full stop", "keywords": 0},
        {
            "summarize": {
                "summary": "one sentence, no full stop",
                "sentences": [{"position": 1, "text": "one sentence, no full stop", "score": 1.0}],
                "sentences_total": 1,
                "keywords": [],
            }
        },
    ),
]

SALES = [
    DemoCall(
        "sales_report",
        {},
        {
            "report": {
                "period": {"start": "2025-01-01", "end": "2025-12-31"},
                "group_by": "region",
                "rows": [
                    {"region": "West", "orders": 794, "quantity": 2155, "revenue": 45022.61, "share": 0.3027},
                    {"region": "North", "orders": 673, "quantity": 1930, "revenue": 43361.08, "share": 0.2915},
                    {"region": "South", "orders": 588, "quantity": 1695, "revenue": 36599.06, "share": 0.2461},
                    {"region": "East", "orders": 405, "quantity": 1118, "revenue": 23745.11, "share": 0.1597},
                ],
                "rows_left_out": 0,
                "totals": {"orders": 2460, "quantity": 6898, "revenue": 148727.86},
            }
        },
    ),
    DemoCall(
        "sales_report",
        {
            "start_date": "2025-03-01",
            "end_date": "2025-05-31",
            "group_by": "month",
            "regions": ["North", "East"],
            "min_revenue": None,
        },
        {
            "report": {
                "period": {"start": "2025-03-01", "end": "2025-05-31"},
                "group_by": "month",
                "rows": [
                    {"month": "2025-03", "orders": 98, "quantity": 248, "revenue": 6100.44, "share": 0.3935},
                    {"month": "2025-04", "orders": 79, "quantity": 218, "revenue": 5308.73, "share": 0.3424},
                    {"month": "2025-05", "orders": 87, "quantity": 205, "revenue": 4093.49, "share": 0.2641},
                ],
                "rows_left_out": 0,
                "totals": {"orders": 264, "quantity": 671, "revenue": 15502.66},
            }
        },
    ),
    DemoCall(
        "sales_report",
        {"group_by": "product", "min_revenue": 5000.5, "limit": 2, "include_totals": False},
        {
            "report": {
                "period": {"start": "2025-01-01", "end": "2025-12-31"},
                "group_by": "product",
                "rows": [
                    {"product": "Thermos 1 l", "orders": 134, "quantity": 306, "revenue": 9089.6, "share": 0.0611},
                    {
                        "product": "House blend 1 kg",
                        "orders": 184,
                        "quantity": 474,
                        "revenue": 8873.55,
                        "share": 0.0597,
                    },
                ],
                "rows_left_out": 16,
                "totals": None,
            }
        },
    ),
    DemoCall(
        "sales_report",
        {"start_date": "2024-01-01", "end_date": "2024-12-31"},
        {
            "report": {
                "period": {"start": "2024-01-01", "end": "2024-12-31"},
                "group_by": "region",
                "rows": [],
                "rows_left_out": 0,
                "totals": {"orders": 0, "quantity": 0, "revenue": 0.0},
            }
        },
    ),
]

SCORES = [
    DemoCall(
        "score_many",
        {
            "texts": [
                "What a superb day, the food was really delicious!",
                "",
                "  The soup was not\n good. ",
                "The words here are plain.",
                "I don’t hate it. Ça va — 😀",  # noqa: RUF001 - the typographic apostrophe must not split the word
            ]
        },
        {
            "score": [
                {
                    "text": "What a superb day, the food was really delicious!",
                    "words": 9,
                    "sentiment": "positive",
                    "score": 0.84,  # s = 3 + 1.5 * 2 = 6; 6 / sqrt(36 + 15)
                    "readability": 75.5,  # 206.835 - 1.015 * 9 - 84.6 * 13 / 9
                    "known_words": ["superb", "delicious"],
                },
                {
                    "text": "",
                    "words": 0,
                    "sentiment": "neutral",
                    "score": 0.0,
                    "readability": None,
                    "known_words": [],
                },
                {
                    "text": "The soup was not good.",
                    "words": 5,
                    "sentiment": "negative",
                    "score": -0.459,  # -2 / sqrt(4 + 15)
                    "readability": 117.2,  # 206.835 - 1.015 * 5 - 84.6
                    "known_words": ["good"],
                },
                {
                    "text": "The words here are plain.",
                    "words": 5,
                    "sentiment": "neutral",
                    "score": 0.0,
                    "readability": 117.2,
                    "known_words": [],
                },
                {
                    "text": "I don’t hate it. Ça va — 😀",  # noqa: RUF001
                    "words": 6,
                    "sentiment": "positive",
                    "score": 0.612,  # 3 / sqrt(9 + 15)
                    "readability": 116.1,  # 206.835 - 1.015 * 6 - 84.6
                    "known_words": ["hate"],
                },
            ]
        },
    ),
    DemoCall(
        "score_many",
        {
            "texts": ["Das Essen war sehr lecker, aber die Bedienung unfreundlich."],
            "language": "de",
            "digits": 2,
            "extra_words": {"Bedienung": 1.5},
            "neutral_band": 0.6,
        },
        {
            "score": [
                {
                    "text": "Das Essen war sehr lecker, aber die Bedienung unfreundlich.",
                    "words": 9,
                    "sentiment": "neutral",
                    "score": 0.54,  # s = 1.5 * 2 + 1.5 - 2 = 2.5; 2.5 / sqrt(6.25 + 15)
                    "readability": 67.0,  # 180 - 9 - 58.5 * 16 / 9
                    "known_words": ["lecker", "bedienung", "unfreundlich"],
                }
            ]
        },
    ),
]

REFUNDS = [
    DemoCall(
        "approve_refund",
        {"order_id": "SO-2026-A7K2", "amount": 49.999, "reason": "The bag of coffee arrived open."},
        {
            "answer": {
                "decision": "automatic",
                "order_id": "SO-2026-A7K2",
                "asked": 50.0,  # rounded to cents; the largest sum that needs no approval
                "paid": 50.0,
                "currency": "EUR",
                "receipt": {"number": "RF-2026-A7K2", "approved_by": None, "note": None},
            }
        },
    ),
]

TABLES = [
    DemoCall(
        "big_table",
        {"rows": 3, "columns": 2},
        {
            "read_sensors": {
                "unit": "°C",
                "sensors": {
                    # 0, 7, 14 and 13, 20, 27 tenths above -19.5
                    "sensor_01": {"lowest": -19.5, "highest": -18.1, "mean": -18.8, "too_warm": 0},
                    "sensor_02": {"lowest": -18.2, "highest": -16.8, "mean": -17.5, "too_warm": 1},
                },
                "rows": 3,
                "readings": [
                    {"time": "2026-01-01T00:00:00Z", "sensor_01": -19.5, "sensor_02": -18.2},
                    {"time": "2026-01-01T00:01:00Z", "sensor_01": -18.8, "sensor_02": -17.5},
                    {"time": "2026-01-01T00:02:00Z", "sensor_01": -18.1, "sensor_02": -16.8},
                ],
            }
        },
    ),
]

STEPS = [
    DemoCall(
        "slow_steps",
        {"batches": 2, "seconds": 0.25},
        {
            "open_shop": {
                "batches": [{"batch": 1, "loaves": 12}, {"batch": 2, "loaves": 12}],
                "loaves": 24,
                "ready": ["shop heated", "tables laid"],
                "seconds_of_work": 1.5,  # two batches, and four other tasks
            }
        },
    ),
]

#: Runs that fail; the error is the last line of the exception.
FAILURES = [
    DemoFailure("always_fails", {}, "explode", 2, "ValueError: Step 3 failed: it was asked to"),
    DemoFailure(
        "always_fails",
        {"message": "the disk is full", "step": 12},
        "explode",
        2,
        "ValueError: Step 12 failed: the disk is full",
    ),
    DemoFailure(
        "summarize_text",
        {"text": " … \n"},
        "split_sentences",
        1,
        "ValueError: The param `text` holds no words: give at least one sentence.",
    ),
    DemoFailure(
        "sales_report",
        {"start_date": "2025-06-02", "end_date": "2025-06-01"},
        "report",
        1,
        "ValueError: start_date 2025-06-02 is after end_date 2025-06-01: swap them or correct one.",
    ),
    DemoFailure(
        "score_many",
        {"texts": ["x"], "extra_words": {"soggy": "bad"}},
        "clean_texts",
        1,
        'ValueError: The param `extra_words` must map words to numbers, such as {"superb": 3, "soggy": -1.5}.',
    ),
    DemoFailure(
        "approve_refund",
        {"order_id": "SO-2026-A7K2", "amount": 0.004, "reason": "A rounding error."},
        "check_request",
        1,
        "ValueError: The param `amount` is less than a cent: give the sum to refund in EUR.",
    ),
]

ADA = {"name": "Ada Müller", "email": "ada@example.org", "country": "DE"}


def key(session: str) -> str:
    """Return the part of an order id that makes it unique to a test session."""
    return hashlib.sha256(session.encode()).hexdigest()[:10].upper()


def coffee_order(order_id: str) -> dict[str, Any]:
    """Two bags of coffee, ordered on 1 March in UTC, which is 2 March in the customer's time zone."""
    return {
        "order_id": order_id,
        "customer": ADA,
        "items": [{"sku": "COF-201", "quantity": 2, "unit_price": 18.9}],
        "placed_at": "2026-03-02T00:30:00+01:00",
    }


def coffee_receipt(order_id: str) -> dict[str, Any]:
    """2 * 18.90 = 37.80, less than the 50.00 for free shipping; delivered five days after 1 March."""
    return {
        "number": order_id.replace("SO-", "R-"),
        "order_id": order_id,
        "customer": "Ada Müller",
        "lines": [
            {"sku": "COF-201", "product": "House blend 1 kg", "quantity": 2, "unit_price": 18.9, "amount": 37.8},
        ],
        "goods": 37.8,
        "discount": 0.0,
        "shipping": 4.9,
        "gift_wrap": 0.0,
        "total": 42.7,
        "currency": "EUR",
        "delivery": "2026-03-06T09:00:00",
    }


def order_calls(session: str) -> list[DemoCall]:
    """Independent orders: one with every option, one with every fault, one with a wrong date."""
    good, bad = f"SO-2026-{key(session)}A", f"SO-2026-{key(session)}B"
    return [
        DemoCall(
            "submit_order",
            {
                "order_id": good,
                "customer": ADA,
                "items": [
                    {"sku": "KIT-101", "quantity": 1, "unit_price": 49.9},
                    {
                        "sku": "GAR-304",
                        "quantity": 12,
                        "unit_price": 2.81,
                    },  # a difference of one cent is accepted, but not charged
                ],
                "placed_at": "2026-03-02T09:30:00Z",
                "requested_delivery": "2026-03-04",
                "deliver_from": "14:00:00",
                "priority": "express",
                "currency": "EUR",
                "note": None,
                "coupon": "WELCOME10",
                "gift_wrap": True,
            },
            {
                "book_order": {
                    "accepted": True,
                    "already_stored": False,
                    "receipt": {
                        "number": good.replace("SO-", "R-"),
                        "order_id": good,
                        "customer": "Ada Müller",
                        "lines": [
                            {
                                "sku": "KIT-101",
                                "product": "Chef's knife",
                                "quantity": 1,
                                "unit_price": 49.9,
                                "amount": 49.9,
                            },
                            {
                                "sku": "GAR-304",
                                "product": "Tomato seeds",
                                "quantity": 12,
                                "unit_price": 2.8,
                                "amount": 33.6,
                            },
                        ],
                        "goods": 83.5,
                        "discount": 8.35,
                        "shipping": 9.9,
                        "gift_wrap": 2.5,
                        "total": 87.55,  # 83.50 - 8.35 + 9.90 + 2.50
                        "currency": "EUR",
                        "delivery": "2026-03-04T14:00:00",
                    },
                }
            },
        ),
        DemoCall(
            "submit_order",
            {
                "order_id": bad,
                "customer": {"name": "Bo", "email": "bo@home", "country": "FR"},
                "items": [
                    {"sku": "OUT-503", "quantity": 4, "unit_price": 189},  # the shop has three
                    {"sku": "COF-999", "quantity": 1, "unit_price": 1},
                    {"sku": "COF-202", "quantity": 1, "unit_price": 20},
                    {"sku": "COF-202", "quantity": 1, "unit_price": 21.4},
                    {"sku": "OFF-404", "quantity": 1, "unit_price": 54.9},
                ],
                "placed_at": "2026-03-02T09:30:00Z",
                "requested_delivery": "2026-03-03",
                "deliver_from": "07:00:00",
                "priority": "express",
                "coupon": "FREE",
            },
            {
                "book_order": {
                    "accepted": False,
                    "reasons": [
                        {
                            "field": "items[1].sku",
                            "reason": (
                                "no product has the sku COF-999: choose one of COF-201, COF-202, COF-203, COF-204."
                            ),
                        },
                        {"field": "items[2].unit_price", "reason": "COF-202 costs 21.40 EUR, not 20.00 EUR."},
                        {
                            "field": "items[3].sku",
                            "reason": "COF-202 is already in items[2]: send one line with the whole quantity.",
                        },
                        {
                            "field": "requested_delivery",
                            "reason": "2026-03-03 is too early: the first day for express delivery is 2026-03-04.",
                        },
                        {"field": "deliver_from", "reason": "parcels arrive between 08:00 and 18:00."},
                        {
                            "field": "customer.email",
                            "reason": "the part after the @ is no domain such as example.org.",
                        },
                        {"field": "coupon", "reason": "there is no such coupon: correct it or leave it out."},
                        {"field": "items[0].quantity", "reason": "only 3 of OUT-503 are left."},
                        {"field": "items[4].quantity", "reason": "OFF-404 is sold out."},
                    ],
                }
            },
        ),
        DemoCall(
            "submit_order",
            {**coffee_order(f"SO-2026-{key(session)}C"), "placed_at": "2026-03-02T09:30:00"},
            {
                "book_order": {
                    "accepted": False,
                    "reasons": [
                        {
                            "field": "placed_at",
                            "reason": "this is no date and time with a time zone, such as 2026-03-02T09:30:00+01:00.",
                        }
                    ],
                }
            },
        ),
    ]


def repeated_order_calls(session: str) -> list[DemoCall]:
    """An order, the same order again, and a different order with its id; the calls must be made in this order."""
    order_id = f"SO-2026-{key(session)}D"
    order, receipt = coffee_order(order_id), coffee_receipt(order_id)
    return [
        DemoCall(
            "submit_order",
            order,
            {"book_order": {"accepted": True, "already_stored": False, "receipt": receipt}},
        ),
        DemoCall(
            "submit_order",
            order,
            {"book_order": {"accepted": True, "already_stored": True, "receipt": receipt}},
        ),
        DemoCall(
            "submit_order",
            {**order, "note": "Leave it at the door"},
            {
                "book_order": {
                    "accepted": False,
                    "reasons": [
                        {
                            "field": "order_id",
                            "reason": (
                                "another order is stored under this id: use a new id, or send the stored order "
                                "unchanged for its receipt."
                            ),
                        }
                    ],
                }
            },
        ),
    ]


def demo_calls(session: str) -> list[DemoCall]:
    """Return calls that may be made in any order and in parallel; `session` makes their order ids unique."""
    return [*SUMMARIES, *SALES, *SCORES, *REFUNDS, *TABLES, *STEPS, *order_calls(session)]
