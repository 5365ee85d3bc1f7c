"""The operations of builders: create agents, edit drafts, publish them as releases, roll back to an older release."""

from agents.releases.agent_editing import archive_agent, change_agent, change_draft, create_agent, restore_agent
from agents.releases.publish import publish, roll_back

__all__ = [
    "archive_agent",
    "change_agent",
    "change_draft",
    "create_agent",
    "publish",
    "restore_agent",
    "roll_back",
]
