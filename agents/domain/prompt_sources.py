"""Who wrote what a model reads, and whether to trust it: the sources of a prompt.

A model mixes all that it reads. So what it writes may come from any source of its prompt, and rights of tools ask for
those with low trust (`agents.domain.tool_rights`). Trusted are the release, the person's own messages and those of the
people who run the platform. Of low trust are results of tools whose output strangers can write, what a client adds
besides the person's words, what another user wrote in a session that was forked, notes, summaries and most memories,
and what the agent wrote after it may have read any of
these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from agents.domain.message_parts import Part, plain_text
from agents.domain.prompt import Item


class SourceKind(StrEnum):
    """What a part of a prompt is, by who wrote it."""

    RELEASE = "release"
    PERSON = "person"
    OPERATOR = "operator"
    CLIENT = "client"
    TOOL = "tool"
    MEMORIES = "memories"
    TASK = "task"
    SUMMARY = "summary"
    OTHER_PERSON = "other_person"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class PromptSource:
    """A source with low trust; `name` is the tool's for `SourceKind.TOOL`."""

    kind: SourceKind
    name: str = ""

    @property
    def text(self) -> str:
        """The source in a sentence: "… came from"."""
        if self.kind is SourceKind.TOOL:
            what = "a web page" if self.name == _WEB_TOOL else "the result of a tool"
            return f"{what} ({self.name[:64]})"
        return _TEXTS[self.kind]


NO_ANSWERS: Final[Mapping[UUID, SourceKind]] = {}
_WEB_TOOL: Final = "http_fetch"
# Strangers do not write its results, and still these hold what was remembered of what they wrote.
_RECALL_TOOL: Final = "recall"
_TEXTS: Final = {
    SourceKind.CLIENT: "what the client's program added",
    SourceKind.MEMORIES: "a memory",
    SourceKind.TASK: "the notes of the session",
    SourceKind.SUMMARY: "the summary of earlier messages",
    SourceKind.OTHER_PERSON: "what another user wrote in the session that this one is a copy of",
    SourceKind.AGENT: "an earlier answer of the agent",
}


@dataclass(frozen=True, slots=True)
class PromptSources:
    """`low_trust`: the sources of a prompt with low trust, each once. `person_texts`: what the person wrote in the
    messages of the prompt, the newest first."""

    low_trust: tuple[PromptSource, ...] = ()
    person_texts: tuple[str, ...] = ()


def read_sources(
    history: Sequence[Item],
    work: Sequence[Part] = (),
    *,
    trusted_tools: Collection[str],
    answer_sources: Mapping[UUID, SourceKind] = NO_ANSWERS,
    other_kinds: Iterable[SourceKind] = (),
    is_cut: bool = False,
    is_work_earlier: bool = False,
) -> PromptSources:
    """The sources of a prompt with this `history`, oldest first and with the question last, and the `work` of its turn
    so far.

    `trusted_tools` are the tools whose results strangers have no part in; `answer_sources` has the answers of the agent
    that were made otherwise than in a plain turn of this session; `other_kinds` are the kinds of low trust of what else
    is in the prompt. `is_cut`: the session has messages before the history, or its earlier prompts had parts that
    nobody can tell any more. `is_work_earlier`: some of the work was made of such an earlier prompt.
    """
    reader = _SourceReader(trusted_tools, may_mix=is_cut)
    for kind in other_kinds:
        reader.add(PromptSource(kind))
    for item in history:
        if item.author == "agent":
            if item.message_id in answer_sources:
                reader.add(PromptSource(answer_sources[item.message_id]))
            reader.read_answer(item.parts, is_earlier=True)
        elif item.author == "user":
            reader.read_question(item.parts)
    # What the agent wrote in this claim was made of what stands here already.
    reader.read_answer(work, is_earlier=is_work_earlier)
    return PromptSources(tuple(reader.low_trust), tuple(reversed(reader.person_texts)))


class _SourceReader:
    """A history that is read from its beginning. `may_mix`: what the agent writes may come from a source with low
    trust."""

    def __init__(self, trusted_tools: Collection[str], *, may_mix: bool) -> None:
        self.low_trust: dict[PromptSource, None] = {}
        self.person_texts: list[str] = []
        self._trusted_tools = trusted_tools
        self._may_mix = may_mix
        self._names: dict[str, set[str]] = {}

    def add(self, source: PromptSource) -> None:
        self.low_trust[source] = None
        self._may_mix = True

    def read_question(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if part["type"] == "tool_result":
                # Of a tool that runs where the client does.
                self.add(PromptSource(SourceKind.TOOL, ", ".join(sorted(self._names.get(part["call_id"], {"client"})))))
            elif part["type"] != "text":
                # Whatever it is, the person has not typed it.
                self.add(PromptSource(SourceKind.CLIENT))
            elif part.get("by"):
                self.add(PromptSource(SourceKind.OTHER_PERSON))
        if text := plain_text(part for part in parts if not part.get("by")):
            self.person_texts.append(text)

    def read_answer(self, parts: Sequence[Part], *, is_earlier: bool) -> None:
        # Ids of calls come again in later answers, and a model can choose them: one id may name several tools.
        names = self._names = _tools_by_id(parts)
        for part in parts:
            if part["type"] == "tool_result":
                called = names.get(part["call_id"], {"unknown"})
                if _RECALL_TOOL in called:
                    self.add(PromptSource(SourceKind.MEMORIES))
                for name in sorted(called - set(self._trusted_tools)):
                    self.add(PromptSource(SourceKind.TOOL, name))
            elif is_earlier and self._may_mix and part["type"] in ("text", "tool_call"):
                self.add(PromptSource(SourceKind.AGENT))


def _tools_by_id(parts: Sequence[Mapping[str, str]]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for part in parts:
        if part["type"] == "tool_call":
            names.setdefault(part["id"], set()).add(part["name"])
    return names
