"""What is remembered of the caller, and the working memory of sessions."""

from __future__ import annotations

from typing import Any

from agents.api.memories import (
    MemoriesView,
    MemoryChange,
    MemoryExportView,
    MemorySearch,
    MemorySearchView,
    MemoryView,
    NewMemory,
)
from agents.api.session_tasks import NewTask, TaskChange, TasksView, TaskView
from memory.enums import MemoryScope, MemorySource, TaskState, Tier, Trust, WorkingKind
from memory.recall.memory_search import DEFAULT_K, MAX_K
from memory.working_memory import MAX_CHARACTERS
from memory.writing.new_memory import MAX_SLOT, MAX_TEXT_BYTES
from rest.schema.json_schema import (
    ANYTHING,
    COUNT,
    ID,
    MOMENT,
    NUMBER,
    SESSION_ID,
    SLUG,
    TEXT,
    THEN,
    WHOLE,
    YES_OR_NO,
    array,
    choice,
    described,
    or_null,
    page_schema,
    record,
    ref,
)
from rest.schema.operation import CURSOR, ETAG, LIMIT, LOCATION, REPLAYED, Answer, Body, Header, Operation, Parameter

MEMORY_ID = "019ab000-0000-7000-8000-000000000007"
TASK_ID = "019ab000-0000-7000-8000-000000000008"
EXAMPLE: dict[str, Any] = {
    "id": MEMORY_ID,
    "text": "I am a vegetarian.",
    "tier": "long_term",
    "scope": "user",
    "agent": "demo",
    "session": None,
    "source": "api",
    "speaker": "ada",
    "slot": "diet",
    "trust": "confirmed",
    "metadata": {},
    "occurred_at": THEN,
    "created_at": THEN,
    "valid_from": THEN,
    "valid_until": None,
    "expires_at": None,
    "superseded_by": None,
    "version": 1,
}
_TASK = {
    "id": TASK_ID,
    "session": SESSION_ID,
    "kind": "task",
    "text": "Book the train.",
    "state": "open",
    "created_at": THEN,
    "updated_at": THEN,
}
_TEXT = described(TEXT, "What is remembered.", minLength=1, maxLength=MAX_TEXT_BYTES)
_SLOT = described(
    TEXT, "The name of the fact, such as `diet`: a new value of that name supersedes the old one.", maxLength=MAX_SLOT
)
_METADATA = described(ANYTHING, "Anything of yours. Agents do not see it.")
_TIERS = (Tier.EPISODIC.value, Tier.LONG_TERM.value)
_TIER = choice(*_TIERS, description="What was said, word for word, or a fact.")
_SCOPE = choice(*(scope.value for scope in MemoryScope), description="To whom it belongs.")
_STATE = choice(*(state.value for state in TaskState), description="Whether it is still to be done.")
_KIND = choice(*(kind.value for kind in WorkingKind))
_DISPOSITION = Header("Content-Disposition", "Under which name to keep it.", 'attachment; filename="memories.json"')

