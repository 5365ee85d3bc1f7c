"""The permissions of this app that the code checks by name, and the roles that hold them."""

from __future__ import annotations

from typing import Final

from accounts.roles import Role, declare_role_permissions

USE_CHAT: Final = "accounts.use_chat"
ENTER_CONSOLE: Final = "accounts.enter_console"
EXPORT_LISTS: Final = "accounts.export_lists"
ADD_USER: Final = "accounts.add_user"
CHANGE_USER: Final = "accounts.change_user"
ADD_GROUP: Final = "auth.add_group"
CHANGE_GROUP: Final = "auth.change_group"
DELETE_GROUP: Final = "auth.delete_group"
ADD_API_KEY: Final = "accounts.add_apikey"
REVOKE_API_KEY: Final = "accounts.revoke_apikey"


def declare() -> None:
    """Add the permissions to the built-in roles. Called once, when the app is ready."""
    declare_role_permissions(
        {
            Role.USER: {USE_CHAT},
            Role.VIEWER: {ENTER_CONSOLE, "accounts.view_auditentry"},
            Role.OPERATOR: {EXPORT_LISTS},
            Role.OWNER: {
                ADD_USER,
                CHANGE_USER,
                ADD_GROUP,
                CHANGE_GROUP,
                DELETE_GROUP,
                ADD_API_KEY,
                REVOKE_API_KEY,
                "accounts.view_apikey",
                "accounts.view_outgoingemail",
                "accounts.view_user",
                "auth.view_group",
            },
        }
    )
