"""A request to a model, built again from the rows that it was made of, and compared with what was sent by its hash.

What was sent is not stored: it would be stored anew with every call, the whole conversation each time. Messages,
releases, results of steps and summaries never change; memories and notes of the task may be erased, and the tools of an
installation change with its packages. Whatever has changed since is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from agents.domain.marked_blocks import MemoryBlock, Summary, TaskBlock
from agents.domain.model_messages import ToolSpec
from agents.domain.prompt import Item
from agents.domain.states import StepKind
from agents.domain.steps import StepRecord
from agents.engine.context import TurnContext, load_release, read_history, read_journal
from agents.engine.fallbacks import simpler_context
from agents.engine.progress import TurnProgress
from agents.engine.prompt import AssembledRequest, RouteInputs, build_request
from agents.engine.sent_requests import digest_text, hash_request
from agents.journal.claims import Claim
from agents.models import HistorySummary, Step, Turn
from foundation.errors import NotFound
from memory.recall import memory_text, reread_memories
from memory.working_memory import read_items

# Returns the tools of these names that are installed here.
FindTools = Callable[[Sequence[str]], tuple[ToolSpec, ...]]

NOT_RECORDED: Final = "Nothing is known of this call but its answer: it has no outcome, or is of an older version."
UNEXPLAINED: Final = "Nothing that it was made of has changed, so it was put together by another version of the code."


@dataclass(frozen=True, slots=True)
class RebuiltRequest:
    """A request as it can be built today. `is_equal`: it is what was sent, by its hash; None where no hash was
    recorded. `differences` say what was erased or has changed since. `memories` are the texts that it holds, which are
    nobody's message."""

    assembled: AssembledRequest
    route: str
    is_equal: bool | None
    sent_hash: str
    rebuilt_hash: str
    differences: Sequence[str] = ()

    @property
    def memories(self) -> Sequence[MemoryBlock]:
        """The memories that it holds."""
        used = set(self.assembled.prompt.used_memories)
        return [memory for memory in self.assembled.memories if memory.id in used]


def rebuild_request(step: Step, turn: Turn, find_tools: FindTools) -> RebuiltRequest:
    """What the model call `step` of `turn` was sent. Raises `NotFound` for steps that are none or were never sent,
    `InvalidInput` or `NewerConfiguration` for a release that this version cannot read."""
    if step.kind != StepKind.MODEL or not step.name or turn.epoch == 0:
        raise NotFound("This step has asked no model.")
    record = step.details.get("request") or {}
    report = step.details.get("context") or {}
    differences: list[str] = []
    context = _read_context(step, turn, record, differences)
    progress = TurnProgress(context)
    if (step.request or {}).get("fallback"):
        # As the fallback asked it: without tools, history and work.
        context = simpler_context(context)
    tools = find_tools(context.release.tools)
    inputs = RouteInputs(
        route=step.name,
        model=step.name.partition(":")[2],
        known_window=report.get("window"),
        token_factor=record.get("factor", 1.0),
    )
    max_tokens = (step.details.get("context_compressed") or {}).get("max_tokens")
    assembled = build_request(context, progress, tools, inputs, max_tokens=max_tokens)
    if (most := record.get("most")) is not None:
        # A budget had no more for its answer.
        assembled = replace(assembled, request=replace(assembled.request, max_output_tokens=most))
    rebuilt_hash, tools_digest = hash_request(assembled.request, assembled.tools_text)
    sent_hash = record.get("hash", "")
    if not sent_hash:
        return RebuiltRequest(assembled, step.name, None, "", rebuilt_hash, [NOT_RECORDED, *differences])
    if sent_hash == rebuilt_hash:
        return RebuiltRequest(assembled, step.name, True, sent_hash, rebuilt_hash)
    if (tools_digest if assembled.tools_text else "") != record.get("tools", ""):
        differences.append(_describe_tools(context.release.tools, tools))
    return RebuiltRequest(assembled, step.name, False, sent_hash, rebuilt_hash, differences or [UNEXPLAINED])


def _read_context(step: Step, turn: Turn, record: Mapping[str, Any], differences: list[str]) -> TurnContext:
    release = load_release(turn.release_id)
    # Nobody writes with it.
    claim = Claim(turn.pk, turn.agent_session_id, turn.release_id, step.epoch, turn.user_id, 0.0)
    read, history, client, _ = read_history(turn.pk, release.context_policy)
    return TurnContext(
        claim=claim,
        release=release,
        history=_cut(read, history, record, differences),
        steps=_steps_before(step),
        client=client,
        task=_read_task(record, differences),
        memories=_read_memories(record, differences),
        summary=_read_summary(record, differences),
    )


def _steps_before(step: Step) -> list[StepRecord]:
    steps, _ = read_journal(step.turn_id)
    return steps[: step.number - 1]


def _cut(
    read: Sequence[Item], history: Sequence[Item], record: Mapping[str, Any], differences: list[str]
) -> Sequence[Item]:
    """The history from the message on that the request began with."""
    first = record.get("first", history[0].ordinal)
    start = next((index for index, item in enumerate(read) if item.ordinal == first), None)
    if start is None:
        differences.append("Messages at the beginning of what it was sent are not there any more.")
        return history
    return read[start:]


def _read_task(record: Mapping[str, Any], differences: list[str]) -> list[TaskBlock]:
    sent = record.get("tasks", ())
    items = read_items([UUID(item_id) for item_id, _ in sent]) if sent else {}
    if gone := len(sent) - len(items):
        differences.append(f"{_count(gone, 'note', 'notes')} of the task went with the turn, or made room for others.")
    task = [TaskBlock(item_id, items[item_id].text) for item_id, _ in sent if item_id in items]
    changed = sum(digest_text(items[item_id].text) != digest for item_id, digest in sent if item_id in items)
    if changed:
        differences.append(f"{_count(changed, 'note', 'notes')} of the task read otherwise now.")
    return task


def _read_memories(record: Mapping[str, Any], differences: list[str]) -> list[MemoryBlock]:
    """The memories that were recalled, best first: their scores only have to be in this order."""
    sent = record.get("memories", ())
    texts = {str(memory.id): memory_text(memory) for memory in reread_memories([UUID(key) for key, _ in sent])}
    if gone := len(sent) - len(texts):
        differences.append(f"{_count(gone, 'memory', 'memories')} that it was sent {_was(gone)} erased since.")
    changed = sum(digest_text(texts[key]) != digest for key, digest in sent if key in texts)
    if changed:
        differences.append(
            f"{_count(changed, 'memory', 'memories')} read otherwise now: what they replaced, or what contradicted "
            "them, was corrected or erased."
        )
    present = [key for key, _ in sent if key in texts]
    return [MemoryBlock(key, texts[key], float(-index)) for index, key in enumerate(present)]


def _read_summary(record: Mapping[str, Any], differences: list[str]) -> Summary | None:
    summary_id = record.get("summary")
    if summary_id is None:
        return None
    row = HistorySummary.objects.filter(pk=summary_id).first()
    if row is None:
        differences.append("The summary of earlier messages is not there any more.")
        return None
    return Summary(str(row.pk), row.text, row.through_id, row.through_ordinal)


def _describe_tools(names: Sequence[str], installed: Sequence[ToolSpec]) -> str:
    missing = sorted(set(names) - {tool.name for tool in installed})
    if missing:
        return f"Tools that it was offered are not installed here any more: {', '.join(missing)}."
    return "Its tools are described in other words by the packages that are installed here now."


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number:,} {singular if number == 1 else plural}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
