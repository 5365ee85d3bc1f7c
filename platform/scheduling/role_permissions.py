"""The permissions of this app that the code checks by name, and the roles that hold them."""

from __future__ import annotations

from typing import Final

from accounts.roles import Role, declare_role_permissions

CHANGE_SCHEDULE: Final = "scheduling.change_schedule"
VIEW_SCHEDULE: Final = "scheduling.view_schedule"
RUN_SCHEDULE: Final = "scheduling.run_schedule"


def declare() -> None:
    """Add the permissions to the built-in roles. Called once, when the app is ready."""
    declare_role_permissions(
        {
            Role.VIEWER: {"scheduling.view_jobrun", VIEW_SCHEDULE},
            Role.OPERATOR: {RUN_SCHEDULE},
            Role.OWNER: {CHANGE_SCHEDULE},
        }
    )
