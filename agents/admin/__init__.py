"""The console's pages about conversations and agents: what the platform writes is read-only, buttons call verbs."""

from agents.admin import (
    agents,
    approval_passes,
    approvals,
    budget_ledger,
    bulk_actions,
    events,
    handoffs,
    memories,
    memory_pools,
    ratings,
    releases,
    routes,
    runners,
    sessions,
    turn_schedules,
    turns,
)

__all__ = [
    "agents",
    "approval_passes",
    "approvals",
    "budget_ledger",
    "bulk_actions",
    "events",
    "handoffs",
    "memories",
    "memory_pools",
    "ratings",
    "releases",
    "routes",
    "runners",
    "sessions",
    "turn_schedules",
    "turns",
]
