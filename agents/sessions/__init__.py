"""The operations on sessions, turns and messages, called by REST, websocket, admin, tasks and commands alike."""

from agents.sessions.accept import Accepted, accept_message
from agents.sessions.access import (
    access_message,
    access_session,
    access_turn,
    operate_session,
    operate_turn,
    user_sessions,
)
from agents.sessions.bulk_actions import open_bulk_actions, run_bulk_action, start_bulk_action, stop_bulk_action
from agents.sessions.cancel import cancel_any_turn, cancel_open_turns, cancel_turn
from agents.sessions.crud import create_session, delete_expired_sessions, delete_session, update_session
from agents.sessions.errors import SessionQueueFull, TurnInProgress
from agents.sessions.events import EventPage, LoggedEvent, read_events, resume_position
from agents.sessions.export import Export, begin_export
from agents.sessions.fail_turn import fail_turn
from agents.sessions.feedback import give_feedback, withdraw_feedback
from agents.sessions.fork import fork_any_session, fork_session
from agents.sessions.message_window import read_window
from agents.sessions.messages import session_messages
from agents.sessions.openai_completions.accept_completion import accept_completion
from agents.sessions.openai_completions.completion_result import CompletionResult, read_completion_result
from agents.sessions.openai_completions.completion_types import (
    AcceptedCompletion,
    Completion,
    ModelNotFound,
    SessionNotFound,
)
from agents.sessions.operator_actions import DoesNotApply
from agents.sessions.requeue import requeue_turn
from agents.sessions.retry import retry_turn
from agents.sessions.search import search_filter, search_time_limit
from agents.sessions.snapshots import read_snapshot
from foundation.sentinels import UNSET, Unset

__all__ = [
    "UNSET",
    "Accepted",
    "AcceptedCompletion",
    "Completion",
    "CompletionResult",
    "DoesNotApply",
    "EventPage",
    "Export",
    "LoggedEvent",
    "ModelNotFound",
    "SessionNotFound",
    "SessionQueueFull",
    "TurnInProgress",
    "Unset",
    "accept_completion",
    "accept_message",
    "access_message",
    "access_session",
    "access_turn",
    "begin_export",
    "cancel_any_turn",
    "cancel_open_turns",
    "cancel_turn",
    "create_session",
    "delete_expired_sessions",
    "delete_session",
    "fail_turn",
    "fork_any_session",
    "fork_session",
    "give_feedback",
    "open_bulk_actions",
    "operate_session",
    "operate_turn",
    "read_completion_result",
    "read_events",
    "read_snapshot",
    "read_window",
    "requeue_turn",
    "resume_position",
    "retry_turn",
    "run_bulk_action",
    "search_filter",
    "search_time_limit",
    "session_messages",
    "start_bulk_action",
    "stop_bulk_action",
    "update_session",
    "user_sessions",
    "withdraw_feedback",
]
