"""Verbs that change what is remembered: remember, revise, forget, review, merge, purge, export."""

from memory.writing.access import access_memory, require_owner_access
from memory.writing.episodes import NewEpisode, remember_episodes
from memory.writing.erasure import forget_agent, forget_memory, forget_own_memories, forget_users
from memory.writing.export_memories import export_memories
from memory.writing.facts import remember, revise
from memory.writing.new_memory import Provenance, Remembered
from memory.writing.purge import PurgeFilter, purge_memories
from memory.writing.review import confirm_memory, merge_memories, quarantine_memory, reject_memory
from memory.writing.session_erasure import forget_sessions

__all__ = [
    "NewEpisode",
    "Provenance",
    "PurgeFilter",
    "Remembered",
    "access_memory",
    "confirm_memory",
    "export_memories",
    "forget_agent",
    "forget_memory",
    "forget_own_memories",
    "forget_sessions",
    "forget_users",
    "merge_memories",
    "purge_memories",
    "quarantine_memory",
    "reject_memory",
    "remember",
    "remember_episodes",
    "require_owner_access",
    "revise",
]
