"""The confirmation pages for publishing a draft and for rolling back to an older release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts.permissions import user_actor
from agents.admin.stored_configurations import (
    UnreadableConfiguration,
    compare_stored,
    read_configuration,
    unreadable_page,
)
from agents.models import Agent, AgentDraft, Configuration, Release
from agents.releases import publish, roll_back
from agents.releases.publication_gate import MAX_REASON, judge_publication, may_override
from console.confirmation import confirmation_page, confirmed_data
from console.views import row_url
from console.widgets import TextInput
from foundation.errors import BandstandError

_TEMPLATE = "console/publish.html"


class PublishForm(forms.Form):
    """A note, and what the user saw: the version of the draft and the live release."""

    note = forms.CharField(
        max_length=200,
        required=False,
        widget=TextInput({"maxlength": 200}),
        help_text="What is new, in a few words.",
    )
    draft = forms.IntegerField(widget=forms.HiddenInput, required=False)
    live = forms.UUIDField(widget=forms.HiddenInput, required=False)


class OverrideForm(PublishForm):
    """For owners, where readiness checks have failed."""

    reason = forms.CharField(
        max_length=MAX_REASON,
        widget=TextInput({"maxlength": MAX_REASON}),
        label="Reason to publish in spite of it",
        help_text="It is kept in the audit trail, with your name and what has failed.",
    )


def publish_page(request: HttpRequest, model_admin: Any, draft: AgentDraft) -> HttpResponse:
    """The confirmation page with the differences and a note; once confirmed, the redirect after publishing. Only a note
    where this version cannot read the draft."""
    agent, live = draft.agent, draft.agent.live_release
    title = f"Publish {agent}"
    if isinstance(stored := read_configuration(draft), UnreadableConfiguration):
        return unreadable_page(request, model_admin, agent, stored, title=title)
    actor = user_actor(request.user)
    verdict = judge_publication(agent, draft.configuration)
    kind = OverrideForm if verdict.problems and may_override(actor) else PublishForm
    form = kind(confirmed_data(request), initial={"draft": draft.version, "live": live and live.pk})
    confirmation = confirmation_page(
        request,
        model_admin,
        title=title,
        message="New sessions will run on this configuration at once. Sessions that exist keep the release they have.",
        yes="Publish",
        back=row_url(agent, "edit_draft"),
        form=form,
        template=_TEMPLATE,
        extra_context=_diff_context(agent, live, draft)
        | {"verdict": verdict, "is_refused": bool(verdict.problems) and kind is PublishForm},
    )
    if confirmation is not None:
        return confirmation
    data = form.cleaned_data
    return _run(
        request,
        agent,
        lambda: publish(
            actor,
            agent_id=agent.pk,
            expected_version=data["draft"] or 0,
            expected_live=data["live"],
            note=data["note"],
            override_reason=data.get("reason", ""),
        ),
    )


def roll_back_page(request: HttpRequest, model_admin: Any, release: Release) -> HttpResponse:
    """The confirmation page with the differences and a note; once confirmed, the redirect after the roll-back. Only a
    note where this version cannot read the release."""
    agent, live = release.agent, release.agent.live_release
    title = f"Roll {agent} back to release {release.number}"
    if isinstance(stored := read_configuration(release), UnreadableConfiguration):
        return unreadable_page(request, model_admin, agent, stored, title=title)
    note = f"Back to release {release.number}."
    form = PublishForm(confirmed_data(request), initial={"live": live and live.pk, "note": note})
    confirmation = confirmation_page(
        request,
        model_admin,
        title=title,
        message=f"Release {release.number} will be published again under a new number. New sessions will run on it at "
        "once, sessions that exist keep the release they have, and the draft stays as it is.",
        yes="Roll back",
        back=row_url(release),
        form=form,
        template=_TEMPLATE,
        extra_context=_diff_context(agent, live, release),
    )
    if confirmation is not None:
        return confirmation
    data = form.cleaned_data
    return _run(
        request,
        agent,
        lambda: roll_back(
            user_actor(request.user),
            agent_id=agent.pk,
            number=release.number,
            expected_live=data["live"],
            note=data["note"],
        ),
    )


def _diff_context(agent: Agent, live: Release | None, new: Configuration) -> dict[str, Any]:
    comparison = compare_stored(live, new)
    return {
        "agent": agent,
        "live": live,
        "differences": comparison.differences,
        "unreadable": comparison.unreadable,
    }


def _run(request: HttpRequest, agent: Agent, verb: Callable[[], Release]) -> HttpResponse:
    try:
        release = verb()
    except BandstandError as error:
        pointer = f" ({error.pointer})" if error.pointer else ""
        messages.error(request, f"Nothing was published. {error.detail}{pointer}")
        return HttpResponseRedirect(row_url(agent, "publish_draft"))
    messages.success(request, f"{release} is live for new sessions.")
    return HttpResponseRedirect(row_url(agent))
