"""Where people choose a password, by the link that an owner made for them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import PasswordResetConfirmView
from django.db import transaction
from django.http import HttpResponse
from django.urls import reverse_lazy

from agents.access.audit import record
from agents.access.permissions import actor_of


class ChoosePassword(PasswordResetConfirmView):
    """The link of `agents.access.people.password_link` leads here. The token leaves the address at once."""

    template_name = "pages/choose_password.html"
    success_url = reverse_lazy("pages:login")

    def get_user(self, uidb64: str) -> Any:
        user = super().get_user(uidb64)
        return user if user is not None and user.is_active else None

    def form_valid(self, form: Any) -> HttpResponse:
        with transaction.atomic():
            answer = super().form_valid(form)
            record(actor_of(form.user), "user.password_chosen", target=form.user)
        return answer
