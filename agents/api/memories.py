"""What is remembered of the caller: list, add, search, correct, forget, export."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.request import Request

from accounts.actor import Actor, Scope
from agents.domain.serialization import moment
from agents.models import Agent
from agents.permissions.agents import visible_agents
from foundation import strict_json
from foundation.db_threads import in_db_thread
from foundation.errors import InvalidInput, Unauthenticated
from memory.enums import MemoryScope, MemorySource, Tier, Trust
from memory.lifecycle.embed_soon import embed_soon
from memory.models import Memory
from memory.ownership import OwnerKey
from memory.reading import access_own_memory, current, memories_of_user, owner_keys_of_user
from memory.recall import RecallRequest, recall
from memory.recall.memory_search import DEFAULT_K, MAX_K
from memory.writing import export_memories, forget_memory, forget_own_memories, remember, revise
from rest.content_negotiation import JSON
from rest.etags import etag, expected_version
from rest.pagination import Order, limit_parameter, paginate
from rest.query_params import one_of, read_id, read_query, slug
from rest.request_body import read_body
from rest.responses import json_response, no_content
from rest.serializers import (
    BooleanField,
    ChoiceField,
    Input,
    IntegerField,
    MomentField,
    ObjectField,
    TextField,
    read_input,
)
from rest.views import ApiView, AsyncApiView

MEMORIES = Order("memories", ("id",), descending=True)
# Whose memories a user may write.
WRITABLE_SCOPES = (MemoryScope.USER.value, MemoryScope.SESSION.value)
_EXPORT_BATCH = 200


class NewMemory(Input):
    """The body of a new memory."""

    text = TextField()
    agent = TextField(required=False)
    slot = TextField(required=False)
    metadata = ObjectField(required=False)


class MemorySearch(Input):
    """The body of a search."""

    query = TextField()
    k = IntegerField(min_value=1, max_value=MAX_K, required=False)
    tier = ChoiceField(choices=[Tier.EPISODIC.value, Tier.LONG_TERM.value], required=False)
    agent = TextField(required=False)
    since = MomentField(required=False)
    until = MomentField(required=False)
    explain = BooleanField(required=False)


class MemoryChange(Input):
    """The body of a correction."""

    text = TextField()


def require_user(actor: Actor, scope: Scope) -> int:
    """The id of the actor's user. Raises `Forbidden`, and `Unauthenticated` for the system."""
    actor.require_scope(scope)
    if actor.user_id is None:
        raise Unauthenticated
    return actor.user_id


def agent_slugs(memories: list[Memory]) -> dict[UUID, str]:
    """The slugs of the agents that remember them, by id."""
    agents = {memory.owner.agent for memory in memories if memory.owner.agent is not None}
    return dict(Agent.objects.filter(pk__in=agents).values_list("pk", "slug")) if agents else {}


def memory_shape(memory: Memory, slugs: dict[UUID, str]) -> dict[str, Any]:
    """The JSON of a memory."""
    owner, body = memory.owner, memory.body
    return {
        "id": str(memory.pk),
        "text": body.text,
        "tier": memory.tier,
        "scope": owner.scope,
        "agent": None if owner.agent is None else slugs.get(owner.agent),
        "session": None if body.session is None else str(body.session),
        "source": body.source,
        "speaker": memory.actor,
        "slot": memory.slot,
        "trust": Trust(memory.trust).name.lower(),
        "metadata": body.metadata,
        "occurred_at": moment(memory.occurred_at),
        "created_at": moment(memory.created_at),
        "valid_from": moment(memory.valid_from),
        "valid_until": None if memory.valid_until is None else moment(memory.valid_until),
        "expires_at": None if memory.expires_at is None else moment(memory.expires_at),
        "superseded_by": None if memory.superseded_by_id is None else str(memory.superseded_by_id),
        "version": memory.version,
    }


def memory_response(user_id: int, memory_id: UUID, *, status: int = 200) -> HttpResponse:
    """The response with the JSON of a memory and its ETag, and its Location with 201."""
    memory = access_own_memory(user_id, memory_id)
    headers = {"ETag": etag(memory.version)}
    if status == 201:
        headers["Location"] = reverse("api:memory", args=[memory.pk])
    return json_response(memory_shape(memory, agent_slugs([memory])), status=status, headers=headers)


def _agent_id(actor: Actor, slug: str) -> UUID:
    agent = visible_agents(actor).filter(slug=slug).values_list("pk", flat=True).first()
    if agent is None:
        raise InvalidInput("There is no such agent.", pointer="/agent")
    return agent


