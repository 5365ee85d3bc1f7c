"""What the buttons of a handoff's page lead to: a page that asks, the verb, and what is said when another was first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse

from accounts.permissions import user_actor
from agents.admin.inbox.handoff_actions import HandoffAction
from agents.domain.handoffs import HandoffState
from agents.models import Handoff
from agents.sessions.errors import AnsweredByAnother, NotHandedOff
from console.confirmation import confirmation_page, confirmed_data
from console.views import console_page, row_url
from foundation.errors import BandstandError, IdempotencyMismatch


def run_handoff_action(
    request: HttpRequest, model_admin: ModelAdmin[Any], handoff: Handoff, action: HandoffAction
) -> HttpResponse:
    """Do the action and lead to the page of the handoff; or first say what it does, or why it was refused. A form that
    a script sends is answered in JSON: the `key` of the next one, or the `detail` of a refusal, with a `key` if that
    of the form is used up."""
    form = action.make_form(confirmed_data(request), handoff, initial={"key": uuid4()})
    return _ActionRequest(request, model_admin, handoff, action, form).respond()


@dataclass(frozen=True, slots=True)
class _ActionRequest:
    """A request of a button, with the form of its action, if that has one."""

    request: HttpRequest
    model_admin: ModelAdmin[Any]
    handoff: Handoff
    action: HandoffAction
    form: Any

    def respond(self) -> HttpResponse:
        if confirmed_data(self.request) is not None and not self.request.accepts("text/html"):
            return self._answer_script()
        if (page := self._confirmation()) is not None:
            return page
        try:
            self._run()
        except AnsweredByAnother as error:
            return self._conflict(error)
        except BandstandError as error:
            return self._refusal(error)
        messages.success(self.request, self.action.done)
        # A session whose handoff was over may have another one now.
        latest = Handoff.objects.filter(agent_session=self.handoff.agent_session_id).latest("requested_at")
        return HttpResponseRedirect(row_url(latest))

    def _run(self) -> None:
        if self.action.needs_open and self.handoff.state == HandoffState.RESOLVED:
            raise NotHandedOff("It is over already: nothing has changed.")
        data = self.form.cleaned_data if self.form is not None else {}
        self.action.run(user_actor(self.request.user), self.handoff.agent_session_id, data)

    def _answer_script(self) -> HttpResponse:
        if self.form is not None and not self.form.is_valid():
            errors = [str(error) for of_field in self.form.errors.values() for error in of_field]
            return JsonResponse({"detail": " ".join(errors)}, status=422)
        try:
            self._run()
        except AnsweredByAnother as error:
            detail = f"{error.detail} Nothing was sent. Send once more to take it over."
            return JsonResponse({"detail": detail}, status=409)
        except IdempotencyMismatch:
            # The answer to the first had got lost, and the words were changed since.
            detail = "What you wrote before was sent; it stands above. Send once more to send this, too."
            return JsonResponse({"detail": detail, "key": str(uuid4())}, status=409)
        except BandstandError as error:
            return JsonResponse({"detail": error.detail}, status=409)
        return JsonResponse({"key": str(uuid4())})

    def _confirmation(self) -> HttpResponse | None:
        session = self.handoff.agent_session
        return confirmation_page(
            self.request,
            self.model_admin,
            title=f"{self.action.label}: {session.user} with {session.agent}",
            message=self.action.description,
            yes=self.action.label,
            back=row_url(self.handoff),
            form=self.form,
        )

    def _refusal(self, error: BandstandError) -> HttpResponse:
        """With the words that somebody wrote, where there is a field for them."""
        if self.form is not None and self.form.visible_fields():
            self.form.add_error(None, error.detail)
            if (page := self._confirmation()) is not None:
                return page
        messages.error(self.request, error.detail)
        return HttpResponseRedirect(row_url(self.handoff))

    def _conflict(self, error: AnsweredByAnother) -> HttpResponse:
        """Who was first, and what now."""
        data = self.form.cleaned_data if self.form is not None else {}
        page = console_page(
            self.request,
            self.model_admin,
            "console/handoff_conflict.html",
            title="Somebody else was first",
            problem=error.detail,
            text=data.get("text", ""),
            key=data.get("key", ""),
            takes_over=self.action.takes_over,
            label=self.action.label,
            action_url=row_url(self.handoff, self.action.name),
            back=row_url(self.handoff),
        )
        page.status_code = 409
        return page
