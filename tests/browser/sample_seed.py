"""A few hundred made-up conversations for the console's lists."""

from __future__ import annotations

from typing import Any

from agents.management.demo.loading import load
from agents.models import Turn
from foundation.clock import now


def main() -> dict[str, Any]:
    """`{sample_failed, sample_session, sample_traced, sample_call}`: a turn that failed; a session, its turn that used
    a tool, and that one's last call of a model."""
    load(turns=400, seed=1, until=now(), report=lambda _line: None)
    failed = Turn.objects.filter(status="failed", release__agent__slug="sample-support").latest("id")
    used_a_tool = Turn.objects.filter(status="completed", steps__kind="tool", steps__status="done").latest("id")
    call = used_a_tool.steps.filter(kind="model").latest("number")
    return {
        "sample_failed": str(failed.pk),
        "sample_session": str(used_a_tool.agent_session_id),
        "sample_traced": str(used_a_tool.pk),
        "sample_call": str(call.pk),
    }
