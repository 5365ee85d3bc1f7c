"""The permissions of the monitoring app by name, and the roles that have them."""

from __future__ import annotations

from typing import Final

from accounts.roles import Role, declare_role_permissions

CHANGE_DEBUG_MODE: Final = "monitoring.change_debugmode"
EXPORT_TRACE: Final = "monitoring.export_trace"


def declare() -> None:
    """Add the permissions to the built-in roles. Called once, when the app is ready."""
    declare_role_permissions(
        {
            Role.VIEWER: {"monitoring.view_debugmode"},
            Role.OPERATOR: {CHANGE_DEBUG_MODE, EXPORT_TRACE},
        }
    )
