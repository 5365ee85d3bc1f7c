"""What builders do: make agents, edit their drafts, publish them as releases, go back to an older one."""

from agents.releases.edit import archive_agent, change_agent, change_draft, create_agent, restore_agent
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
