"""The processes that run turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from agents.admin.list_filters import AliveFilter
from agents.domain import retry_budget
from agents.domain.fallback import Policy
from agents.domain.retry_adaptation import MAX_FACTOR
from agents.domain.retry_policies import POLICIES, OperationKind
from agents.models import Runner
from console.admin import ReadOnlyAdmin
from console.formatting import badge
from foundation.clock import now


def describe_policy(operation: OperationKind, policy: Policy) -> dict[str, str]:
    """A policy in words, for people."""
    if operation is not OperationKind.TOOL_CALL:
        policy = replace(policy, backoff=replace(policy.backoff, base_seconds=settings.BANDSTAND.retry_base_seconds))
    name = operation.replace("_", " ")
    if policy.attempts == 1:
        return {"operation": name, "tries": "1", "pauses": "none: it is not tried again"}
    tries = (
        f"{policy.attempts} in all"
        if policy.attempts is not None
        else f"{policy.attempts_per_route} for each route, {policy.attempts_on_last_route} for the last one, "
        f"in all {policy.extra_attempts} more than there are routes"
    )
    backoff = policy.backoff
    pauses = (
        f"random, up to {backoff.base_seconds:g} s, then twice as much each time, up to {backoff.cap_seconds:g} s; "
        f"more than {policy.patience_seconds:g} s only where no other route is left"
    )
    return {"operation": name, "tries": tries, "pauses": pauses}


@admin.register(Runner)
class RunnerAdmin(ReadOnlyAdmin):
    """Runner processes, read-only, with their load and heartbeat."""

    query_budget = 7

    list_display = ("id", "host", "pid", "display_status", "running", "capacity", "started_at", "heartbeat_at")
    list_filter = ("status", AliveFilter)
    list_filter_submit = True
    ordering = ("-heartbeat_at",)
    search_words = ("host",)
    search_help_text = "The id of a runner, or its host."
    fields = ("host", "pid", "display_status", "capacity", "running", "started_at", "heartbeat_at")
    list_after_template = "console/retry_policies.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With the retry policies of runners below the list."""
        context = {
            "retry_policies": [describe_policy(operation, POLICIES[operation]) for operation in OperationKind],
            "retry_tokens": retry_budget.TOTAL_TOKENS,
            "retry_cost": retry_budget.RETRY_COST,
            "throttled_retry_cost": retry_budget.THROTTLED_RETRY_COST,
            "success_gain": retry_budget.SUCCESS_GAIN,
            "max_factor": MAX_FACTOR if settings.BANDSTAND.retry_adaptation else None,
        }
        return super().changelist_view(request, context | (extra_context or {}))

    @admin.display(description="status")
    def display_status(self, runner: Runner) -> SafeString:
        """Its own last report, or "silent" when its heartbeat is overdue."""
        if runner.is_silent(now()):
            return badge("silent", "bad")
        return badge(runner.status, "good" if runner.status == Runner.Status.RUNNING else "")
