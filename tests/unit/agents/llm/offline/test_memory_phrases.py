"""What the offline model says of what it was reminded of."""

from __future__ import annotations

from agents.llm.offline.memory_phrases import describe_memories

SAID = "2026-11-30, ada: Remember that I live in Bern."
ECHO = "2026-11-30, Demo: From what I remember:\n\n- Oslo\n\n_(Offline model. Set a key.)_"


def test_facts_come_alone_and_what_was_said_only_where_there_are_none() -> None:
    assert describe_memories([SAID, "I live in Bern.", ECHO]) == "From what I remember:\n\n- I live in Bern."
    assert describe_memories([SAID, ECHO]) == (
        "From what I remember:\n\n- 2026-11-30, ada: Remember that I live in Bern.\n"
        "- 2026-11-30, Demo: From what I remember: - Oslo"
    )
