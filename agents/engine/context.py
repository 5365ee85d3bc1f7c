"""Everything that a turn needs before its first step, read at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import orjson
import psycopg

from agents.domain.client_options import NO_OPTIONS, ClientOptions, read_options
from agents.domain.configuration import AgentConfiguration, ContextPolicy
from agents.domain.exchanges import stable_history
from agents.domain.marked_blocks import MemoryBlock, Summary, TaskBlock
from agents.domain.prompt import Item
from agents.domain.prompt_sources import NO_ANSWERS, SourceKind
from agents.domain.recordings import Recording
from agents.domain.states import StepKind, StepStatus
from agents.domain.steps import StepRecord
from agents.journal import sql
from agents.journal.claims import Claim
from agents.journal.history_summaries import read_summary
from agents.journal.queries import fetch
from agents.sessions.turn_episodes import uses_memory
from memory.working_memory import read_open_items


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What a claim works on. `history` is the part of the conversation that the release lets the model read, oldest
    first; its last message is the question that this turn answers. `task` and `memories` are what else it is to read,
    `summary` stands for what precedes the history or is dropped of it. `older` are messages right before the history
    that were read, too.

    `client` are the options of the client whose request created this turn, `tool_stalls` is how often it has lost its
    runner while a tool ran. `sends_work`: the model reads what the turn has done so far.

    `is_cut`: there is something before the history, or there was in the prompts of earlier turns. `answer_sources` are
    the answers in it that were not made in a plain turn of the session; they are read where the release has rules for
    its tools. `recording` is the world of a turn that answers an entry of a test set.
    """

    claim: Claim
    release: AgentConfiguration
    history: Sequence[Item]
    steps: Sequence[StepRecord]
    client: ClientOptions = NO_OPTIONS
    tool_stalls: int = 0
    agent_id: UUID | None = None
    task: Sequence[TaskBlock] = ()
    memories: Sequence[MemoryBlock] = ()
    summary: Summary | None = None
    older: Sequence[Item] = ()
    sends_work: bool = True
    is_cut: bool = False
    answer_sources: Mapping[UUID, SourceKind] = field(default_factory=dict)
    recording: Recording | None = None

    @property
    def question_id(self) -> UUID:
        """The id of the message that this turn answers."""
        return self.history[-1].message_id


# Tools that fill the working memory, which belongs to the task of a prompt.
_WORKING_TOOLS = frozenset({"add_task", "finish_task", "note"})
# The first claim of a turn writes this intent.
_FIRST_STEP = StepRecord(1, StepKind.MODEL, StepStatus.INTENT, idempotent=True)

# Releases never change, so a process reads each once. There is room for thousands.
_releases: dict[UUID, AgentConfiguration] = {}
_agents: dict[UUID, UUID] = {}


def load_release(release_id: UUID, *, on: psycopg.Connection | None = None) -> AgentConfiguration:
    """A release's configuration, cached after its first turn in this process.

    Raises `InvalidInput` for one that cannot be read, `NewerConfiguration` for one of a newer version.
    """
    if (release := _releases.get(release_id)) is None:
        [(stored, _agents[release_id])] = fetch(sql.RELEASE, {"release": release_id}, on=on)
        release = _releases[release_id] = AgentConfiguration.parse(orjson.loads(stored))
    return release


def load_context(claim: Claim, *, on: psycopg.Connection | None = None) -> TurnContext:
    """The context of `claim`: one statement for a new turn, one more for a turn that was started before, one where the
    release wants summaries, and one for the working memory of an agent that has one.

    Raises `InvalidInput` or `NewerConfiguration` for a release that this version cannot read.
    """
    release = load_release(claim.release_id, on=on)
    policy = release.context_policy
    read, history, client, is_cut = read_history(claim.turn_id, policy, on=on)
    summary = read_summary(claim.session_id, [item.message_id for item in read], on=on) if policy.summaries else None
    steps, tool_stalls = ([_FIRST_STEP], 0) if claim.epoch == 1 else read_journal(claim.turn_id, on=on)
    return TurnContext(
        claim=claim,
        release=release,
        agent_id=_agents[claim.release_id],
        history=history,
        steps=steps,
        client=client,
        tool_stalls=tool_stalls,
        task=_load_task(claim, on) if _has_working_memory(release) else (),
        summary=summary,
        older=read[: len(read) - len(history)],
        is_cut=is_cut,
        answer_sources=_read_answer_sources(history, on) if release.tool_rights else NO_ANSWERS,
    )


def read_history(
    turn_id: UUID, policy: ContextPolicy, *, on: psycopg.Connection | None = None
) -> tuple[Sequence[Item], Sequence[Item], ClientOptions, bool]:
    """The messages of the way back from a turn's question that are read, those of them that a model may read, oldest
    first, the options of the client that asked, and whether more was before. Of a turn they are the same whenever they
    are read."""
    params = {"turn": turn_id, "messages": policy.history_messages, "bytes": sql.HISTORY_BYTES}
    rows = fetch(sql.HISTORY, params, on=on)
    # A client's instructions are read with the turn that they were sent for.
    read: Sequence[Item] = [
        Item(key, author, orjson.loads(parts), orjson.loads(extras) if extras is not None else None, ordinal)
        for key, author, parts, _, extras, ordinal, _ in rows
        if author != "system"
    ]
    has_older = rows[0][-1]
    history = stable_history(read) if has_older else read
    return read, history, _client_options(rows[-1][3]), has_older or len(read) < len(rows)


def _read_answer_sources(history: Sequence[Item], on: psycopg.Connection | None) -> Mapping[UUID, SourceKind]:
    answers = [item.message_id for item in history if item.author == "agent"]
    rows = fetch(sql.ANSWER_ORIGINS, {"messages": answers}, on=on) if answers else ()
    return {key: SourceKind.CLIENT if is_clients else SourceKind.AGENT for key, is_clients in rows}


def remembers(release: AgentConfiguration) -> bool:
    """Whether prompts of earlier turns may have had notes or memories, which are in no message."""
    return release.memory.recall or _has_working_memory(release)


def _has_working_memory(release: AgentConfiguration) -> bool:
    return uses_memory(release) or not _WORKING_TOOLS.isdisjoint(release.tools)


def _load_task(claim: Claim, on: psycopg.Connection | None) -> Sequence[TaskBlock]:
    return [TaskBlock(item.id, item.text) for item in read_open_items(claim.session_id, claim.turn_id, on=on)]


def _client_options(stored: str | None) -> ClientOptions:
    if stored is None:
        return NO_OPTIONS
    row = orjson.loads(stored)
    return read_options(row["options"], row["system"] or ())


def read_journal(turn_id: UUID, *, on: psycopg.Connection | None = None) -> tuple[list[StepRecord], int]:
    """The steps of a turn that was claimed before, and how often it has lost its runner while a tool ran."""
    rows = fetch(sql.STEPS, {"turn": turn_id}, on=on)
    steps = [
        StepRecord(
            number,
            StepKind(kind),
            StepStatus(status),
            name,
            call_id,
            idempotent,
            orjson.loads(request),
            orjson.loads(result) if result is not None else None,
            *counted,
            right=orjson.loads(right) if right is not None else None,  # type: ignore[misc] # it counts no stars
        )
        for number, kind, status, name, call_id, idempotent, request, result, *counted, right, _ in rows
    ]
    return steps, rows[0][-1] if rows else 0
