"""The named crash points: where, in the product's own functions, a process can be made to die or to stand still.

Nothing of this is in the product. A child process wraps the named function after it has imported the product, so a
point that no longer exists fails loudly. No module of the product is imported here before `arm` is called.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Role = Literal["runner", "web", "folder"]
Trigger = Literal["", "drain", "stop"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the wrapped function; `result` is None before it."""

    arguments: Sequence[Any]
    named: Mapping[str, Any]
    result: Any = None


def _always(_call: Call) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Point:
    """`functions` are names in `module`, with spaces between. `trigger` is what must be done to the process, besides
    load, for it to come by: a drain, or a stop of a turn."""

    name: str
    role: Role
    module: str
    functions: str
    when: Literal["before", "after"]
    case: Callable[[Call], bool] = _always
    trigger: Trigger = ""


def _some(call: Call) -> bool:
    return bool(call.result)


def _renews(call: Call) -> bool:
    return bool(call.named["turns"])


def _intends(kind: str) -> Callable[[Call], bool]:
    return lambda call: any(step.kind == kind for step in call.named.get("intents", ()))


def _tells(event_type: str) -> Callable[[Call], bool]:
    return lambda call: any(event.type == event_type for event in call.named.get("events", ()))


def _ends(status: str) -> Callable[[Call], bool]:
    return lambda call: bool(call.arguments[1].status == status)


def _gives_back(call: Call) -> bool:
    return bool(call.named["reason"] == "given_back")  # the reaper comes by as well


def _calls(tool: str) -> Callable[[Call], bool]:
    return lambda call: tool in call.arguments


_ENGINE = "agents.engine.turn"
_TOOLS = "agents.engine.tool_calls"
_DELTAS = "agents.engine.delta_writer"
_NOTES = _calls("notebook_add")

POINTS: tuple[Point, ...] = (
    Point("claim committed, nobody told", "runner", "agents.journal.claims", "claim", "after", _some),
    Point("context read, not begun", "runner", "agents.runner.process", "load_context", "after"),
    Point("before a delta is written", "runner", _DELTAS, "append", "before"),
    Point("after a delta was written", "runner", _DELTAS, "append", "after"),
    Point("before deltas are written together", "runner", _DELTAS, "append_each", "before"),
    Point("after deltas were written together", "runner", _DELTAS, "append_each", "after"),
    Point("before the intents of tools", "runner", _TOOLS, "advance", "before", _intends("tool")),
    Point("after the intents of tools", "runner", _TOOLS, "advance", "after", _intends("tool")),
    Point("before a tool takes effect", "runner", _TOOLS, "ToolCalls._run_one", "before"),
    Point("after a tool took effect", "runner", "agents.tools.toolbox", "Toolbox.call", "after", _NOTES),
    Point("after a tool's result", "runner", _TOOLS, "advance", "after", _tells("tool.finished")),
    Point("before the intent of a model call", "runner", _TOOLS, "advance", "before", _intends("model")),
    Point("after the intent of a model call", "runner", _TOOLS, "advance", "after", _intends("model")),
    Point("before the end", "runner", _ENGINE, "finish", "before", _ends("completed")),
    Point("end committed, nobody told", "runner", _ENGINE, "finish", "after", _ends("completed")),
    Point("before a stop is written", "runner", _ENGINE, "finish", "before", _ends("cancelled"), "stop"),
    Point("after a stop was written", "runner", _ENGINE, "finish", "after", _ends("cancelled"), "stop"),
    Point("before a turn is given back", "runner", "agents.runner.process", "release_claim", "before", trigger="drain"),
    Point("inside giving back", "runner", "agents.runner.reaper", "requeue_locked", "after", _gives_back, "drain"),
    Point("after a turn was given back", "runner", "agents.runner.process", "release_claim", "after", trigger="drain"),
    Point("ended, not remembered", "runner", "agents.engine.memory_writer", "remember_turn", "before"),
    Point("inside remembering", "runner", "agents.sessions.turn_episodes", "remember_episodes", "after", _some),
    Point("remembered, not embedded", "runner", "agents.engine.memory_writer", "remember_turn", "after", _some),
    Point("inside the reaper", "runner", "agents.runner.reaper", "_handle_lost_lease", "after"),
    Point("after a lease was renewed", "runner", "agents.journal.claims", "renew", "after", _renews),
    Point("before a message is stored", "web", "agents.sessions.accept", "admit", "before"),
    Point("message stored, not acknowledged", "web", "agents.sessions.accept", "admit", "after", _some),
    Point("acknowledgement made, not sent", "web", "agents.ws.frames", "message_ack", "after"),
    Point("inside a stop", "web", "agents.sessions.cancel", "stop_locked", "after", trigger="stop"),
    Point("stop stored, not acknowledged", "web", "agents.ws.consumer", "cancel_turn", "after", trigger="stop"),
    Point("events read, not sent", "web", "agents.relay.hub", "_deliver", "before"),
    Point("inside remembering late", "folder", "agents.sessions.turn_episodes", "remember_episodes", "after", _some),
    Point("inside folding", "folder", "agents.journal.compaction", "_compact", "after"),
    Point("counted, not committed", "folder", "agents.journal.compaction", "count_turns", "after"),
    Point("after folding", "folder", "agents.tasks", "compact_turns", "after", _some),
)

BY_NAME = {point.name: point for point in POINTS}


def arm(name: str, *, number: signal.Signals, hits: Path) -> None:
    """Send this process `number` when it first comes by the point, after a line in the file `hits`."""
    point = BY_NAME[name]
    once = threading.Lock()

    def strike(call: Call) -> None:
        if point.case(call) and once.acquire(blocking=False):
            _note(hits, name)
            os.kill(os.getpid(), number)

    for function in point.functions.split():
        owner, attribute = find_function(point.module, function)
        setattr(owner, attribute, _wrapped(getattr(owner, attribute), point.when, strike))


def find_function(module: str, function: str) -> tuple[Any, str]:
    owner: Any = importlib.import_module(module)
    *path, attribute = function.split(".")
    for part in path:
        owner = getattr(owner, part)
    return owner, attribute


def _wrapped(original: Callable[..., Any], when: str, strike: Callable[[Call], None]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def run_async(*arguments: Any, **named: Any) -> Any:
            if when == "before":
                strike(Call(arguments, named))
            result = await original(*arguments, **named)
            if when == "after":
                strike(Call(arguments, named, result))
            return result

        return run_async

    @functools.wraps(original)
    def run(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            strike(Call(arguments, named))
        result = original(*arguments, **named)
        if when == "after":
            strike(Call(arguments, named, result))
        return result

    return run


def _note(hits: Path, name: str) -> None:
    with hits.open("a", encoding="utf-8") as file:
        file.write(f"{name}\n")
        file.flush()
        os.fsync(file.fileno())
