"""Choose the release of a new session."""

from __future__ import annotations

from agents.models import Agent, Release
from foundation.errors import InvalidInput


def release_for(agent: Agent, key: str) -> Release:  # noqa: ARG001 - with one release on offer everybody gets that one
    """The release that a new session with `agent` gets: the live one.

    `key` identifies the user of the session: equal keys get equal releases, so that all new chats of a user behave
    alike. Raises `InvalidInput` while the agent has no release.
    """
    if agent.live_release is None:
        raise InvalidInput("There is no such agent.", pointer="/agent")
    return agent.live_release
