"""Users and their API keys."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models

from foundation.ids import new_id


class User(AbstractUser):
    """A person or a service account. A custom model from the first migration, because Django cannot swap it later."""

    version = models.PositiveIntegerField(default=1, db_default=1, editable=False)

    class Meta(AbstractUser.Meta):
        verbose_name = "user"
        verbose_name_plural = "users"
        permissions = [
            ("enter_console", "Can enter the console"),
            ("export_lists", "Can export lists of the console"),
            ("use_chat", "Can chat with agents"),
        ]


class ApiKey(models.Model):
    """A key of a user, kept as its public prefix and an HMAC; the key itself is shown once and never stored."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True)
    digest = models.BinaryField(max_length=32)
    scopes = ArrayField(models.CharField(max_length=10))
    connections = models.PositiveIntegerField(
        default=100, help_text="Websockets, event streams and waiting requests that it may have open; 0 is no limit."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        permissions = [("revoke_apikey", "Can revoke API key")]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
