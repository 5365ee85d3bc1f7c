"""The closed lists of memory: tiers, scopes, sources, degrees of trust."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Tier(StrEnum):
    """For how long something is remembered."""

    WORKING = "working"  # Goals, open tasks and notes of a session or a turn; gone with it.
    EPISODIC = "episodic"  # What was said and done, verbatim.
    LONG_TERM = "long_term"  # Facts and preferences, each with the time in which it holds.


class MemoryScope(StrEnum):
    """To whom memories belong."""

    SESSION = "session"
    USER = "user"  # A user, with one agent or with all.
    AGENT = "agent"  # An agent, whoever asks it.
    SHARED = "shared"  # The agents of a pool: for each user apart, or for everybody.


class MemorySource(StrEnum):
    """Where a memory comes from."""

    TURN = "turn"  # Said in a conversation.
    REMEMBER = "remember"  # The user asked for it: "remember …".
    FORM = "form"  # Typed in the chat page or in the console.
    API = "api"
    TOOL = "tool"  # The result of a tool that the user confirmed.
    EXTRACTION = "extraction"  # A model took it out of a turn.
    CONSOLIDATION = "consolidation"  # Made of other memories.


class Trust(IntEnum):
    """How far a memory may be believed. What is below `DEFAULT` is recalled for nobody."""

    REJECTED = 0
    QUARANTINED = 1  # From an untrusted source; waits for somebody's review.
    DEFAULT = 2
    CONFIRMED = 3  # By its user or an operator.


class WorkingKind(StrEnum):
    """What an item of working memory is."""

    GOAL = "goal"
    TASK = "task"
    NOTE = "note"


class TaskState(StrEnum):
    """Whether an item of working memory is still to be done; notes stay open."""

    OPEN = "open"
    DONE = "done"
    DROPPED = "dropped"
