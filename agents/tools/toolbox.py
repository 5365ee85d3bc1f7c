"""The tools of this process: the built-in ones and those of installed packages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from agents.domain.model_messages import ToolSpec
from agents.tools import isolated
from agents.tools.builtin import BUILTIN
from agents.tools.call import run_tool
from agents.tools.tool import Tool, ToolContext, ToolOutcome
from agents.tools.turn_memory import TurnMemory
from foundation.compute_pool import ComputePool
from foundation.compute_pool.pool import DEFAULT_MEMORY_MB
from foundation.http import GuardedClient

# Takes the session and the bytes; raises `RateLimited`.
GuardStorage: TypeAlias = Callable[[UUID, int], None]
# Takes the session, the turn, the number of the step, and the names of the tools whose results can be trusted.
OpenMemory: TypeAlias = Callable[[UUID, UUID, int, frozenset[str]], TurnMemory]
# Takes the session, the turn and the reason; returns words for the model.
RequestHuman: TypeAlias = Callable[[UUID, UUID, str], str]

ENTRY_POINTS = "bandstand.tools"


class ToolLoadFailed(RuntimeError):
    """An installed tool cannot be used; the process should not start without it."""


def installed_tools(entries: Iterable[EntryPoint] | None = None) -> list[Tool]:
    """The built-in tools and every `bandstand.tools` entry point, each of which is one `Tool`.

    Raises `ToolLoadFailed` for one that cannot be imported, is no tool, or takes a name that another has.
    """
    tools = {tool.name: tool for tool in BUILTIN}
    for entry in entry_points(group=ENTRY_POINTS) if entries is None else entries:
        try:
            loaded = entry.load()
        except Exception as error:
            raise ToolLoadFailed(f"{entry.value}: {type(error).__name__}: {error}") from error
        if not isinstance(loaded, Tool):
            raise ToolLoadFailed(f"{entry.value} is not a tool")
        if loaded.name in tools:
            raise ToolLoadFailed(f"{entry.value}: there is already a tool {loaded.name}")
        tools[loaded.name] = loaded
    return list(tools.values())


def open_pool(tools: Iterable[Tool], *, memory_mb: int = DEFAULT_MEMORY_MB) -> ComputePool:
    """The pool for those of `tools` that are isolated; nothing is started before the first call. Its owner closes
    it."""
    return ComputePool([isolated.TARGET, *(tool.reference for tool in tools if tool.isolated)], memory_mb=memory_mb)


class Toolbox:
    """Finds tools by name and runs those that a release allows."""

    def __init__(
        self,
        tools: Iterable[Tool] | None = None,
        *,
        data_dir: Path | None = None,
        client: GuardedClient | None = None,
        compute_memory_mb: int = DEFAULT_MEMORY_MB,
        guard_storage: GuardStorage | None = None,
        open_memory: OpenMemory | None = None,
        request_human: RequestHuman | None = None,
    ) -> None:
        """Without `tools`, the installed ones. `client` is closed by its owner; without one the toolbox creates its
        own. `compute_memory_mb` is what one call of an isolated tool may use. `guard_storage` counts bytes that a
        session's user stores, called in a thread of a tool; `open_memory` makes the memory of a call; `request_human`
        asks for a person, in a thread of a tool, too."""
        self._tools = {tool.name: tool for tool in (installed_tools() if tools is None else tools)}
        self._data_dir = data_dir
        self._client = client or GuardedClient()
        self._owns_client = client is None
        self._pool = open_pool(self._tools.values(), memory_mb=compute_memory_mb)
        self._guard_storage = guard_storage
        self._open_memory = open_memory
        self._request_human = request_human
        self._trusted = frozenset(name for name, tool in self._tools.items() if tool.trusted_output)

    @property
    def names(self) -> frozenset[str]:
        """Every name that a release may allow."""
        return frozenset(self._tools)

    @property
    def trusted_names(self) -> frozenset[str]:
        """The tools whose results strangers have no part in."""
        return self._trusted

    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        """The specifications of the tools called `names` for a model; tools that are not installed here are left
        out."""
        return tuple(self._tools[name].spec for name in names if name in self._tools)

    def is_idempotent(self, name: str) -> bool:
        """Whether a call may be repeated after a crash. True for tools that do not exist, which have no effect."""
        tool = self._tools.get(name)
        return tool is None or tool.idempotent

    async def call(
        self,
        name: str,
        arguments: str,
        *,
        session_id: UUID,
        turn_id: UUID,
        user_id: int,
        step: int,
        allowed: Collection[str],
    ) -> ToolOutcome:
        """Run `name` with the JSON text of a model, if it is `allowed`. Raises nothing but `Park` and
        `CancelledError`."""
        context = ToolContext(session_id, turn_id, f"{turn_id}:{step}", self._data_dir, self._client, user_id=user_id)
        if self._guard_storage is not None:
            context = replace(context, guard_storage=partial(self._guard_storage, session_id))
        if self._open_memory is not None:
            context = replace(context, memory=self._open_memory(session_id, turn_id, step, self._trusted))
        if self._request_human is not None:
            context = replace(context, request_human=partial(self._request_human, session_id, turn_id))
        return await call_tool(name, arguments, context, allowed=allowed, tools=self._tools, pool=self._pool)

    async def aclose(self) -> None:
        """Close the connections of the running loop, and end the processes of isolated tools."""
        await self._pool.aclose()
        if self._owns_client:
            await self._client.aclose()


async def call_tool(
    name: str,
    arguments: str,
    context: ToolContext,
    *,
    allowed: Collection[str],
    tools: dict[str, Tool],
    pool: ComputePool,
) -> ToolOutcome:
    """Run the tool `name` of `tools` with JSON text from a model, if it is `allowed`, which depends on the release
    only. Raises nothing but `Park` and `CancelledError`."""
    if name not in allowed or name not in tools:
        usable = ", ".join(sorted(set(allowed) & set(tools))) or "none"
        return ToolOutcome(f"There is no tool {name[:64]!r} here. There are: {usable}.", is_error=True)
    return await run_tool(tools[name], arguments, context, pool)
