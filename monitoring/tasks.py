"""What the scheduler runs for monitoring. Every task is synchronous and safe to run twice."""

from __future__ import annotations

from monitoring import heartbeats


def beat_scheduler() -> None:
    """Prove that tasks are taken from the queue and run."""
    heartbeats.beat(heartbeats.SCHEDULER)
