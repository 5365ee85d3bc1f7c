"""Views of models and chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from time import monotonic
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request

from accounts.actor import Scope
from agents.domain.states import TurnStatus
from agents.http.long_responses import LongResponse
from agents.http.request_spans import OPENAI, TurnDelivery, record_admission
from agents.models import Agent
from agents.openai_api.chunks import CompletionHead
from agents.openai_api.completion_request import Delivery, read_request
from agents.openai_api.completion_stream import CompletionStream
from agents.openai_api.errors import MessageHandedOff, no_answer, openai_error_response
from agents.openai_api.turn_stream import TurnFollower, TurnUpdate, response_headers
from agents.permissions.agents import access_agent, visible_agents
from agents.sessions import AcceptedCompletion, CompletionResult, ModelNotFound, accept_completion
from foundation.clock import now
from foundation.db_threads import in_db_thread
from foundation.errors import BandstandError, NotFound
from rest.content_negotiation import EVENT_STREAM
from rest.errors import MethodNotAllowed
from rest.idempotency import REPLAYED
from rest.query_params import slug
from rest.responses import json_response
from rest.views import ApiView, AsyncApiView

# A stream waits so long for the first words before the response starts: until then a failure has an HTTP status of its
# own, by which clients decide whether to retry.
FIRST_WORDS_SECONDS = 5.0


class _OpenAIView(ApiView):
    """Errors in OpenAI's format. The Accept header is ignored: clients send JSON for streams, too. So is the query:
    some clients always send one, such as `api-version`."""

    http_method_names = ["get", "post", "head"]

    def check_request(self) -> None:
        if str(self.http.method) not in self.allowed_methods:
            raise MethodNotAllowed

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        if isinstance(exc, BandstandError):
            self.remaining = exc.context.get("remaining", self.remaining)
        actor = self.actor.name if self.actor else None
        return openai_error_response(exc, actor=actor, method=str(self.http.method), path=self.http.path)


def serialize_model(agent: Agent) -> dict[str, Any]:
    """The JSON of an agent as a model of OpenAI's API."""
    created = int(agent.created_at.timestamp())
    return {"id": agent.slug, "object": "model", "created": created, "owned_by": "bandstand"}


class ModelsView(_OpenAIView):
    """`/v1/models`."""

    def get(self, _request: Request) -> HttpResponse:
        actor = self.who()
        actor.require_scope(Scope.READ)
        return json_response(
            {"object": "list", "data": [serialize_model(a) for a in visible_agents(actor).order_by("slug")]}
        )


class ModelView(_OpenAIView):
    """`/v1/models/{model}`."""

    def get(self, _request: Request, model: str) -> HttpResponse:
        actor = self.who()
        actor.require_scope(Scope.READ)
        try:
            return json_response(serialize_model(access_agent(actor=actor, slug=slug(model))))
        except (NotFound, ValueError):  # an invalid slug names no agent
            raise ModelNotFound(pointer="/model") from None


class CompletionsView(_OpenAIView, AsyncApiView):
    """`/v1/chat/completions`."""

    # The ids of session and turn, also on error responses.
    _headers: Mapping[str, str] = {}

    async def post(self, _request: Request) -> HttpResponseBase:
        started_at = now()
        with ExitStack() as until_handed_over:
            long = until_handed_over.enter_context(LongResponse(self.http, self.who()))
            delivery, accepted = await in_db_thread(self._accept, long)
            record_admission(accepted.agent_id, accepted.session_id, accepted.turn_id, started_at, transport=OPENAI)
            self._headers = response_headers(accepted.session_id, accepted.turn_id) | (
                REPLAYED if accepted.replayed else {}
            )
            if accepted.turn_id is None:
                raise MessageHandedOff
            follower = TurnFollower(
                long,
                self.who(),
                session_id=accepted.session_id,
                turn_id=accepted.turn_id,
                seq=accepted.seq,
                catch_up=accepted.replayed,
                is_behind=accepted.is_behind,
            )
            until_handed_over.callback(follower.close)
            answer = await self._answer(delivery, accepted, follower)
            if answer.streaming:
                until_handed_over.pop_all()
        return answer

    def _accept(self, long: LongResponse) -> tuple[Delivery, AcceptedCompletion]:
        # Parsed in the database thread, too: a large body takes a while. Its megabytes end here; the answer may take
        # minutes.
        request = read_request(self.http)
        long.acquire_slot()
        return request.delivery, accept_completion(self.who(), request.completion)

    async def _answer(
        self, delivery: Delivery, accepted: AcceptedCompletion, follower: TurnFollower
    ) -> HttpResponseBase:
        head = CompletionHead.create(accepted, delivery.model)
        if not delivery.stream:
            return json_response(head.completion(await _wait_for_result(follower)), headers=self._headers)
        assert accepted.turn_id is not None
        chunks = CompletionStream(
            follower,
            head,
            include_usage=delivery.include_usage,
            first=await _wait_for_first_words(follower),
            delivery=TurnDelivery(accepted.agent_id, accepted.session_id, accepted.turn_id, transport=OPENAI),
        )
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **self._headers}
        return StreamingHttpResponse(chunks, content_type=EVENT_STREAM, headers=headers)

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        answer = super().handle_exception(exc)
        for name, value in self._headers.items():
            answer[name] = value
        return answer


async def _wait_for_result(follower: TurnFollower) -> CompletionResult:
    """The result, however long it takes. Raises `MessageHandedOff` or `CompletionFailed` when there is no answer."""
    while (result := (await follower.next_update()).result) is None:
        pass
    return _require_completed(result)


def _require_completed(result: CompletionResult) -> CompletionResult:
    if result.status is not TurnStatus.COMPLETED:
        raise no_answer(result)
    return result


async def _wait_for_first_words(follower: TurnFollower) -> TurnUpdate:
    """The first text or reasoning, or the result; an empty update after `FIRST_WORDS_SECONDS`. Raises
    `MessageHandedOff` or `CompletionFailed`."""
    restarted, ends_at = False, monotonic() + FIRST_WORDS_SECONDS
    while (remaining := ends_at - monotonic()) > 0:
        update = await follower.next_update(remaining)
        restarted = restarted or update.restarted
        if update.result is not None:
            _require_completed(update.result)
        if update.has_words or update.result is not None:
            return TurnUpdate(update.text, update.reasoning, restarted, result=update.result)
    return TurnUpdate(restarted=restarted)


@csrf_exempt
def unknown(request: HttpRequest, *_args: Any) -> HttpResponse:
    """404 for unknown URLs below `/v1/`, whatever the method and the credentials."""
    error = NotFound("There is no such address. There are chat/completions and models, without a slash at the end.")
    return openai_error_response(error, actor=None, method=str(request.method), path=request.path)
