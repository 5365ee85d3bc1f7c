"""The verbs of conversations: one module each, called by REST, websocket, admin, tasks and commands alike."""

from agents.sessions.accept import Accepted, accept_message
from agents.sessions.bulk import begin_bulk, open_bulks, stop_bulk, work_on
from agents.sessions.busy import IdempotencyMismatch, SessionQueueFull, TurnInProgress
from agents.sessions.cancel import cancel_any_turn, cancel_open_turns, cancel_turn
from agents.sessions.complete import accept_completion
from agents.sessions.completions import AcceptedCompletion, Completion, ModelNotFound, SessionNotFound
from agents.sessions.doors import (
    access_message,
    access_session,
    access_turn,
    operate_session,
    operate_turn,
    sessions_of,
)
from agents.sessions.export import Export, begin_export
from agents.sessions.feedback import give_feedback, withdraw_feedback
from agents.sessions.fork import fork_any_session, fork_session
from agents.sessions.life import create_session, delete_expired_sessions, delete_session, update_session
from agents.sessions.mend import mend_session
from agents.sessions.messages import messages_of
from agents.sessions.operating import DoesNotApply
from agents.sessions.outcome import Outcome, read_outcome
from agents.sessions.reading import EventPage, LoggedEvent, read_events, read_snapshot, where_to_go_on
from agents.sessions.requeue import requeue_turn
from agents.sessions.retry import retry_turn
from agents.sessions.search import matching
from agents.sessions.set_aside import set_aside_turn
from agents.sessions.window import read_window
from foundation.unset import UNSET, Unset

__all__ = [
    "UNSET",
    "Accepted",
    "AcceptedCompletion",
    "Completion",
    "DoesNotApply",
    "EventPage",
    "Export",
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
    "access_message",
    "access_session",
    "access_turn",
    "begin_bulk",
    "begin_export",
    "cancel_any_turn",
    "cancel_open_turns",
    "cancel_turn",
    "create_session",
    "delete_expired_sessions",
    "delete_session",
    "fork_any_session",
    "fork_session",
    "give_feedback",
    "matching",
    "mend_session",
    "messages_of",
    "open_bulks",
    "operate_session",
    "operate_turn",
    "read_events",
    "read_outcome",
    "read_snapshot",
    "read_window",
    "requeue_turn",
    "retry_turn",
    "sessions_of",
    "set_aside_turn",
    "stop_bulk",
    "update_session",
    "where_to_go_on",
    "withdraw_feedback",
    "work_on",
]
