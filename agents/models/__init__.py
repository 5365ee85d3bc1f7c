"""The models of the agents app."""

from agents.models.agents import Agent, AgentDraft, Configuration, Release
from agents.models.bulk_actions import BulkAction
from agents.models.completions import CompletionRequest
from agents.models.connections import ConnectionSlot, WebProcess
from agents.models.feedback import Feedback
from agents.models.handoffs import Handoff
from agents.models.rollups import CallRollup, RollupWidth, TurnRollup
from agents.models.route_health import RouteHealth
from agents.models.runners import Runner
from agents.models.sessions import AgentSession, Message
from agents.models.summaries import HistorySummary
from agents.models.turns import COST_UNKNOWN, TOKENS_UNKNOWN, Event, Step, Turn
from agents.models.utility_calls import UtilityCall

__all__ = [
    "COST_UNKNOWN",
    "TOKENS_UNKNOWN",
    "Agent",
    "AgentDraft",
    "AgentSession",
    "BulkAction",
    "CallRollup",
    "CompletionRequest",
    "Configuration",
    "ConnectionSlot",
    "Event",
    "Feedback",
    "Handoff",
    "HistorySummary",
    "Message",
    "Release",
    "RollupWidth",
    "RouteHealth",
    "Runner",
    "Step",
    "Turn",
    "TurnRollup",
    "UtilityCall",
    "WebProcess",
]
