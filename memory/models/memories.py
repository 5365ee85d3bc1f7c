"""What is remembered: a narrow row that searches scan, and beside it the text and where it comes from."""

from __future__ import annotations

from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from pgvector.django import HalfVectorField

from foundation.ids import new_id
from memory.enums import MemorySource, Tier, Trust
from memory.models.owners import EmbeddingModel, MemoryOwner

_TIERS = (Tier.EPISODIC, Tier.LONG_TERM)


class Memory(models.Model):
    """What a search scans. Current is what nothing supersedes, that is valid now, not expired, and trusted."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(MemoryOwner, on_delete=models.CASCADE, related_name="+", db_index=False)
    tier = models.CharField(max_length=9, choices=[(tier.value, tier.value.replace("_", "-")) for tier in _TIERS])
    actor = models.CharField(max_length=100, blank=True, default="", help_text="Who said it, as named in the text.")
    occurred_at = models.DateTimeField(db_default=Now(), help_text="When it was said or done.")
    thread = models.UUIDField(null=True, help_text="The conversation that it is a part of: a session's id.")
    position = models.IntegerField(null=True, help_text="Its place in the conversation.")
    slot = models.CharField(
        max_length=64, blank=True, default="", help_text="The name of the fact; a new one of that name supersedes it."
    )

    words = SearchVectorField(help_text="Of its text.")
    context_words = SearchVectorField(help_text="Of its text and its two predecessors' in the conversation.")
    embedding = HalfVectorField(null=True, help_text="Normalised; null until it is made.")
    embedding_model = models.ForeignKey(
        EmbeddingModel, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    trust = models.SmallIntegerField(
        default=Trust.DEFAULT.value, choices=[(trust.value, trust.name.lower()) for trust in Trust]
    )
    valid_from = models.DateTimeField(db_default=Now())
    valid_until = models.DateTimeField(null=True, help_text="When it ceased to hold.")
    expires_at = models.DateTimeField(null=True)
    superseded_by = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")

    importance = models.FloatField(default=0.5, help_text="From 0 to 1; ranks eviction, never a search.")
    hits = models.IntegerField(default=0, help_text="How often it was recalled; counted later, in batches.")
    last_hit_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    version = models.PositiveIntegerField(default=1, db_default=1)

    class Meta:
        verbose_name = "memory"
        verbose_name_plural = "memories"
        permissions = [
            ("review_memory", "Can review, merge and purge memories"),
            ("read_memory_text", "Can read the texts of memories"),
        ]
        indexes = [
            models.Index(fields=["owner", "tier"], name="memory_owner"),
            models.Index(fields=["thread", "position"], name="memory_thread", condition=Q(thread__isnull=False)),
            models.Index(fields=["created_at"], name="memory_unembedded", condition=Q(embedding__isnull=True)),
            models.Index(fields=["expires_at"], name="memory_expiry", condition=Q(expires_at__isnull=False)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "slot"],
                condition=~Q(slot="") & Q(superseded_by__isnull=True, valid_until__isnull=True),
                name="memory_slot_current",
            ),
            models.CheckConstraint(condition=Q(tier__in=[tier.value for tier in _TIERS]), name="memory_tier_known"),
            models.CheckConstraint(
                condition=Q(embedding__isnull=True) | Q(embedding_model__isnull=False),
                name="memory_embedding_has_model",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class MemoryBody(models.Model):
    """The text of a memory and where it comes from."""

    memory = models.OneToOneField(Memory, primary_key=True, on_delete=models.CASCADE, related_name="body")
    owner = models.ForeignKey(MemoryOwner, on_delete=models.CASCADE, related_name="+", db_index=False)
    text = models.TextField()
    metadata = models.JSONField(default=dict, blank=True)
    source = models.CharField(max_length=13, choices=[(source.value, source.value) for source in MemorySource])
    # Provenance: rows of another app, which may be gone.
    agent = models.UUIDField(null=True)
    session = models.UUIDField(null=True)
    turn = models.UUIDField(null=True)
    message = models.UUIDField(null=True)
    step = models.BigIntegerField(null=True)
    origin = models.CharField(
        max_length=300, blank=True, default="", help_text="What a tool or an import names as its source."
    )
    # A digest of what makes two memories of one owner the same. Cleared when the memory is superseded or ends, so that
    # the same may hold again later.
    dedup_key = models.BinaryField(max_length=16, null=True)

    class Meta:
        verbose_name = "memory text"
        constraints = [models.UniqueConstraint(fields=["owner", "dedup_key"], name="memory_body_dedup")]
        indexes = [
            models.Index(fields=["session"], name="memory_body_session", condition=Q(session__isnull=False)),
            models.Index(fields=["origin"], name="memory_body_origin", condition=~Q(origin="")),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class MemoryDerivation(models.Model):
    """`memory` was made of `origin`: corrections and erasure of the origin go on to it."""

    memory = models.ForeignKey(Memory, on_delete=models.CASCADE, related_name="derivations")
    origin = models.ForeignKey(Memory, on_delete=models.CASCADE, related_name="derived")

    class Meta:
        verbose_name = "derivation"
        constraints = [models.UniqueConstraint(fields=["memory", "origin"], name="derivation_unique")]

    def __str__(self) -> str:
        return f"{self.memory_id} of {self.origin_id}"


class MemoryKey(models.Model):
    """A further key of a memory: a situation in which it matters, as the model of the extraction named it."""

    memory = models.ForeignKey(Memory, on_delete=models.CASCADE, related_name="keys")
    owner = models.ForeignKey(MemoryOwner, on_delete=models.CASCADE, related_name="+")
    text = models.CharField(max_length=400)
    embedding = HalfVectorField(null=True)
    embedding_model = models.ForeignKey(
        EmbeddingModel, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        verbose_name = "memory key"
        indexes = [models.Index(fields=["id"], name="memory_key_unembedded", condition=Q(embedding__isnull=True))]

    def __str__(self) -> str:
        return self.text[:80]
