"""The permissions of this app that the code checks by name, and the roles that hold them."""

from __future__ import annotations

from typing import Final

from accounts.roles import Role, declare_role_permissions

REVIEW_MEMORY: Final = "memory.review_memory"
READ_MEMORY_TEXT: Final = "memory.read_memory_text"
ADD_POOL: Final = "memory.add_memorypool"
CHANGE_POOL: Final = "memory.change_memorypool"
DELETE_POOL: Final = "memory.delete_memorypool"


def declare() -> None:
    """Add the permissions to the built-in roles. Called once, when the app is ready."""
    declare_role_permissions(
        {
            Role.VIEWER: {
                "memory.view_memory",
                "memory.view_memoryowner",
                "memory.view_memorypool",
                "memory.view_workingitem",
            },
            Role.OPERATOR: {REVIEW_MEMORY, READ_MEMORY_TEXT},
            Role.BUILDER: {ADD_POOL, CHANGE_POOL, DELETE_POOL},
        }
    )
