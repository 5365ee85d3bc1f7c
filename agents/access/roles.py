"""Roles are Django groups. This table is what a role may; migrations hold it in the database.

A console role holds all that the one before it holds, so that one group per person is enough: viewer < operator and
viewer < builder; the owner holds everything.
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    USER = "user"
    VIEWER = "viewer"
    OPERATOR = "operator"
    BUILDER = "builder"
    OWNER = "owner"


# What a role is for, in the words of the console.
ROLE_WORDS: dict[Role, str] = {
    Role.USER: "Chats with agents. Everybody who should chat needs it.",
    Role.VIEWER: "Reads the console: conversations, agents, runners, the audit trail. Changes nothing.",
    Role.OPERATOR: "Reads the console; stops, retries, requeues, sets aside and forks what others do.",
    Role.BUILDER: "Reads the console; makes agents, edits and publishes them.",
    Role.OWNER: "Does everything, and decides on people, keys and schedules.",
}

# Permissions that verbs and scopes ask for by name; the others are Django's own, asked for by the console.
USE_CHAT = "agents.use_chat"
ENTER_CONSOLE = "agents.enter_console"
VIEW_TRANSCRIPT = "agents.view_transcript"
CANCEL_TURN = "agents.cancel_turn"
RETRY_TURN = "agents.retry_turn"
REQUEUE_TURN = "agents.requeue_turn"
SET_ASIDE_TURN = "agents.set_aside_turn"
FORK_SESSION = "agents.fork_agentsession"
MEND_SESSION = "agents.mend_agentsession"
ADD_AGENT = "agents.add_agent"
CHANGE_AGENT = "agents.change_agent"
CHANGE_DRAFT = "agents.change_agentdraft"
PUBLISH_AGENT = "agents.publish_agent"
ADD_USER = "agents.add_user"
CHANGE_USER = "agents.change_user"
ADD_GROUP = "auth.add_group"
CHANGE_GROUP = "auth.change_group"
DELETE_GROUP = "auth.delete_group"
ADD_API_KEY = "agents.add_apikey"
REVOKE_API_KEY = "agents.revoke_apikey"
CHANGE_SCHEDULE = "monitoring.change_schedule"
RUN_SCHEDULE = "monitoring.run_schedule"

_USER = frozenset({USE_CHAT})
_VIEWER = frozenset(
    {
        ENTER_CONSOLE,
        VIEW_TRANSCRIPT,
        "agents.view_agent",
        "agents.view_agentdraft",
        "agents.view_agentsession",
        "agents.view_auditentry",
        "agents.view_bulkact",
        "agents.view_event",
        "agents.view_message",
        "agents.view_release",
        "agents.view_runner",
        "agents.view_step",
        "agents.view_turn",
        "monitoring.view_jobrun",
        "monitoring.view_schedule",
    }
)
_OPERATOR = _VIEWER | {RUN_SCHEDULE, CANCEL_TURN, RETRY_TURN, REQUEUE_TURN, SET_ASIDE_TURN, FORK_SESSION, MEND_SESSION}
_BUILDER = _VIEWER | {
    ADD_AGENT,
    CHANGE_AGENT,
    CHANGE_DRAFT,
    PUBLISH_AGENT,
    "agents.add_agentdraft",
}
_OWNER = (
    _USER
    | _OPERATOR
    | _BUILDER
    | {
        ADD_API_KEY,
        REVOKE_API_KEY,
        "agents.view_apikey",
        "agents.view_letter",
        ADD_USER,
        CHANGE_USER,
        CHANGE_SCHEDULE,
        ADD_GROUP,
        CHANGE_GROUP,
        DELETE_GROUP,
        "agents.view_user",
        "auth.view_group",
    }
)

ROLE_PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.USER: _USER,
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.BUILDER: _BUILDER,
    Role.OWNER: _OWNER,
}
