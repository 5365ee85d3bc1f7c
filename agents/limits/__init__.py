"""How much and how often: token buckets for requests, messages and guesses; slots for open sockets.

Below `agents.access`, so that whatever lets somebody in can count here first.
"""

from agents.limits.guard import guard_bad_key, guard_message, guard_request
from agents.limits.rates import Left, Rate

__all__ = ["Left", "Rate", "guard_bad_key", "guard_message", "guard_request"]
