"""Agents."""

from __future__ import annotations

from agents.api.agents import AgentsView, AgentView
from agents.domain.states import WhenBusy
from rest.schema.json_schema import SLUG, TEXT, WHOLE, array, choice, described, or_null, page_schema, record, ref
from rest.schema.operation import CURSOR, LIMIT, Answer, Operation

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
            "slug": described(SLUG, "Its name in addresses and in `agent`."),
            "name": TEXT,
            "description": TEXT,
            "capabilities": array(TEXT, description="Words that say what it can do."),
            "release": described(or_null(WHOLE), "The release that new sessions get; null before the first."),
            "when_busy": choice(*WhenBusy, description="What a message does while a turn of its session is open."),
        }
    ),
    "AgentPage": page_schema(ref("Agent")),
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
