"""E-mails to users about their accounts."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from foundation.ids import new_id


class OutgoingEmail(models.Model):
    """An e-mail that is to be sent, or was. It holds no link: that is created while sending, and stored nowhere."""

    class Kind(models.TextChoices):
        INVITATION = "invitation"
        FORGOTTEN = "forgotten", "forgotten password"

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # None: the requested name has no account. Such a row keeps the timing equal and is deleted instead of sent.
    user = models.ForeignKey("User", null=True, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    asked_by = models.CharField(max_length=200, help_text="Who made the console write it; empty: the login page.")
    address = models.EmailField(blank=True, default="", help_text="Where it went.")
    state = models.CharField(max_length=7, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(db_default=Now(), help_text="When it is tried, or tried again.")
    error = models.CharField(max_length=300, blank=True, default="", help_text="What the mail server said.")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "outgoing e-mail"
        verbose_name_plural = "outgoing e-mail"
        ordering = ["-id"]
        indexes = [models.Index(fields=["due_at"], name="letter_waiting", condition=Q(state="waiting"))]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} for {self.user}"
