"""Talk to the candidate of a deployment: a page that asks, and the chat with a session of staging."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from accounts.permissions import user_actor
from agents.domain.deployments import ENDED_DEPLOYMENTS
from agents.domain.session_purposes import SessionPurpose
from agents.models import Deployment
from agents.permissions.role_permissions import CHANGE_DRAFT
from agents.sessions import create_session
from console.confirmation import confirmation_page
from console.views import row_url
from foundation.errors import BandstandError


def talk_page(request: HttpRequest, model_admin: Any, deployment_id: UUID) -> HttpResponse:
    """The page that asks; once confirmed, the redirect to the chat. 404 for a deployment that has ended or is not
    there. Raises `PermissionDenied` for users who edit no drafts."""
    if not request.user.has_perm(CHANGE_DRAFT):
        raise PermissionDenied
    open_ones = Deployment.objects.exclude(state__in=sorted(ENDED_DEPLOYMENTS)).select_related("agent", "candidate")
    deployment = open_ones.filter(pk=deployment_id).first()
    if deployment is None:
        raise Http404
    agent, number = deployment.agent, deployment.candidate.number
    confirmation = confirmation_page(
        request,
        model_admin,
        title=f"Talk to release {number} of {agent}?",
        message="The conversation is seen by builders only, is in nobody's list of chats, and counts in no figure of "
        "production. Its models and tools are the real ones; nothing of it is remembered.",
        yes="Talk to it",
        back=row_url(agent),
    )
    if confirmation is not None:
        return confirmation
    try:
        session = create_session(user_actor(request.user), agent_slug=agent.slug, purpose=SessionPurpose.STAGING)
    except BandstandError as error:
        messages.error(request, error.detail)
        return HttpResponseRedirect(row_url(agent))
    return HttpResponseRedirect(f"{reverse('pages:chat')}#{session.pk}")
