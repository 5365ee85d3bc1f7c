"""For tests of tools: call one as a model would, and get what the model would read.

No database, no settings and no model are needed; any test runner will do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from agents.tools.tool import Tool, ToolContext, ToolOutcome
from agents.tools.toolbox import call_tool, open_pool
from foundation.http import GuardedClient

SESSION, TURN = UUID(int=1), UUID(int=2)


async def try_tool(
    subject: Tool, arguments: Mapping[str, Any] | str | None = None, *, step: int = 1, data_dir: Path | None = None
) -> ToolOutcome:
    """Run `subject` with these arguments, or with a text as a careless model might write it.

    Returns what the model gets, errors included; raises nothing. Two calls with one `step` have one
    `ToolContext.step_key`, like a call that is repeated after a crash. The client in the context goes to the network,
    with the guard that every tool has: no private addresses, no redirects.
    """
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    client = GuardedClient()
    pool = open_pool([subject])
    context = ToolContext(SESSION, TURN, f"{TURN}:{step}", data_dir, client)
    try:
        tools = {subject.name: subject}
        return await call_tool(subject.name, text, context, allowed=[subject.name], tools=tools, pool=pool)
    finally:
        await pool.aclose()
        await client.aclose()
