"""How the faults end that look the same through every interface."""

from __future__ import annotations

THREE = "a provider that "  # the words before a fault in the middle

# The fault, the class of its error, and the words that come before it (None: nobody promises which).
FAULTS: list[tuple[str, str, str | None]] = [
    ("400", "bad_request", ""),
    ("401", "auth", ""),
    ("402", "auth", ""),
    ("403", "auth", ""),
    ("404", "bad_request", ""),
    ("408", "transient", ""),
    ("409", "transient", ""),
    ("413", "context_length", ""),
    ("422", "bad_request", ""),
    ("429", "rate_limit", ""),
    ("500", "transient", ""),
    ("502", "transient", ""),
    ("503", "transient", ""),
    ("504", "transient", ""),
    ("529", "transient", ""),
    ("quota", "auth", ""),
    ("ctx", "context_length", ""),
    ("filter_http", "content_filter", ""),
    ("redirect", "bad_request", ""),
    ("hang", "transient", ""),
    ("stuck_headers", "transient", ""),
    ("stuck_body", "transient", ""),
    ("stuck_error", "transient", ""),
    ("close", "transient", ""),
    ("reset", "transient", ""),
    ("garbage", "transient", ""),
    ("html", "transient", ""),
    ("json_error_200", "transient", ""),
    ("big_error", "transient", ""),
    ("empty", "transient", ""),
    ("cut", "transient", THREE),
    ("reset_midway", "transient", None),
    ("silence", "transient", THREE),
    ("badjson", "transient", THREE),
    ("endless_line", "transient", THREE),
    ("stream_error", "transient", THREE),
    ("stream_rate_limit", "rate_limit", THREE),
    ("stream_ctx", "context_length", THREE),
]
