"""Pages to choose a password by a link, and to request such a link."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.views import PasswordResetConfirmView
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.text import format_lazy
from django.views.decorators.cache import never_cache
from django.views.generic import FormView

from accounts.audit import record_audit
from accounts.email_outbox import email_enabled
from accounts.lockouts import clear_failures
from accounts.login import add_retry_after_header, client_address, wait_error
from accounts.password_links import AnyLink
from accounts.password_reset import request_password_reset
from accounts.permissions import user_actor
from foundation.errors import RateLimited


class PasswordResetForm(forms.Form):
    who = forms.CharField(max_length=254)


@method_decorator(never_cache, name="dispatch")
class PasswordResetView(FormView):  # type: ignore[type-arg]
    """Requests a password link by e-mail. Response and timing do not tell whether the account exists."""

    form_class = PasswordResetForm
    template_name = "pages/forgotten_password.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(mail_is_on=email_enabled(), sent="sent" in self.request.GET, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not email_enabled():
            return self.get(request, *args, **kwargs)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: PasswordResetForm) -> HttpResponse:
        try:
            request_password_reset(form.cleaned_data["who"], address=client_address(self.request))
        except RateLimited as error:
            form.add_error(None, wait_error(error, "Too many links were asked for."))
            return self.form_invalid(form)
        return HttpResponseRedirect(f"{reverse('pages:forgotten-password')}?sent")

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        response = super().render_to_response(context, **kwargs)
        return add_retry_after_header(response) if isinstance(response, TemplateResponse) else response


class ChoosePasswordView(PasswordResetConfirmView):
    """The links of `accounts.password_links` lead here. Django moves the token from the URL to the session at once."""

    template_name = "pages/choose_password.html"
    success_url = format_lazy("{}?chosen", reverse_lazy("pages:login"))
    token_generator: Any = AnyLink()

    def get_user(self, uidb64: str) -> Any:
        user = super().get_user(uidb64)
        return user if user is not None and user.is_active else None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(mail_is_on=email_enabled(), **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        with transaction.atomic():
            response = super().form_valid(form)
            record_audit(user_actor(form.user), "user.password_chosen", target=form.user)
            clear_failures(form.user)
        return response
