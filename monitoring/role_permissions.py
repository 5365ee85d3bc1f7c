"""The permissions of this app that the code checks by name, and the roles that have them."""

from __future__ import annotations

from typing import Final

from accounts.roles import Role, declare_role_permissions

APPLY_RECOMMENDATION: Final = "monitoring.apply_recommendation"
CHANGE_RECOMMENDATION_POLICY: Final = "monitoring.change_recommendationpolicy"
VIEW_RECOMMENDATION: Final = "monitoring.view_recommendation"


def declare() -> None:
    """Add the permissions to the roles. Called once, when the app is ready."""
    declare_role_permissions(
        {
            Role.VIEWER: {VIEW_RECOMMENDATION},
            Role.OPERATOR: {APPLY_RECOMMENDATION},
            Role.OWNER: {CHANGE_RECOMMENDATION_POLICY},
        }
    )
