"""The models of the agents app."""

from agents.models.agents import Agent, AgentDraft, Configuration, Release
from agents.models.approvals import Approval, ApprovalPass
from agents.models.budgets import Budget, BudgetDifference, BudgetReservation, BudgetWindow, ModelPrice, TokenRatio
from agents.models.bulk_actions import BulkAction
from agents.models.completions import CompletionRequest
from agents.models.connections import ConnectionSlot, WebProcess
from agents.models.deployments import Deployment, DeploymentVerdict, WithdrawnRelease
from agents.models.evaluations import EvaluationResult, EvaluationRun, TestCase, TestSet
from agents.models.feedback import Feedback
from agents.models.handoffs import Handoff, HandoffNote, OperatorDuty
from agents.models.rollups import CallRollup, RollupWidth, TurnRollup, UsageRollup
from agents.models.route_health import RouteHealth
from agents.models.runners import Runner
from agents.models.sessions import IN_PRODUCTION, IN_PRODUCTION_SQL, AgentSession, Message
from agents.models.summaries import HistorySummary
from agents.models.turn_schedules import IS_OVER, TurnSchedule
from agents.models.turns import (
    ANSWERED_LATER,
    COST_UNKNOWN,
    DEADLINE_IS_OVERDUE,
    DURATION,
    FAILED,
    LEASE_IS_OVERDUE,
    SLOW,
    STUCK_AFTER,
    TOKENS_UNKNOWN,
    UNANSWERED_FAILURE,
    Event,
    Step,
    Turn,
    TurnText,
)
from agents.models.utility_calls import UtilityCall

__all__ = [
    "ANSWERED_LATER",
    "COST_UNKNOWN",
    "DEADLINE_IS_OVERDUE",
    "DURATION",
    "FAILED",
    "IN_PRODUCTION",
    "IN_PRODUCTION_SQL",
    "IS_OVER",
    "LEASE_IS_OVERDUE",
    "SLOW",
    "STUCK_AFTER",
    "TOKENS_UNKNOWN",
    "UNANSWERED_FAILURE",
    "Agent",
    "AgentDraft",
    "AgentSession",
    "Approval",
    "ApprovalPass",
    "Budget",
    "BudgetDifference",
    "BudgetReservation",
    "BudgetWindow",
    "BulkAction",
    "CallRollup",
    "CompletionRequest",
    "Configuration",
    "ConnectionSlot",
    "Deployment",
    "DeploymentVerdict",
    "EvaluationResult",
    "EvaluationRun",
    "Event",
    "Feedback",
    "Handoff",
    "HandoffNote",
    "HistorySummary",
    "Message",
    "ModelPrice",
    "OperatorDuty",
    "Release",
    "RollupWidth",
    "RouteHealth",
    "Runner",
    "Step",
    "TestCase",
    "TestSet",
    "TokenRatio",
    "Turn",
    "TurnRollup",
    "TurnSchedule",
    "TurnText",
    "UsageRollup",
    "UtilityCall",
    "WebProcess",
    "WithdrawnRelease",
]
