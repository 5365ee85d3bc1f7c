"""Which release of its agent a new session is on."""

from __future__ import annotations

from agents.models import Agent, Release
from foundation.errors import InvalidInput


def release_for(agent: Agent, key: str) -> Release:  # noqa: ARG001 - with one release on offer everybody gets that one
    """The release that a new session with `agent` gets: the live one.

    `key` names the person whose session it is: whatever the choice is made from, equal keys get equal releases, so that
    somebody with five chats does not meet two agents. Raises `InvalidInput` while the agent has no release.
    """
    if agent.live_release is None:
        raise InvalidInput("There is no such agent.", pointer="/agent")
    return agent.live_release
