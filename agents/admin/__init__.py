"""The console's pages. What the platform writes is read-only here; buttons call verbs."""

from agents.admin import agents, audit, bulk, groups, keys, letters, log, people, releases, runners, sessions, turns

__all__ = [
    "agents",
    "audit",
    "bulk",
    "groups",
    "keys",
    "letters",
    "log",
    "people",
    "releases",
    "runners",
    "sessions",
    "turns",
]
