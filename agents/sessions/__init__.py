"""The verbs of conversations: one module each, called by REST, websocket, admin, tasks and commands alike."""

from agents.sessions.accept import Accepted, accept_message
from agents.sessions.busy import IdempotencyMismatch, SessionQueueFull, TurnInProgress
from agents.sessions.cancel import cancel_turn
from agents.sessions.complete import (
    AcceptedCompletion,
    Completion,
    ModelNotFound,
    SessionNotFound,
    accept_completion,
)
from agents.sessions.doors import access_session, access_turn, sessions_of
from agents.sessions.life import create_session, delete_session, update_session
from agents.sessions.outcome import Outcome, read_outcome
from agents.sessions.reading import EventPage, LoggedEvent, read_events, read_snapshot
from agents.sessions.window import read_window
from foundation.unset import UNSET, Unset

__all__ = [
    "UNSET",
    "Accepted",
    "AcceptedCompletion",
    "Completion",
    "EventPage",
    "IdempotencyMismatch",
    "LoggedEvent",
    "ModelNotFound",
    "Outcome",
    "SessionNotFound",
    "SessionQueueFull",
    "TurnInProgress",
    "Unset",
    "accept_completion",
    "accept_message",
    "access_session",
    "access_turn",
    "cancel_turn",
    "create_session",
    "delete_session",
    "read_events",
    "read_outcome",
    "read_snapshot",
    "read_window",
    "sessions_of",
    "update_session",
]
