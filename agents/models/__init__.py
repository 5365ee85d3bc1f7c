"""Rows of the agents room."""

from agents.models.agents import Agent, AgentDraft, Configuration, Release
from agents.models.audit import AuditEntry
from agents.models.bulk import BulkAct
from agents.models.completions import CompletionRequest
from agents.models.feedback import Feedback
from agents.models.idempotency import IdempotencyRecord
from agents.models.limits import Bucket, SocketSlot, WebProcess
from agents.models.mail import Letter
from agents.models.people import ApiKey, User
from agents.models.runners import Runner
from agents.models.sessions import AgentSession, Message
from agents.models.turns import Event, Step, Turn

__all__ = [
    "Agent",
    "AgentDraft",
    "AgentSession",
    "ApiKey",
    "AuditEntry",
    "Bucket",
    "BulkAct",
    "CompletionRequest",
    "Configuration",
    "Event",
    "Feedback",
    "IdempotencyRecord",
    "Letter",
    "Message",
    "Release",
    "Runner",
    "SocketSlot",
    "Step",
    "Turn",
    "User",
    "WebProcess",
]
