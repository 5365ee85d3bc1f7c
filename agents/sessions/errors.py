"""Errors of a session that does not accept a message."""

from foundation.errors import Conflict, RateLimited


class TurnInProgress(Conflict):
    """A turn of this session is still open, and the agent takes one message at a time."""

    code = "turn_in_progress"
    retryable = True


class SessionQueueFull(RateLimited):
    """Too many messages wait in this session."""

    code = "session_queue_full"
