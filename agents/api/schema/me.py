"""The limits of the caller."""

from __future__ import annotations

from agents.api.me import LimitsView
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from rest.schema.json_schema import COUNT, ID, MOMENT, TEXT, array, choice, described, or_null, record, ref
from rest.schema.operation import Answer, Operation

_RATE = {"limit": 3000, "per_seconds": 60, "remaining": 2990, "resets_at": "2026-11-22T12:00:00.200000Z"}
EXAMPLE = {
    "rates": {"requests": _RATE, "messages": {**_RATE, "limit": 600, "remaining": 600}},
    "concurrency": {"running_turns": {"limit": 3, "used": 1}, "connections": {"limit": 100, "used": 2}},
    "spend": [
        {
            "budget": "019ab000-0000-7000-8000-00000000000b",
            "subject": "user",
            "name": "",
            "unit": "usd",
            "per": "month",
            "limit": "20.00000000",
            "remaining": "16.40000000",
            "used_percent": 18,
            "resets_at": "2026-12-01T00:00:00.000000Z",
        }
    ],
}
_AMOUNT = {"anyOf": [{"type": "string", "pattern": r"^[0-9]+\.[0-9]{8}$"}, COUNT]}
COMPONENTS = {
    "Rate": record(
        {
            "limit": described(COUNT, "So many at once, and so many in `per_seconds`."),
            "per_seconds": described(COUNT, "The period."),
            "remaining": described(COUNT, "So many can be had now."),
            "resets_at": described(MOMENT, "When all of them are back."),
        }
    ),
    "Concurrency": record(
        {
            "limit": described(or_null(COUNT), "So many at a time; null: any number."),
            "used": described(COUNT, "So many are in use."),
        }
    ),
    "ConcurrencyLimits": record({"running_turns": ref("Concurrency"), "connections": ref("Concurrency")}),
    "BudgetLeft": record(
        {
            "budget": ID,
            "subject": choice(*BudgetSubject, description="Whose calls draw on it."),
            "name": described(TEXT, "Of its user, group, agent or API key; empty for others."),
            "unit": choice(*BudgetUnit),
            "per": choice(*BudgetPeriod, description="How often it begins anew."),
            "limit": described(
                or_null(_AMOUNT), "US dollars as a decimal, or tokens; null where others draw on it, too."
            ),
            "remaining": described(or_null(_AMOUNT), "So much is left; null where others draw on it, too."),
            "used_percent": described(COUNT, "So much of it is used."),
            "resets_at": described(MOMENT, "When it begins anew."),
        },
        description="How much is left of a budget, which alone says nothing of what other people spend.",
    ),
    "Limits": record(
        {
            "rates": {
                "type": "object",
                "description": "By name: `requests` and `messages` of the account, `requests_key` and `messages_key` "
                "of the key that you use, `messages_hour` and `stored_kilobytes` of the account. A rate without a "
                "limit is not there.",
                "additionalProperties": ref("Rate"),
            },
            "concurrency": ref("ConcurrencyLimits"),
            "spend": described(
                or_null(array(ref("BudgetLeft"))), "The budgets that your messages draw on; null where there is none."
            ),
        }
    ),
}
OPERATIONS = {
    (LimitsView, "get"): Operation(
        "get_limits",
        "You",
        "What you have left",
        "Of rates, of concurrency and of budgets, and when it is back. Answers say the same of rates in `RateLimit` "
        "and `RateLimit-Policy`.",
        [Answer(200, "Your limits.", ref("Limits"), EXAMPLE)],
    ),
}
