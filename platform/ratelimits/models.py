"""The token buckets of rate limits. The table is UNLOGGED: a crash of PostgreSQL empties it, so all are full."""

from __future__ import annotations

from django.db import models


class Bucket(models.Model):
    """A token bucket (`ratelimits.buckets`). An absent row is a full one."""

    key = models.CharField(primary_key=True, max_length=100)
    full_at = models.DateTimeField(help_text="When it is full again.")
    granted = models.IntegerField(help_text="Tokens of the last taking.")

    def __str__(self) -> str:
        return self.key
