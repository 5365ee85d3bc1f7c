"""Models and chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request

from accounts.actor import Scope
from agents.domain.states import TurnStatus
from agents.models import Agent
from agents.openai_api.chunks import Head
from agents.openai_api.errors import HumanAnswers, TurnEnded, openai_error_response
from agents.openai_api.request import CompletionRequest, read_request
from agents.openai_api.streams import Chunks
from agents.openai_api.turn_stream import TurnFollower, TurnUpdate, names
from agents.permissions.agents import access_agent, visible_agents
from agents.sessions import AcceptedCompletion, CompletionResult, ModelNotFound, accept_completion
from foundation.db_threads import in_db_thread
from foundation.errors import BandstandError, NotFound
from rest.errors import MethodNotAllowed
from rest.idempotency import REPLAYED
from rest.media_types import EVENT_STREAM
from rest.query_params import read_query, slug
from rest.responses import json_response
from rest.views import ApiView, AsyncApiView

# So long a stream waits for the first words before it begins: until then a failure still has a status of its own,
# which is what clients look at when they decide whether to try again.
FIRST_WORDS_SECONDS = 5.0


class _OpenAIView(ApiView):
    """Refusals in OpenAI's shape. A client's Accept header is not looked at: theirs asks for JSON, and means both."""

    http_method_names = ["get", "post", "head"]

    def check_request(self) -> None:
        if str(self.http.method) not in self.allowed_methods:
            raise MethodNotAllowed

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        if isinstance(exc, BandstandError):
            self.remaining = exc.context.get("remaining", self.remaining)
        actor = self.actor.name if self.actor else None
        return openai_error_response(exc, actor=actor, method=str(self.http.method), path=self.http.path)


def model_shape(agent: Agent) -> dict[str, Any]:
    created = int(agent.created_at.timestamp())
    return {"id": agent.slug, "object": "model", "created": created, "owned_by": "bandstand"}


class ModelsView(_OpenAIView):
    def get(self, _request: Request) -> HttpResponse:
        read_query(self.http)
        actor = self.who()
        actor.require_scope(Scope.READ)
        return json_response(
            {"object": "list", "data": [model_shape(a) for a in visible_agents(actor).order_by("slug")]}
        )


class ModelView(_OpenAIView):
    def get(self, _request: Request, model: str) -> HttpResponse:
        read_query(self.http)
        actor = self.who()
        actor.require_scope(Scope.READ)
        try:
            return json_response(model_shape(access_agent(actor=actor, slug=slug(model))))
        except (NotFound, ValueError):  # what cannot be a slug is no agent either
            raise ModelNotFound(pointer="/model") from None


class CompletionsView(_OpenAIView, AsyncApiView):
    # Where the answer belongs, be it an error.
    _headers: Mapping[str, str] = {}

    async def post(self, _request: Request) -> HttpResponseBase:
        read_query(self.http)
        asked, accepted = await in_db_thread(self._accept)
        self._headers = names(accepted.session_id, accepted.turn_id) | (REPLAYED if accepted.replayed else {})
        if accepted.turn_id is None:
            raise HumanAnswers
        follower = TurnFollower(
            self.http,
            self.who(),
            session_id=accepted.session_id,
            turn_id=accepted.turn_id,
            seq=accepted.seq,
            catch_up=accepted.replayed,
        )
        try:
            answer, streaming = await self._answer(asked, accepted, follower)
        except BaseException:
            follower.close()
            raise
        if not streaming:
            follower.close()
        return answer

    def _accept(self) -> tuple[CompletionRequest, AcceptedCompletion]:
        # In this thread the reading, too: a large body takes a while.
        asked = read_request(self.http)
        return asked, accept_completion(self.who(), asked.completion)

    async def _answer(
        self, asked: CompletionRequest, accepted: AcceptedCompletion, follower: TurnFollower
    ) -> tuple[HttpResponseBase, bool]:
        head = Head.of(accepted, asked.completion.model)
        if not asked.stream:
            return json_response(head.whole(await _outcome(follower)), headers=self._headers), False
        chunks = Chunks(follower, head, include_usage=asked.include_usage, first=await _first_words(follower))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **self._headers}
        return StreamingHttpResponse(chunks, content_type=EVENT_STREAM, headers=headers), True

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        answer = super().handle_exception(exc)
        for name, value in self._headers.items():
            answer[name] = value
        return answer


async def _outcome(follower: TurnFollower) -> CompletionResult:
    """The answer, however long it takes. Raises `TurnEnded` when there is none."""
    while (outcome := (await follower.hear()).outcome) is None:
        pass
    return _answered(outcome)


def _answered(outcome: CompletionResult) -> CompletionResult:
    if outcome.status is not TurnStatus.COMPLETED:
        raise TurnEnded(outcome)
    return outcome


async def _first_words(follower: TurnFollower) -> TurnUpdate:
    """The first words, the outcome, or nothing after a few seconds. Raises `TurnEnded`."""
    restarted, ends_at = False, monotonic() + FIRST_WORDS_SECONDS
    while (left := ends_at - monotonic()) > 0:
        heard = await follower.hear(left)
        restarted = restarted or heard.restarted
        if heard.outcome is not None:
            _answered(heard.outcome)
        if heard.text or heard.outcome is not None:
            return TurnUpdate(heard.text, restarted, outcome=heard.outcome)
    return TurnUpdate(restarted=restarted)


@csrf_exempt
def unknown(request: HttpRequest, *_args: Any) -> HttpResponse:
    """Every address below `/v1/` that is none: the same answer for every method and everybody."""
    error = NotFound("There is no such address. There are chat/completions and models, without a slash at the end.")
    return openai_error_response(error, actor=None, method=str(request.method), path=request.path)
