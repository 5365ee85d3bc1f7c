"""Rate limits by token buckets: for requests, messages, logins and bad API keys.

A layer below `accounts`, so that authentication can use it.
"""

from ratelimits.limiter import guard_bad_key, guard_message, guard_request
from ratelimits.rates import Rate, Remaining

__all__ = ["Rate", "Remaining", "guard_bad_key", "guard_message", "guard_request"]