class MemoriesView(ApiView):
    """`/api/v1/memories`: list, add, and forget all."""

    def get(self, _request: Request) -> HttpResponse:
        query = read_query(
            self.http,
            tier=one_of(Tier.EPISODIC.value, Tier.LONG_TERM.value),
            scope=one_of(*(scope.value for scope in MemoryScope if scope is not MemoryScope.AGENT)),
            agent=slug,
            history=one_of("true", "false"),
            limit=limit_parameter,
            cursor=MEMORIES.cursor_parameter(),
        )
        rows = memories_of_user(require_user(self.who(), Scope.READ))
        if query.pop("history", "false") != "true":
            rows = current(rows)
        if (tier := query.pop("tier", None)) is not None:
            rows = rows.filter(tier=tier)
        if (scope := query.pop("scope", None)) is not None:
            rows = rows.filter(owner__scope=scope)
        if (agent := query.pop("agent", None)) is not None:
            rows = rows.filter(owner__agent__in=Agent.objects.filter(slug=agent).values("pk"))
        page = paginate(self.http, rows, order=MEMORIES, shape=lambda memory: memory, **query)
        slugs = agent_slugs(page["results"])
        return json_response({**page, "results": [memory_shape(memory, slugs) for memory in page["results"]]})

    def post(self, _request: Request) -> HttpResponse:
        read_query(self.http)
        actor, body = self.who(), read_body(self.http)
        data = read_input(NewMemory, body)
        user_id = require_user(actor, Scope.CHAT)
        agent = _agent_id(actor, data["agent"]) if "agent" in data else None
        # Without a key of idempotency: a repeat finds what it has stored, and no record keeps a text that is forgotten.
        stored = remember(
            actor,
            OwnerKey(MemoryScope.USER, user_id=user_id, agent_id=agent),
            data["text"],
            # A login is the page, a key a program.
            source=MemorySource.FORM if actor.key_id is None else MemorySource.API,
            speaker=actor.name,
            slot=data.get("slot", ""),
            metadata=data.get("metadata"),
            trust=Trust.CONFIRMED,
        )
        embed_soon(stored.id)
        return memory_response(user_id, stored.id, status=201 if stored.is_new else 200)

    def delete(self, _request: Request) -> HttpResponse:
        if read_query(self.http, all=one_of("true")).get("all") != "true":
            raise InvalidInput("To forget everything, say so: ?all=true.", pointer="")
        deleted, more = forget_own_memories(self.who())
        return json_response({"deleted": deleted, "more": more})


class MemorySearchView(ApiView):
    """`/api/v1/memories/search`: what has to do with a question."""

    @classmethod
    def is_search(cls, _request: HttpRequest) -> bool:
        return True

    def post(self, _request: Request) -> HttpResponse:
        read_query(self.http)
        user_id, data = require_user(self.who(), Scope.READ), read_input(MemorySearch, read_body(self.http))
        agent = _agent_id(self.who(), data["agent"]) if "agent" in data else None
        request = RecallRequest(
            query=data["query"],
            k=data.get("k", DEFAULT_K),
            tiers=(Tier(data["tier"]),) if "tier" in data else (),
            since=data.get("since"),
            until=data.get("until"),
            explain=data.get("explain", False),
        )
        recalled = recall(owner_keys_of_user(user_id, agent), request)
        rows = memories_of_user(user_id).in_bulk([memory.id for memory in recalled.memories])
        slugs = agent_slugs(list(rows.values()))
        results = [
            {
                **memory_shape(rows[memory.id], slugs),
                "score": round(memory.score, 4),
                "signals": {name: round(share, 4) for name, share in memory.signals.items()},
                "contradicts": [str(other) for other in memory.contradicts],
            }
            for memory in recalled.memories
            if memory.id in rows
        ]
        return json_response({"results": results, "low_confidence": recalled.low_confidence})


class MemoryView(ApiView):
    """`/api/v1/memories/{id}`: read, correct and forget."""

    def get(self, _request: Request, memory_id: str) -> HttpResponse:
        read_query(self.http)
        return memory_response(require_user(self.who(), Scope.READ), read_id("memory_id", memory_id))

    def patch(self, _request: Request, memory_id: str) -> HttpResponse:
        read_query(self.http)
        memory_uuid, change = read_id("memory_id", memory_id), read_input(MemoryChange, read_body(self.http))
        user_id, version = self._begin(memory_uuid)
        source = MemorySource.FORM if self.who().key_id is None else MemorySource.API
        stored = revise(self.who(), memory_uuid, change["text"], expected_version=version, source=source)
        embed_soon(stored.id)
        return memory_response(user_id, stored.id)

    def delete(self, _request: Request, memory_id: str) -> HttpResponse:
        read_query(self.http)
        memory_uuid = read_id("memory_id", memory_id)
        _, version = self._begin(memory_uuid)
        forget_memory(self.who(), memory_uuid, expected_version=version)
        return no_content()

    def _begin(self, memory_id: UUID) -> tuple[int, int | None]:
        """The user and the version that is expected. Raises `NotFound` for others' memories, even to reviewers."""
        user_id = require_user(self.who(), Scope.CHAT)
        memory = access_own_memory(user_id, memory_id)
        return user_id, expected_version(self.http, lambda: memory.version)


class MemoryExportView(AsyncApiView):
    """`/api/v1/memories/export`: everything, as a JSON file."""

    media_types = (JSON,)

    async def get(self, _request: Request) -> HttpResponseBase:
        read_query(self.http)
        records = await in_db_thread(export_memories, self.who())
        headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="memories.json"'}
        pieces = _pieces(records) if self.http.method != "HEAD" else _no_pieces()
        return StreamingHttpResponse(pieces, content_type=JSON, headers=headers)


async def _no_pieces() -> Any:
    return
    yield b""


async def _pieces(records: Iterator[dict[str, Any]]) -> Any:
    yield b'{"memories":['
    separator = b""
    while batch := await in_db_thread(lambda: list(islice(records, _EXPORT_BATCH))):
        yield separator + b",".join(strict_json.dumps(_plain(record)) for record in batch)
        separator = b","
    yield b"]}"


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {name: moment(value) if hasattr(value, "astimezone") else value for name, value in record.items()}
