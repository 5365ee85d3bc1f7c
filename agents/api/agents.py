"""The agents that the caller may use."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.actor import Scope
from agents.models import Agent
from agents.permissions.agents import access_agent, visible_agents
from rest.pagination import Order, limit_parameter, paginate
from rest.query_params import read_query, read_slug
from rest.responses import json_response
from rest.views import ApiView

ORDER = Order("agents", ("slug",))


def serialize_agent(agent: Agent) -> dict[str, Any]:
    """The JSON of an agent; `release` is the number of the release that new sessions get."""
    return {
        "slug": agent.slug,
        "name": agent.name,
        "description": agent.description,
        "capabilities": agent.capabilities,
        "release": agent.live_release.number if agent.live_release else None,
        "when_busy": agent.when_busy,
    }


class AgentsView(ApiView):
    """`/api/v1/agents`: the list."""

    def get(self, _request: Request) -> HttpResponse:
        query = read_query(self.http, limit=limit_parameter, cursor=ORDER.cursor_parameter())
        actor = self.who()
        actor.require_scope(Scope.READ)
        rows = visible_agents(actor).select_related("live_release")
        return json_response(paginate(self.http, rows, order=ORDER, shape=serialize_agent, **query))


class AgentView(ApiView):
    """`/api/v1/agents/{slug}`."""

    def get(self, _request: Request, slug: str) -> HttpResponse:
        read_query(self.http)
        actor = self.who()
        actor.require_scope(Scope.READ)
        return json_response(serialize_agent(access_agent(actor=actor, slug=read_slug("slug", slug))))
