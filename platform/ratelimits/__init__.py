"""How much and how often: token buckets for requests, messages and guesses.

Below `accounts`, so that whatever lets somebody in can count here first.
"""

from ratelimits.limiter import guard_bad_key, guard_message, guard_request
from ratelimits.rates import Rate, Remaining

__all__ = ["Rate", "Remaining", "guard_bad_key", "guard_message", "guard_request"]
