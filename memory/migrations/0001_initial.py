"""The extension that vector columns need, and the tables of memory."""

import django.contrib.postgres.fields
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.functions.datetime
import pgvector.django.halfvec
from django.conf import settings
from django.db import migrations, models
from pgvector.django import VectorExtension

import foundation.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        VectorExtension(),
        migrations.CreateModel(
            name="EmbeddingModel",
            fields=[
                ("id", models.SmallAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=200, unique=True)),
                ("dimensions", models.PositiveIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="MemoryPool",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("name", models.CharField(max_length=80, unique=True)),
                (
                    "agents",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(),
                        blank=True,
                        default=list,
                        help_text="The agents that share it.",
                        size=None,
                    ),
                ),
                (
                    "personal",
                    models.BooleanField(
                        default=True,
                        help_text="Each user has memories of their own in it. If not, everybody's answers draw on them.",
                    ),
                ),
                ("version", models.PositiveIntegerField(db_default=1, default=1, editable=False)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
            options={
                "verbose_name": "memory pool",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="MemoryOwner",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "scope",
                    models.CharField(
                        choices=[("session", "session"), ("user", "user"), ("agent", "agent"), ("shared", "shared")],
                        max_length=7,
                    ),
                ),
                ("agent", models.UUIDField(null=True)),
                ("session", models.UUIDField(null=True)),
                (
                    "memories",
                    models.IntegerField(
                        default=0, help_text="About how many current memories it has; counted by a job."
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="memory.memorypool"
                    ),
                ),
            ],
            options={
                "verbose_name": "memory owner",
            },
        ),
        migrations.CreateModel(
            name="Memory",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "tier",
                    models.CharField(choices=[("episodic", "episodic"), ("long_term", "long-term")], max_length=9),
                ),
                (
                    "actor",
                    models.CharField(
                        blank=True, default="", help_text="Who said it, as named in the text.", max_length=100
                    ),
                ),
                (
                    "occurred_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), help_text="When it was said or done."
                    ),
                ),
                (
                    "thread",
                    models.UUIDField(help_text="The conversation that it is a part of: a session's id.", null=True),
                ),
                ("position", models.IntegerField(help_text="Its place in the conversation.", null=True)),
                (
                    "slot",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="The name of the fact; a new one of that name supersedes it.",
                        max_length=64,
                    ),
                ),
                ("words", django.contrib.postgres.search.SearchVectorField(help_text="Of its text.")),
                (
                    "context_words",
                    django.contrib.postgres.search.SearchVectorField(
                        help_text="Of its text and its two predecessors' in the conversation."
                    ),
                ),
                (
                    "embedding",
                    pgvector.django.halfvec.HalfVectorField(help_text="Normalised; null until it is made.", null=True),
                ),
                (
                    "trust",
                    models.SmallIntegerField(
                        choices=[(0, "rejected"), (1, "quarantined"), (2, "default"), (3, "confirmed")], default=2
                    ),
                ),
                ("valid_from", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("valid_until", models.DateTimeField(help_text="When it ceased to hold.", null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "importance",
                    models.FloatField(default=0.5, help_text="From 0 to 1; ranks eviction, never a search."),
                ),
                (
                    "hits",
                    models.IntegerField(default=0, help_text="How often it was recalled; counted later, in batches."),
                ),
                ("last_hit_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("version", models.PositiveIntegerField(db_default=1, default=1)),
                (
                    "embedding_model",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="memory.embeddingmodel",
                    ),
                ),
                (
                    "superseded_by",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="memory.memory"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="memory.memoryowner",
                    ),
                ),
            ],
            options={
                "verbose_name": "memory",
                "verbose_name_plural": "memories",
                "permissions": [
                    ("review_memory", "Can review, merge and purge memories"),
                    ("read_memory_text", "Can read the texts of memories"),
                ],
            },
        ),
        migrations.CreateModel(
            name="WorkingItem",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "turn",
                    models.UUIDField(help_text="Gone with the end of this turn; null: with the session.", null=True),
                ),
                (
                    "kind",
                    models.CharField(choices=[("goal", "goal"), ("task", "task"), ("note", "note")], max_length=4),
                ),
                ("text", models.CharField(max_length=2000)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "open"), ("done", "done"), ("dropped", "dropped")],
                        default="open",
                        max_length=7,
                    ),
                ),
                ("position", models.IntegerField(default=0)),
                ("version", models.PositiveIntegerField(db_default=1, default=1)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="working_items",
                        to="memory.memoryowner",
                    ),
                ),
            ],
            options={
                "verbose_name": "working memory",
                "verbose_name_plural": "working memory",
                "ordering": ["owner", "position", "id"],
            },
        ),
        migrations.CreateModel(
            name="MemoryBody",
            fields=[
                (
                    "memory",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="body",
                        serialize=False,
                        to="memory.memory",
                    ),
                ),
                ("text", models.TextField()),
                ("metadata", models.JSONField(blank=True, default=dict)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("turn", "turn"),
                            ("remember", "remember"),
                            ("form", "form"),
                            ("api", "api"),
                            ("tool", "tool"),
                            ("extraction", "extraction"),
                            ("consolidation", "consolidation"),
                        ],
                        max_length=13,
                    ),
                ),
                ("agent", models.UUIDField(null=True)),
                ("session", models.UUIDField(null=True)),
                ("turn", models.UUIDField(null=True)),
                ("message", models.UUIDField(null=True)),
                ("step", models.BigIntegerField(null=True)),
                (
                    "origin",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="What a tool or an import names as its source.",
                        max_length=300,
                    ),
                ),
                ("dedup_key", models.BinaryField(max_length=16, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="memory.memoryowner",
                    ),
                ),
            ],
            options={
                "verbose_name": "memory text",
            },
        ),
        migrations.CreateModel(
            name="MemoryDerivation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "memory",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="derivations", to="memory.memory"
                    ),
                ),
                (
                    "origin",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="derived", to="memory.memory"
                    ),
                ),
            ],
            options={
                "verbose_name": "derivation",
                "constraints": [models.UniqueConstraint(fields=("memory", "origin"), name="derivation_unique")],
            },
        ),
        migrations.CreateModel(
            name="MemoryKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.CharField(max_length=400)),
                ("embedding", pgvector.django.halfvec.HalfVectorField(null=True)),
                (
                    "embedding_model",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="memory.embeddingmodel",
                    ),
                ),
                (
                    "memory",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="keys", to="memory.memory"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="memory.memoryowner"
                    ),
                ),
            ],
            options={
                "verbose_name": "memory key",
                "indexes": [
                    models.Index(
                        condition=models.Q(("embedding__isnull", True)), fields=["id"], name="memory_key_unembedded"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(fields=["owner", "tier"], name="memory_owner"),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                condition=models.Q(("thread__isnull", False)), fields=["thread", "position"], name="memory_thread"
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                condition=models.Q(("embedding__isnull", True)), fields=["created_at"], name="memory_unembedded"
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False)), fields=["expires_at"], name="memory_expiry"
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    models.Q(("slot", ""), _negated=True),
                    ("superseded_by__isnull", True),
                    ("valid_until__isnull", True),
                ),
                fields=("owner", "slot"),
                name="memory_slot_current",
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=models.Q(("tier__in", ["episodic", "long_term"])), name="memory_tier_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=models.Q(("embedding__isnull", True), ("embedding_model__isnull", False), _connector="OR"),
                name="memory_embedding_has_model",
            ),
        ),
        migrations.AddIndex(
            model_name="memoryowner",
            index=models.Index(
                condition=models.Q(("session__isnull", False)), fields=["session"], name="owner_session"
            ),
        ),
        migrations.AddIndex(
            model_name="memoryowner",
            index=models.Index(condition=models.Q(("agent__isnull", False)), fields=["agent"], name="owner_agent"),
        ),
        migrations.AddConstraint(
            model_name="memoryowner",
            constraint=models.UniqueConstraint(
                fields=("scope", "user", "agent", "session", "pool"), name="owner_unique", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="memoryowner",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("pool__isnull", True), ("scope", "session"), ("session__isnull", False)),
                    models.Q(
                        ("pool__isnull", True), ("scope", "user"), ("session__isnull", True), ("user__isnull", False)
                    ),
                    models.Q(
                        ("agent__isnull", False),
                        ("pool__isnull", True),
                        ("scope", "agent"),
                        ("session__isnull", True),
                        ("user__isnull", True),
                    ),
                    models.Q(
                        ("agent__isnull", True), ("pool__isnull", False), ("scope", "shared"), ("session__isnull", True)
                    ),
                    _connector="OR",
                ),
                name="owner_matches_scope",
            ),
        ),
        migrations.AddIndex(
            model_name="workingitem",
            index=models.Index(condition=models.Q(("turn__isnull", False)), fields=["turn"], name="working_turn"),
        ),
        migrations.AddIndex(
            model_name="memorybody",
            index=models.Index(
                condition=models.Q(("session__isnull", False)), fields=["session"], name="memory_body_session"
            ),
        ),
        migrations.AddIndex(
            model_name="memorybody",
            index=models.Index(
                condition=models.Q(("origin", ""), _negated=True), fields=["origin"], name="memory_body_origin"
            ),
        ),
        migrations.AddConstraint(
            model_name="memorybody",
            constraint=models.UniqueConstraint(fields=("owner", "dedup_key"), name="memory_body_dedup"),
        ),
    ]
