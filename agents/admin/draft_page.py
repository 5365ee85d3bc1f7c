"""The page on which a draft is read and edited."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts.permissions import user_actor
from agents.admin.draft_form import DraftForm
from agents.admin.stored_configurations import (
    UnreadableConfiguration,
    compare_stored,
    read_configuration,
    unreadable_page,
)
from agents.models import AgentDraft
from agents.permissions.role_permissions import CHANGE_DRAFT, PUBLISH_AGENT
from agents.releases import change_draft
from console.views import console_page, row_url


def draft_page(request: HttpRequest, model_admin: Any, draft: AgentDraft) -> HttpResponse:
    """The form for those who may change the draft, else its values as text; a redirect once the form is saved.

    Only a note where this version cannot read the draft.
    """
    title = f"Draft of {draft.agent}"
    if isinstance(stored := read_configuration(draft), UnreadableConfiguration):
        return unreadable_page(request, model_admin, draft.agent, stored, title=title)
    may_edit = request.user.has_perm(CHANGE_DRAFT)
    form = DraftForm(request.POST if request.method == "POST" and may_edit else None, draft=draft)
    if form.is_bound and _save(request, form):
        messages.success(request, f"The draft of {draft.agent} is saved. What is live has not changed.")
        next_page = "publish_draft" if "_publish" in request.POST else "edit_draft"
        return HttpResponseRedirect(row_url(draft.agent, next_page))
    live = draft.agent.live_release
    comparison = compare_stored(live, draft)
    return console_page(
        request,
        model_admin,
        "console/draft.html",
        title=title,
        agent=draft.agent,
        draft=draft,
        form=form,
        may_edit=may_edit,
        may_publish=request.user.has_perm(PUBLISH_AGENT),
        live=live,
        differences=comparison.differences,
        unreadable=comparison.unreadable,
    )


@transaction.atomic
def _save(request: HttpRequest, form: DraftForm) -> bool:
    """True when the form is valid and saved; validation and writing happen under one lock."""
    if not form.is_valid():
        return False
    change_draft(
        user_actor(request.user),
        agent_id=form.draft.pk,
        expected_version=form.cleaned_data["version"],
        configuration=form.configuration,
    )
    return True
