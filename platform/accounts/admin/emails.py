"""Outgoing e-mail: what was requested, and whether it was sent."""

from __future__ import annotations

from django.contrib import admin

from accounts.models import OutgoingEmail
from console.admin import ReadOnlyAdmin
from console.formatting import badge

_LEVELS = {OutgoingEmail.State.WAITING: "warn", OutgoingEmail.State.SENT: "good", OutgoingEmail.State.FAILED: "bad"}


@admin.register(OutgoingEmail)
class OutgoingEmailAdmin(ReadOnlyAdmin):
    query_budget = 7

    list_display = ("created_at", "user", "kind", "status", "address", "error")
    list_select_related = ("user",)
    list_filter = ("state", "kind")
    search_words = ("user__username", "address")
    search_help_text = "The name of a user, or the address that it went to."
    fields = (
        "created_at", "user", "kind", "asked_by", "status",
        "address", "attempts", "due_at", "finished_at", "error",
    )  # fmt: skip

    @admin.display(description="status")
    def status(self, email: OutgoingEmail) -> str:
        return badge(email.get_state_display().lower(), _LEVELS[OutgoingEmail.State(email.state)])
