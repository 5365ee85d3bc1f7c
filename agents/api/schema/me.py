"""The limits of the caller."""

from __future__ import annotations

from agents.api.me import LimitsView
from rest.schema.json_schema import COUNT, MOMENT, described, or_null, record, ref
from rest.schema.operation import Answer, Operation

_RATE = {"limit": 3000, "per_seconds": 60, "remaining": 2990, "resets_at": "2026-11-22T12:00:00.200000Z"}
EXAMPLE = {
    "rates": {"requests": _RATE, "messages": {**_RATE, "limit": 600, "remaining": 600}},
    "concurrency": {"running_turns": {"limit": 3, "used": 1}, "connections": {"limit": 100, "used": 2}},
    "spend": None,
}
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
    "Limits": record(
        {
            "rates": {
                "type": "object",
                "description": "By name: `requests` and `messages` of the account, `requests_key` and `messages_key` "
                "of the key that you use, `messages_hour` and `stored_kilobytes` of the account. A rate without a limit is "
                "not there.",
                "additionalProperties": ref("Rate"),
            },
            "concurrency": ref("ConcurrencyLimits"),
            "spend": {"type": "null", "description": "Reserved for budgets."},
        }
    ),
}
OPERATIONS = {
    (LimitsView, "get"): Operation(
        "get_limits",
        "You",
        "What you have left",
        "Of rates and of concurrency, and when it is back. Answers say the same of rates in `RateLimit` and "
        "`RateLimit-Policy`.",
        [Answer(200, "Your limits.", ref("Limits"), EXAMPLE)],
    ),
}
