"""What the release says of the tool calls of a turn: judged once, when the calls are written, and never anew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from agents.domain.argument_schemas import MAX_VALUES
from agents.domain.model_messages import ToolCall
from agents.domain.prompt_sources import PromptSources, SourceKind, read_sources
from agents.domain.steps import StepRecord
from agents.domain.tool_rights import RightDecision, judge_call, refusal_text
from agents.domain.tool_rules import ToolRight, ToolRule
from agents.domain.verbatim_values import VerbatimTexts
from agents.engine.context import TurnContext, remembers
from agents.engine.ports import ToolRunner
from agents.engine.progress import TurnProgress

# Keys and values of all calls of one answer that are judged.
MAX_BATCH_VALUES: Final = 3_000


class CallRights:
    """The rights of the calls of one claim of a turn. It costs nothing where the release has no rule for their
    tools."""

    def __init__(self, context: TurnContext, progress: TurnProgress, tools: ToolRunner) -> None:
        self._context = context
        self._progress = progress
        self._tools = tools

    async def judge(self, calls: Sequence[ToolCall]) -> list[RightDecision | None]:
        """What happens to each of these calls, which the model has just made; None where the release has no rule."""
        rules = [self.rule_of(call.name) for call in calls]
        if all(rule is None for rule in rules):
            return [None for _ in rules]
        checks_sources = any(rule is not None and rule.checks_sources for rule in rules)
        sources = self._read_sources() if checks_sources else PromptSources()
        # A model chooses how much there is to judge: it is bounded, and still no work for the event loop.
        return await asyncio.to_thread(self._judge_all, list(zip(calls, rules, strict=True)), sources)

    def rule_of(self, tool: str) -> ToolRule | None:
        """The rule for calls of `tool`, if the release lets the agent use it; any other call is none of a tool."""
        release = self._context.release
        return release.rule_of(tool) if release.tool_rights and tool in release.tools else None

    def refusal(self, step: StepRecord) -> str | None:
        """What the model reads in place of a result of a call that must not run; None where it may. It is read from
        what was decided when the call was written: a call whose tool has a rule, and that nobody has judged, is
        refused."""
        if self.rule_of(step.name) is None:
            return None
        decision = step.right or {"decision": ToolRight.DENY}
        runs = decision["decision"] == ToolRight.ALLOW or (decision["decision"] == ToolRight.ASK and "pass" in decision)
        return None if runs else refusal_text(decision)

    def _judge_all(
        self, calls: Sequence[tuple[ToolCall, ToolRule | None]], sources: PromptSources
    ) -> list[RightDecision | None]:
        texts = VerbatimTexts([self._context.release.instructions, *sources.person_texts])
        decisions: list[RightDecision | None] = []
        remaining = MAX_BATCH_VALUES
        for call, rule in calls:
            if rule is None:
                decisions.append(None)
                continue
            specs = self._tools.specs((call.name,))
            decision = judge_call(
                rule,
                call.arguments,
                sources.low_trust,
                texts,
                tool_schema=specs[0].parameters if specs else {},
                max_values=min(remaining, MAX_VALUES),
            )
            remaining = max(0, remaining - decision.values)
            decisions.append(decision)
        return decisions

    def _read_sources(self) -> PromptSources:
        """The sources of the prompt that the model has just answered. What it may have had no room for counts, too."""
        context, client = self._context, self._context.client
        other_kinds = {
            SourceKind.CLIENT: bool(client.instructions or client.tools or client.json),
            SourceKind.TASK: bool(context.task),
            SourceKind.MEMORIES: not all(memory.is_trusted for memory in self._progress.memories),
            SourceKind.SUMMARY: context.summary is not None,
        }
        return read_sources(
            context.history,
            self._progress.parts,
            trusted_tools=self._tools.trusted_names,
            answer_sources=context.answer_sources,
            other_kinds=[kind for kind, is_there in other_kinds.items() if is_there],
            # Notes and memories of earlier turns are in no message.
            is_cut=context.is_cut or remembers(context.release),
            # So are those that an earlier claim of this turn was reminded of.
            is_work_earlier=any(step.result is not None for step in context.steps),
        )
