"""The permissions of this app that the code checks by name, and the roles that have them."""

from __future__ import annotations

from typing import Final

from accounts.roles import Role, declare_role_permissions

CHANGE_DEBUG_MODE: Final = "monitoring.change_debugmode"
EXPORT_TRACE: Final = "monitoring.export_trace"
ADD_TRACE_SETTINGS: Final = "monitoring.add_tracesettings"
CHANGE_TRACE_SETTINGS: Final = "monitoring.change_tracesettings"
APPLY_RECOMMENDATION: Final = "monitoring.apply_recommendation"
CHANGE_RECOMMENDATION_POLICY: Final = "monitoring.change_recommendationpolicy"
VIEW_RECOMMENDATION: Final = "monitoring.view_recommendation"
VIEW_CHANNEL: Final = "monitoring.view_notificationchannel"
ADD_CHANNEL: Final = "monitoring.add_notificationchannel"
CHANGE_CHANNEL: Final = "monitoring.change_notificationchannel"
DELETE_CHANNEL: Final = "monitoring.delete_notificationchannel"
TEST_CHANNEL: Final = "monitoring.test_notificationchannel"
RESEND_NOTIFICATION: Final = "monitoring.resend_notification"
VIEW_ALERT_RULE: Final = "monitoring.view_alertrule"
ADD_ALERT_RULE: Final = "monitoring.add_alertrule"
CHANGE_ALERT_RULE: Final = "monitoring.change_alertrule"
DELETE_ALERT_RULE: Final = "monitoring.delete_alertrule"
VIEW_ALERT: Final = "monitoring.view_alert"
VIEW_NOTIFICATION: Final = "monitoring.view_notification"
VIEW_SILENCE: Final = "monitoring.view_silence"
ADD_SILENCE: Final = "monitoring.add_silence"
CHANGE_SILENCE: Final = "monitoring.change_silence"
VIEW_READINESS: Final = "monitoring.view_readinessrun"
RUN_READINESS: Final = "monitoring.run_readiness"
OVERRIDE_READINESS: Final = "monitoring.override_readiness"


def declare() -> None:
    """Add the permissions to the roles. Called once, when the app is ready."""
    declare_role_permissions(
        {
            Role.VIEWER: {"monitoring.view_tracesettings", "monitoring.view_debugmode", VIEW_RECOMMENDATION},
            # Who decides what an agent sends to models and tools decides what of it is exported.
            Role.BUILDER: {ADD_TRACE_SETTINGS, CHANGE_TRACE_SETTINGS},
            Role.OPERATOR: {APPLY_RECOMMENDATION, CHANGE_DEBUG_MODE, EXPORT_TRACE},
            Role.OWNER: {CHANGE_RECOMMENDATION_POLICY},
        }
    )
    declare_role_permissions(
        {
            Role.VIEWER: {VIEW_ALERT_RULE, VIEW_ALERT, VIEW_SILENCE, VIEW_NOTIFICATION, VIEW_READINESS},
            # Who decides what an agent does decides what of it is wrong; who is on call decides who is woken.
            Role.BUILDER: {ADD_ALERT_RULE, CHANGE_ALERT_RULE, DELETE_ALERT_RULE, RUN_READINESS},
            Role.OPERATOR: {
                ADD_SILENCE,
                CHANGE_SILENCE,
                VIEW_CHANNEL,
                TEST_CHANNEL,
                RESEND_NOTIFICATION,
                RUN_READINESS,
            },
            # A channel holds secrets, and sends what is wrong here to somebody else.
            Role.OWNER: {ADD_CHANNEL, CHANGE_CHANNEL, DELETE_CHANNEL, OVERRIDE_READINESS},
        }
    )
