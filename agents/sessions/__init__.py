"""The verbs of conversations: one module each, called by REST, websocket, admin, tasks and commands alike."""

from agents.sessions.accept import Accepted, accept_message
from agents.sessions.access import (
    access_message,
    access_session,
    access_turn,
    operate_session,
    operate_turn,
    sessions_of,
)
from agents.sessions.bulk_actions import begin_bulk, open_bulks, stop_bulk, work_on
from agents.sessions.cancel import cancel_any_turn, cancel_open_turns, cancel_turn
from agents.sessions.completion_result import Outcome, read_outcome
from agents.sessions.completion_types import AcceptedCompletion, Completion, ModelNotFound, SessionNotFound
from agents.sessions.completions import accept_completion
from agents.sessions.crud import create_session, delete_expired_sessions, delete_session, update_session
from agents.sessions.errors import SessionQueueFull, TurnInProgress
from agents.sessions.export import Export, begin_export
from agents.sessions.fail_turn import set_aside_turn
from agents.sessions.feedback import give_feedback, withdraw_feedback
from agents.sessions.fork import fork_any_session, fork_session
from agents.sessions.message_window import read_window
from agents.sessions.messages import messages_of
from agents.sessions.operator_actions import DoesNotApply
from agents.sessions.requeue import requeue_turn
from agents.sessions.retry import retry_turn
from agents.sessions.search import matching
from agents.sessions.snapshots import EventPage, LoggedEvent, read_events, read_snapshot, where_to_go_on
from foundation.sentinels import UNSET, Unset

__all__ = [
    "UNSET",
    "Accepted",
    "AcceptedCompletion",
    "Completion",
    "DoesNotApply",
    "EventPage",
    "Export",
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
