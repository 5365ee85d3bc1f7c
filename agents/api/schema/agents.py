"""Agents."""

from __future__ import annotations

from agents.api.agents import AgentsView, AgentView
from agents.domain.states import WhenBusy
from rest.schema.operation import CURSOR, LIMIT, Answer, Operation
from rest.schema.shapes import SLUG, TEXT, WHOLE, list_of, one_of, or_null, page_of, record, ref, said

EXAMPLE = {
    "slug": "demo",
    "name": "Demo",
    "description": "Answers questions, and can use a calculator.",
    "capabilities": ["chat"],
    "release": 1,
    "when_busy": "enqueue",
}
COMPONENTS = {
    "Agent": record(
        {
            "slug": said(SLUG, "Its name in addresses and in `agent`."),
            "name": TEXT,
            "description": TEXT,
            "capabilities": list_of(TEXT, description="Words that say what it can do."),
            "release": said(or_null(WHOLE), "The release that new sessions get; null before the first."),
            "when_busy": one_of(*WhenBusy, description="What a message does while a turn of its session is open."),
        }
    ),
    "AgentPage": page_of(ref("Agent")),
}
OPERATIONS = {
    (AgentsView, "get"): Operation(
        "list_agents",
        "Agents",
        "The agents that you may talk to",
        "By slug.",
        [Answer(200, "A page of agents.", ref("AgentPage"), {"results": [EXAMPLE], "next": None, "previous": None})],
        parameters=[LIMIT, CURSOR],
    ),
    (AgentView, "get"): Operation(
        "get_agent",
        "Agents",
        "One agent",
        "By its slug.",
        [Answer(200, "The agent.", ref("Agent"), EXAMPLE)],
    ),
}
