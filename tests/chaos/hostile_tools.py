"""Tools that do to their process what no tool should, as entry points of a package that is installed for a pass."""

from __future__ import annotations

import uuid
from pathlib import Path

from agents.tools import tool
from tests.support import hostile_work

AGENT = "attacked"
ISOLATED = ("endless", "memory", "flood", "sleeper", "breeder")
STALLING = ("endless_in_runner", "blocking_loop")
# In the command line of every process that `breeder` starts.
MARKER = "chaos-breeder"
SECONDS = 2.0


@tool(idempotent=True, writes=False, timeout_seconds=SECONDS, isolated=True)
def endless() -> str:
    """Calculate for ever in one call of C code."""
    return hostile_work.endless_c_call("")


@tool(idempotent=True, writes=False, timeout_seconds=SECONDS, isolated=True)
def memory() -> str:
    """Take all memory."""
    return hostile_work.memory_by_pieces("")


@tool(idempotent=True, writes=False, timeout_seconds=SECONDS, isolated=True)
def flood() -> str:
    """Write without an end."""
    return hostile_work.output_flood("")


@tool(idempotent=True, writes=False, timeout_seconds=SECONDS, isolated=True)
def sleeper() -> str:
    """Sleep."""
    return hostile_work.blocking_sleep("")


@tool(idempotent=True, writes=False, timeout_seconds=SECONDS, isolated=True)
def breeder() -> str:
    """Start processes that start processes."""
    return hostile_work.start_children(f"{MARKER}-{uuid.uuid4()}")


@tool(idempotent=True, writes=False, timeout_seconds=SECONDS)
def endless_in_runner() -> str:
    """The same as `endless`, by somebody who forgot to isolate it."""
    return hostile_work.endless_c_call("")


@tool(idempotent=True, writes=False, timeout_seconds=SECONDS)
async def blocking_loop() -> str:
    """Occupy the event loop for ever."""
    while True:
        pass


def install(folder: Path) -> str:
    """Write what makes an installed package of this module; the folder is to be on the path of the processes."""
    info = folder / "chaos_tools-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-tools\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"{name} = {__name__}:{name}" for name in (*ISOLATED, *STALLING)]
    (info / "entry_points.txt").write_text("\n".join(["[bandstand.tools]", *lines, ""]), encoding="utf-8")
    return str(folder)