MEMORY_FIELDS = {
    "id": ID,
    "text": _TEXT,
    "tier": _TIER,
    "scope": _SCOPE,
    "agent": described(or_null(SLUG), "The one agent that recalls it; null: every agent."),
    "session": described(or_null(ID), "The conversation that it comes from, which may be gone."),
    "source": choice(*(source.value for source in MemorySource), description="Where it comes from."),
    "speaker": described(TEXT, "Who said it."),
    "slot": described(TEXT, "The name of the fact; empty: it has none."),
    "trust": choice(*(trust.name.lower() for trust in Trust), description="Below `default` it is recalled by nobody."),
    "metadata": _METADATA,
    "occurred_at": described(MOMENT, "When it was said."),
    "created_at": MOMENT,
    "valid_from": MOMENT,
    "valid_until": described(or_null(MOMENT), "When it ceased to hold; null: it holds."),
    "expires_at": described(or_null(MOMENT), "When it will be forgotten; null: it is kept."),
    "superseded_by": described(or_null(ID), "The memory that holds instead."),
    "version": described(COUNT, "Grows with every change; also in the ETag."),
}
COMPONENTS = {
    "Memory": record(MEMORY_FIELDS),
    "MemoryPage": page_schema(ref("Memory")),
    "FoundMemory": record(
        {
            **MEMORY_FIELDS,
            "score": described(NUMBER, "Higher is nearer; only comparable within one answer."),
            "signals": described(
                {"type": "object", "additionalProperties": NUMBER},
                "What each signal adds to the score, with `explain`.",
            ),
            "contradicts": array(ID, description="Others in this answer that give the same fact another value."),
        }
    ),
    "FoundMemories": record(
        {
            "results": array(ref("FoundMemory")),
            "low_confidence": described(YES_OR_NO, "Whether nothing is near the question."),
        }
    ),
    "Forgotten": record({"deleted": COUNT, "more": described(YES_OR_NO, "Whether to ask again, for the rest.")}),
    "MemoryExport": record({"memories": array(ANYTHING, description="With all that is kept of each.")}),
    "Task": record(
        {
            "id": ID,
            "session": ID,
            "kind": _KIND,
            "text": described(TEXT, "What is to be done, or kept in mind.", maxLength=MAX_CHARACTERS),
            "state": _STATE,
            "created_at": MOMENT,
            "updated_at": MOMENT,
        }
    ),
    "TaskList": record({"results": array(ref("Task"))}),
}
OPERATIONS = {
    (MemoriesView, "get"): Operation(
        "list_memories",
        "Memories",
        "What is remembered of you",
        "The newest first. Without `history` only what holds now.",
        [Answer(200, "A page of memories.", ref("MemoryPage"), {"results": [EXAMPLE], "next": None, "previous": None})],
        parameters=[
            Parameter("tier", choice(*_TIERS), "Only what was said, or only facts."),
            Parameter("scope", choice("session", "user", "shared"), "Only those of this scope."),
            Parameter("agent", SLUG, "Only what this agent alone recalls, by its slug."),
            Parameter("history", choice("true", "false"), "`true`: also what holds no longer."),
            LIMIT,
            CURSOR,
        ],
    ),
    (MemoriesView, "post"): Operation(
        "create_memory",
        "Memories",
        "Remember a fact",
        "What holds already is not stored again: the answer is then 200 with the first.",
        [
            Answer(201, "The memory.", ref("Memory"), EXAMPLE, headers=[ETAG, LOCATION]),
            Answer(200, "It was remembered before.", ref("Memory"), EXAMPLE, headers=[ETAG]),
        ],
        scope="chat",
        body=Body(
            NewMemory,
            {
                "text": _TEXT,
                "agent": described(SLUG, "The agent that may recall it; without one, every agent that recalls."),
                "slot": _SLOT,
                "metadata": _METADATA,
            },
            {"text": "I am a vegetarian.", "slot": "diet"},
        ),
    ),
    (MemoriesView, "delete"): Operation(
        "delete_memories",
        "Memories",
        "Forget everything",
        "For a few seconds at a time: ask again while there is more. It cannot be undone. The conversations stay.",
        [Answer(200, "What is gone.", ref("Forgotten"), {"deleted": 12, "more": False})],
        scope="chat",
        parameters=[Parameter("all", choice("true"), "That this is meant.", required=True, example="true")],
    ),
    (MemorySearchView, "post"): Operation(
        "search_memories",
        "Memories",
        "What has to do with a question",
        "The best first, by meaning, words, speakers and dates. Two or three searches at a time.",
        [
            Answer(
                200,
                "What is near.",
                ref("FoundMemories"),
                {
                    "results": [
                        {**EXAMPLE, "score": 1.2, "signals": {"meaning": 0.7, "words": 0.5}, "contradicts": []}
                    ],
                    "low_confidence": False,
                },
            )
        ],
        body=Body(
            MemorySearch,
            {
                "query": described(TEXT, "The question.", minLength=1),
                "k": described(WHOLE, "How many results at most.", minimum=1, maximum=MAX_K, default=DEFAULT_K),
                "tier": choice(*_TIERS, description="Only what was said, or only facts."),
                "agent": described(SLUG, "Only what this agent recalls; without it, what any agent does."),
                "since": described(MOMENT, "Only what was said from then on."),
                "until": described(MOMENT, "Only what was said before."),
                "explain": described(YES_OR_NO, "Whether to say what each signal adds."),
            },
            {"query": "What do I eat?", "explain": True},
        ),
    ),
    (MemoryExportView, "get"): Operation(
        "export_memories",
        "Memories",
        "Everything that is remembered of you, to keep",
        "With what was superseded, and the working memory of your sessions.",
        [
            Answer(
                200,
                "The file.",
                ref("MemoryExport"),
                {"memories": [{"id": MEMORY_ID, "text": "I am a vegetarian."}]},
                headers=[_DISPOSITION],
            )
        ],
    ),
    (MemoryView, "get"): Operation(
        "get_memory",
        "Memories",
        "One memory",
        "With its version in the ETag.",
        [Answer(200, "The memory.", ref("Memory"), EXAMPLE, headers=[ETAG])],
    ),
    (MemoryView, "patch"): Operation(
        "update_memory",
        "Memories",
        "Correct a fact",
        "Nothing is overwritten: a new memory, with another id, supersedes the old one; what was made of that goes.",
        [Answer(200, "The memory that holds now.", ref("Memory"), {**EXAMPLE, "source": "api"}, headers=[ETAG])],
        scope="chat",
        body=Body(MemoryChange, {"text": _TEXT}, {"text": "I am a vegan."}),
        versioned=True,
        refusals={409: "Something newer has superseded it."},
    ),
    (MemoryView, "delete"): Operation(
        "delete_memory",
        "Memories",
        "Forget one",
        "With its older values and what was made of them. It cannot be undone.",
        [Answer(204, "It is gone.")],
        scope="chat",
        versioned=True,
    ),
    (TasksView, "get"): Operation(
        "list_tasks",
        "Memories",
        "The working memory of a session",
        "Goals, tasks and notes, in their order.",
        [Answer(200, "All of them.", ref("TaskList"), {"results": [_TASK]})],
    ),
    (TasksView, "post"): Operation(
        "create_task",
        "Memories",
        "Add to the working memory of a session",
        "The agent sees it with the next turn. It goes with the session.",
        [Answer(201, "The item.", ref("Task"), _TASK, headers=[REPLAYED])],
        scope="chat",
        body=Body(
            NewTask,
            {"text": described(TEXT, "What is to be done.", minLength=1, maxLength=MAX_CHARACTERS), "kind": _KIND},
            {"text": "Book the train."},
        ),
        idempotent=True,
        refusals={409: "The session has as many open items as it may have."},
    ),
    (TaskView, "patch"): Operation(
        "update_task",
        "Memories",
        "Finish or drop a task",
        "What is done is shown to the agent no more.",
        [Answer(200, "The item.", ref("Task"), {**_TASK, "state": "done"})],
        scope="chat",
        body=Body(TaskChange, {"state": _STATE}, {"state": "done"}),
    ),
}
