"""What a tool is: a typed Python function, its description for models, and its properties."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from agents.domain.failures import ErrorClass
from agents.domain.model_messages import ToolSpec
from agents.tools.signature import Arguments, read_signature
from agents.tools.turn_memory import TurnMemory
from foundation.errors import BandstandError
from foundation.http import GuardedClient

DEFAULT_TIMEOUT_SECONDS = 30.0
MAX_RESULT_BYTES = 16 * 1024
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")


class ToolError(BandstandError):
    """The tool could not do this."""

    code: ClassVar[str] = ErrorClass.TOOL_ERROR.value


def _unlimited(_size_bytes: int) -> None:
    """Storage without a limit: in tests of tools."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may know about the call it serves. `step_key` is `turn:step`: the same when a call is repeated.

    `data_dir` is where tools may store files; `client` is the HTTP client; `memory` is what is remembered of the turn's
    user; `request_human` asks for a person, for a reason, and returns words for the model. Each may be None. A tool
    that stores something calls `guard_storage` with the number of bytes first: it raises when the user may store no
    more today. `user_id` is whose turn it is: people take turns at the places of isolated tools.
    """

    session_id: UUID
    turn_id: UUID
    step_key: str
    data_dir: Path | None = None
    client: GuardedClient | None = field(default=None, repr=False)
    guard_storage: Callable[[int], None] = field(default=_unlimited, repr=False)
    user_id: int | None = None
    memory: TurnMemory | None = field(default=None, repr=False)
    request_human: Callable[[str], str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """The result that the model reads, at most 16 KiB of UTF-8."""

    content: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Tool:
    """`idempotent`: running it twice with one `step_key` is the same as once, so a crash may repeat it.
    `writes`: it changes or sends something outside the conversation. `isolated`: it runs in the compute pool.
    `trusted_output`: strangers have no part in its results."""

    name: str
    description: str
    function: Callable[..., Any]
    arguments: Arguments
    idempotent: bool
    writes: bool
    timeout_seconds: float
    isolated: bool = False
    trusted_output: bool = False

    @property
    def reference(self) -> str:
        """Where a process of the pool finds it: `package.module:name`."""
        return f"{self.function.__module__}:{self.function.__name__}"

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description, self.arguments.schema)


def tool(
    *,
    idempotent: bool,
    writes: bool,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    name: str | None = None,
    isolated: bool = False,
    trusted_output: bool = False,
) -> Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed function, sync (it runs in a thread) or async.

    The docstring is its description for the model, with one line per argument below `Args:`. A parameter annotated as
    `ToolContext` is filled in by the platform and not shown to the model. To fail with a message for the model, raise
    `ToolError`.

    `isolated` is for work whose cost others choose by what they write: the function runs in a process of the compute
    pool, which has no environment, no network client and no folder, may use a bounded amount of memory, and is killed
    after `timeout_seconds`.

    `trusted_output` is for tools whose results nobody outside can write, such as a calculator. After a result of any
    other tool, what the model has remembered in that turn waits for somebody's review.

    Raises `TypeError` for a function that cannot be described, or is isolated and async or not at the top of a module.
    """

    def make(function: Callable[..., Any]) -> Tool:
        own_name = name or function.__name__
        if not _NAME.fullmatch(own_name):
            raise TypeError(f"{own_name!r} is no name for a tool")
        if isolated and (inspect.iscoroutinefunction(function) or function.__qualname__ != function.__name__):
            raise TypeError(f"{function.__name__} must be a plain function at the top of its module to be isolated")
        description, arguments = read_signature(function, context_type=ToolContext)
        return Tool(
            own_name, description, function, arguments, idempotent, writes, timeout_seconds, isolated, trusted_output
        )

    return make
