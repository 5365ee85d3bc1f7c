"""A client of the REST interface, which holds every answer against the schema, and a runner's work by hand for tests
that need no runner."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
from asgiref.sync import sync_to_async
from django.db import transaction
from django.http.response import HttpResponseBase
from django.test import AsyncClient, Client

from agents.domain.message_parts import text_part
from agents.domain.states import TurnStatus
from agents.domain.usage import BilledUsage
from agents.journal.claims import Claim, claim
from agents.journal.fenced_writes import NewEvent, TurnEnd, append, finish
from agents.models import AgentSession, Message, Runner
from foundation.ids import new_id
from tests.support import declared
from tests.support.event_stream import EventStreamParser, Sent

V1 = "/api/v1"
JSON = "application/json"
PROBLEM = "application/problem+json"


def bearer(key: str | None, **headers: str) -> dict[str, str]:
    return {**({"Authorization": f"Bearer {key}"} if key else {}), **headers}


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else orjson.dumps(body)


class Rest:
    """Synchronous calls with one key (or none)."""

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.client = Client()

    def call(self, method: str, path: str, body: Any = b"", *, content_type: str = JSON, **headers: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.client.generic(
            method, f"{V1}/{path}", encoded(body), content_type, headers=bearer(self.key, **given)
        )
        declared.check_answer(method, f"{V1}/{path}", answer)
        return answer

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = b"", **headers: str) -> Any:
        return self.call("POST", path, body, **headers)


class AsyncRest:
    """The same on the test's own event loop, for turns and streams."""

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.client = AsyncClient()

    async def call(self, method: str, path: str, body: Any = b"", *, content_type: str = JSON, **headers: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.generic(
            method, f"{V1}/{path}", encoded(body), content_type, headers=bearer(self.key, **given)
        )
        declared.check_answer(method, f"{V1}/{path}", answer)
        return answer

    async def get(self, path: str, **headers: str) -> Any:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: Any = b"", **headers: str) -> Any:
        return await self.call("POST", path, body, **headers)


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem in a refusal, after a look at its shape."""
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert answer["Content-Type"] == PROBLEM
    body: dict[str, Any] = json.loads(answer.content)
    assert body["code"] == code, body
    assert body["status"] == status
    assert set(body) - {"retry_after", "resets_at"} == {
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "code",
        "errors",
    }
    assert UUID(body["instance"].removeprefix("urn:uuid:"))
    return body


class SentEvents:
    """Server-sent events of one answer. Whatever looks like an event has to be one."""

    def __init__(self, answer: HttpResponseBase) -> None:
        assert answer["Content-Type"] == "text/event-stream"
        self._answer = answer
        self._chunks: AsyncIterator[bytes] = aiter(answer.streaming_content)  # type: ignore[attr-defined]
        self._parser = EventStreamParser()
        self._sent: list[Sent] = []

    async def next(self) -> dict[str, Any] | None:
        """The next event as `{id, event, data}` (an error has no id), a comment as `{comment}`; None at the end."""
        while not self._sent:
            try:
                self._sent += self._parser.feed(await anext(self._chunks))
            except StopAsyncIteration:
                return None
        fields = self._sent.pop(0)
        if "comment" in fields:
            return dict(fields)
        data = json.loads(fields["data"])
        declared.check_event(data)
        return {"id": int(fields["id"]) if "id" in fields else None, "event": fields["event"], "data": data}

    async def events(self) -> list[dict[str, Any]]:
        """All events until the end of the stream."""
        found = []
        while (event := await self.next()) is not None:
            if "comment" not in event:
                found.append(event)
        return found

    async def take(self, count: int) -> list[dict[str, Any]]:
        """The next `count` events."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            event = await self.next()
            assert event is not None, found
            if "comment" not in event:
                found.append(event)
        return found

    async def close(self) -> None:
        """Go away, as a client that closes its connection does."""
        await sync_to_async(self._answer.close)()
        await asyncio.sleep(0)


def take_turn() -> Claim:
    """Claim the next turn, as a runner does; but one whose session somebody has locked is waited for."""
    runner = Runner.objects.create(host="tests", pid=1, capacity=1)
    with transaction.atomic():
        list(AgentSession.objects.select_for_update(no_key=True).order_by("pk"))
        (taken,) = claim(runner_id=runner.pk, limit=1, running_per_user=10, lease_seconds=60)
    return taken


def say(taken: Claim, *words: str) -> None:
    append(taken, [NewEvent("message.delta", {"text": word}) for word in words])


def end_turn(taken: Claim, text: str = "Hello.") -> None:
    """Answer the turn and end it."""
    asked = Message.objects.get(turn=taken.turn_id, author=Message.Author.USER)
    usage = BilledUsage(output_tokens=2)
    finish(
        taken,
        TurnEnd(
            TurnStatus.COMPLETED,
            question_id=asked.pk,
            message_id=new_id(),
            parts=[text_part(text)],
            data={"usage": usage.shape},
            usage=usage,
        ),
    )
