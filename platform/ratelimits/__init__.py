"""How much and how often: token buckets for requests, messages, stored bytes and guesses.

A layer below `accounts`, so that authentication can use it.
"""

from ratelimits.limiter import (
    count_message,
    guard_bad_key,
    guard_message,
    guard_request,
    guard_storage,
    refund_message,
)
from ratelimits.rates import Rate, Remaining

__all__ = [
    "Rate",
    "Remaining",
    "count_message",
    "guard_bad_key",
    "guard_message",
    "guard_request",
    "guard_storage",
    "refund_message",
]
