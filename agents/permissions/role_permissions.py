"""The permissions of the agents app by name, and the roles that have them."""

from __future__ import annotations

from typing import Final

from accounts.roles import Role, declare_role_permissions

VIEW_TRANSCRIPT: Final = "agents.view_transcript"
VIEW_RATINGS: Final = "agents.view_feedback"
CANCEL_TURN: Final = "agents.cancel_turn"
RETRY_TURN: Final = "agents.retry_turn"
REQUEUE_TURN: Final = "agents.requeue_turn"
FAIL_TURN: Final = "agents.fail_turn"
FORK_SESSION: Final = "agents.fork_agentsession"
HOLD_SCHEDULE: Final = "agents.hold_turnschedule"
FORCE_ROUTE: Final = "agents.force_routehealth"
ADD_AGENT: Final = "agents.add_agent"
CHANGE_AGENT: Final = "agents.change_agent"
CHANGE_DRAFT: Final = "agents.change_agentdraft"
PUBLISH_AGENT: Final = "agents.publish_agent"
DECIDE_APPROVAL: Final = "agents.decide_approval"
ANSWER_HANDOFF: Final = "agents.answer_handoff"
GRANT_APPROVAL: Final = "agents.grant_approvalpass"
VIEW_APPROVAL: Final = "agents.view_approval"
VIEW_HANDOFF: Final = "agents.view_handoff"
VIEW_BUDGET: Final = "agents.view_budget"
ADD_BUDGET: Final = "agents.add_budget"
CHANGE_BUDGET: Final = "agents.change_budget"
DELETE_BUDGET: Final = "agents.delete_budget"
OVERRIDE_BUDGET: Final = "agents.override_budget"
ADD_PRICE: Final = "agents.add_modelprice"
CHANGE_PRICE: Final = "agents.change_modelprice"
DELETE_PRICE: Final = "agents.delete_modelprice"
CHANGE_TEST_SET: Final = "agents.change_testset"
VIEW_TEST_CASE: Final = "agents.view_testcase"
# Notes are for operators, not for whoever may read a transcript.
VIEW_NOTE: Final = "agents.view_handoffnote"


def declare() -> None:
    """Add the permissions to the roles. Called once, by `AppConfig.ready`."""
    declare_role_permissions(
        {
            Role.VIEWER: {
                VIEW_TRANSCRIPT,
                VIEW_RATINGS,
                "agents.view_agent",
                "agents.view_agentdraft",
                "agents.view_agentsession",
                "agents.view_bulkaction",
                "agents.view_event",
                "agents.view_message",
                "agents.view_release",
                "agents.view_routehealth",
                "agents.view_runner",
                "agents.view_step",
                "agents.view_turn",
                "agents.view_turnschedule",
                VIEW_APPROVAL,
                VIEW_HANDOFF,
                "agents.view_approvalpass",
                VIEW_BUDGET,
                "agents.view_budgetdifference",
                "agents.view_budgetreservation",
                "agents.view_budgetwindow",
                "agents.view_modelprice",
                "agents.view_deployment",
                "agents.view_deploymentverdict",
                "agents.view_evaluationrun",
                "agents.view_testset",
            },
            Role.OPERATOR: {
                CANCEL_TURN,
                RETRY_TURN,
                REQUEUE_TURN,
                FAIL_TURN,
                FORK_SESSION,
                FORCE_ROUTE,
                HOLD_SCHEDULE,
                DECIDE_APPROVAL,
                ANSWER_HANDOFF,
                VIEW_NOTE,
            },
            Role.BUILDER: {
                ADD_AGENT,
                CHANGE_AGENT,
                CHANGE_DRAFT,
                PUBLISH_AGENT,
                "agents.add_agentdraft",
                "agents.add_testset",
                CHANGE_TEST_SET,
                "agents.delete_testset",
                VIEW_TEST_CASE,
                "agents.view_evaluationresult",
            },
            Role.OWNER: {
                GRANT_APPROVAL,
                ADD_BUDGET,
                CHANGE_BUDGET,
                DELETE_BUDGET,
                OVERRIDE_BUDGET,
                ADD_PRICE,
                CHANGE_PRICE,
                DELETE_PRICE,
            },
        }
    )
