"""What a model call sent, by the parts of its prompt, and what it left out: from `Step.details`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agents.domain.context_window import Strategy
from agents.models import Step

_STRATEGIES: Final = {
    Strategy.COMPRESS: "the newest exchange reduced to key sentences",
    Strategy.SLIDE: "the newest exchange or the calls of this turn cut",
    Strategy.MINIMAL: "only the instructions and the message, cut to fit",
}


def describe_context(step: Step) -> str:
    """How full the model's window was, of what, and what was left out: "41 % of 128,000 tokens: system 1 %, history
    38 %, message 2 %; 12 messages left out"; "" for a step that has not been sent, and for tools."""
    report = step.details.get("context")
    return "; ".join((_use(step, report["window"], report["tokens"]), *_left_out(report))) if report else ""


def recalled_memories(step: Step) -> list[str]:
    """The ids of the memories that the model was sent, best first."""
    report = step.details.get("context") or {}
    return list(report.get("memories", ()))


def _use(step: Step, window: int, tokens: Mapping[str, int]) -> str:
    """The shares are estimates; they are scaled to what the provider has counted, if it said so."""
    estimated = sum(tokens.values())
    total = step.input_tokens or estimated
    scale = total / estimated if estimated else 0
    parts = ", ".join(f"{name} {_percent(number * scale, window)}" for name, number in tokens.items())
    about = "" if step.input_tokens else "about "
    return f"{about}{_percent(total, window)} of {window:,} tokens: {parts}"


def _percent(number: float, window: int) -> str:
    percent = 100 * number / window
    return f"{percent:.0f} %" if percent >= 1 or not percent else "<1 %"


def _left_out(report: Mapping[str, Any]) -> list[str]:
    words = [
        _count(report.get("messages_left_out"), "message", "left out"),
        "their summary sent" if report.get("summary") else "",
        _count(len(report.get("memories_left_out", ())), "memory", "left out"),
        _count(report.get("tasks_left_out"), "part of the task", "left out"),
        _count(report.get("rounds_left_out"), "round of calls", "left out"),
        _STRATEGIES.get(report.get("strategy", ""), ""),
    ]
    return [word for word in words if word]


def _count(number: int | None, noun: str, participle: str) -> str:
    if not number:
        return ""
    plural = {"memory": "memories", "part of the task": "parts of the task", "round of calls": "rounds of calls"}
    return f"{number:,} {noun if number == 1 else plural.get(noun, noun + 's')} {participle}"
