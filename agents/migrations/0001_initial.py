import datetime
from decimal import Decimal

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.comparison
import django.db.models.functions.datetime
import django.db.models.lookups
from django.conf import settings
from django.db import migrations, models

import agents.domain.states
import foundation.ids
from agents.migrations._buckets import ADD_BUCKETS, ADD_BUCKETS_BACK
from agents.migrations._guards import (
    RELEASE_GUARD,
    RELEASE_GUARD_BACK,
    STORAGE,
    STORAGE_BACK,
    TURN_GUARD,
    TURN_GUARD_BACK,
    UNLOGGED,
)
from agents.migrations._log_page import LOG_PAGE_END, LOG_PAGE_END_BACK
from agents.migrations._row_checks import ROW_CHECKS, ROW_CHECKS_BACK
from agents.migrations._statistics import STATISTICS, STATISTICS_BACK


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(ROW_CHECKS, ROW_CHECKS_BACK),
        migrations.CreateModel(
            name="Agent",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=100)),
                ("description", models.TextField(blank=True)),
                (
                    "capabilities",
                    models.JSONField(blank=True, default=list, help_text="Words that say what it can do."),
                ),
                (
                    "when_busy",
                    models.CharField(
                        choices=[("enqueue", "enqueue"), ("reject", "reject"), ("interrupt", "interrupt")],
                        default="enqueue",
                        max_length=9,
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Who may talk to it. None: everybody.",
                        related_name="agents",
                        to="auth.group",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
                "permissions": [("publish_agent", "Can publish a release of an agent")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("when_busy__in", ["enqueue", "reject", "interrupt"])),
                        name="agent_when_busy_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="WebProcess",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "verbose_name_plural": "web processes",
            },
        ),
        migrations.CreateModel(
            name="Release",
            fields=[
                ("configuration", models.JSONField(help_text='{"schema": 1, "model_chain": ["offline:"], ...}')),
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("number", models.PositiveIntegerField()),
                ("note", models.CharField(blank=True, max_length=200)),
                ("published_at", models.DateTimeField(auto_now_add=True)),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="releases", to="agents.agent"
                    ),
                ),
                (
                    "published_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["agent", "-number"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("configuration__has_key", "schema")),
                        name="release_configuration_has_schema",
                    ),
                    models.UniqueConstraint(fields=("agent", "number"), name="release_number_unique"),
                    models.CheckConstraint(condition=models.Q(("number__gte", 1)), name="release_number_positive"),
                ],
            },
        ),
        migrations.CreateModel(
            name="AgentSession",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("title", models.CharField(blank=True, max_length=200)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("state", models.JSONField(blank=True, default=dict)),
                ("version", models.PositiveIntegerField(default=1)),
                (
                    "controller",
                    models.CharField(choices=[("agent", "Agent"), ("human", "Human")], default="agent", max_length=5),
                ),
                (
                    "listed",
                    models.BooleanField(db_default=True, default=True, help_text="Shown in its user's list of chats."),
                ),
                ("expires_at", models.DateTimeField(blank=True, help_text="Deleted after this, if ever.", null=True)),
                ("next_seq", models.BigIntegerField(default=1)),
                ("next_ordinal", models.IntegerField(default=1)),
                ("open_turns", models.IntegerField(default=0, help_text="Turns that are not terminal.")),
                ("head_message_id", models.UUIDField(blank=True, null=True)),
                ("active_turn_id", models.UUIDField(blank=True, null=True)),
                ("active_epoch", models.IntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "updated_at",
                    models.DateTimeField(auto_now_add=True, help_text="When its last message was accepted."),
                ),
                (
                    "agent",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sessions",
                        to="agents.agent",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="agent_sessions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sessions",
                        to="agents.release",
                    ),
                ),
            ],
            options={
                "verbose_name": "session",
                "permissions": [
                    ("view_transcript", "Can read the transcripts of others"),
                    ("fork_agentsession", "Can fork the sessions of others"),
                ],
                "indexes": [
                    models.Index(fields=["user", "listed", "-updated_at", "-id"], name="session_of_user"),
                    models.Index(fields=["-created_at"], name="session_newest"),
                    models.Index(fields=["agent", "id"], name="session_of_agent"),
                    models.Index(fields=["release", "id"], name="session_of_release"),
                    models.Index(
                        condition=models.Q(("expires_at__isnull", False)), fields=["expires_at"], name="session_expiry"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Func(
                            "controller",
                            "next_seq",
                            "next_ordinal",
                            "open_turns",
                            function="agents_session_row_check",
                            output_field=models.BooleanField(),
                        ),
                        name="session_row_check",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="agent",
            name="live_release",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="agents.release",
            ),
        ),
        migrations.CreateModel(
            name="Runner",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("host", models.CharField(max_length=255)),
                ("pid", models.IntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[("running", "Running"), ("draining", "Draining"), ("stopped", "Stopped")],
                        default="running",
                        max_length=8,
                    ),
                ),
                ("capacity", models.IntegerField()),
                ("running", models.IntegerField(default=0)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("heartbeat_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "claim_limit",
                    models.IntegerField(
                        blank=True,
                        help_text="How many turns it may have at a time, if fewer than its capacity.",
                        null=True,
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        blank=True,
                        choices=[("free_memory", "Free Memory"), ("restart", "Restart")],
                        default="",
                        max_length=12,
                    ),
                ),
                ("action_id", models.UUIDField(blank=True, null=True)),
                ("action_started_at", models.DateTimeField(null=True)),
                ("action_finished_at", models.DateTimeField(null=True)),
                ("action_outcome", models.CharField(blank=True, default="", max_length=400)),
            ],
            options={
                "ordering": ["-heartbeat_at"],
                "indexes": [models.Index(fields=["-heartbeat_at"], name="runner_heartbeat")],
            },
        ),
        migrations.CreateModel(
            name="ConnectionSlot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("user_id", models.BigIntegerField()),
                ("key_id", models.UUIDField(null=True)),
                ("slot", models.IntegerField()),
                ("process_id", models.UUIDField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user_id", "key_id", "slot"), name="connection_slot_unique", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Turn",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("ordinal", models.IntegerField(help_text="The ordinal of its message.")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("running", "running"),
                            ("waiting", "waiting"),
                            ("retry_wait", "retry wait"),
                            ("cancelling", "cancelling"),
                            ("completed", "completed"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                            ("expired", "expired"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("priority", models.SmallIntegerField(choices=[(0, "interactive"), (10, "background")], default=0)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("fingerprint", models.BinaryField(help_text="SHA-256 of the canonical request.", max_length=32)),
                (
                    "client_options",
                    models.JSONField(
                        blank=True,
                        help_text="What a client asked for besides: see agents.domain.client_options.",
                        null=True,
                    ),
                ),
                ("epoch", models.IntegerField(default=0, help_text="Raised by every claim.")),
                ("attempts_without_progress", models.SmallIntegerField(default=0)),
                (
                    "tool_stalls",
                    models.SmallIntegerField(
                        db_default=0, default=0, help_text="How often its lease was lost while a tool of it ran."
                    ),
                ),
                ("lease_expires_at", models.DateTimeField(null=True)),
                (
                    "available_at",
                    models.DateTimeField(help_text="When a wait ends, if nothing ends it before.", null=True),
                ),
                (
                    "wait_reason",
                    models.CharField(
                        blank=True,
                        choices=[("approval", "approval"), ("children", "children"), ("budget", "budget")],
                        default="",
                        max_length=8,
                    ),
                ),
                (
                    "resumes",
                    models.BooleanField(default=False, help_text="It comes back from a wait: its next claim goes on."),
                ),
                ("queued_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("deadline_at", models.DateTimeField()),
                ("error_class", models.CharField(blank=True, default="", max_length=20)),
                ("error_detail", models.TextField(blank=True, default="")),
                ("error_id", models.UUIDField(null=True)),
                ("input_tokens", models.IntegerField(help_text="Null: unknown, such as before the end.", null=True)),
                ("output_tokens", models.IntegerField(help_text="Null: unknown, such as before the end.", null=True)),
                (
                    "cost_usd",
                    models.DecimalField(
                        decimal_places=8, help_text="Null: the price is unknown.", max_digits=14, null=True
                    ),
                ),
                (
                    "fallback",
                    models.CharField(
                        choices=[
                            ("cached_response", "cached response"),
                            ("simplified_response", "simplified response"),
                            ("human_handoff", "human handoff"),
                            ("error_response", "error response"),
                        ],
                        help_text="What it ended with in place of an answer.",
                        max_length=20,
                        null=True,
                    ),
                ),
                (
                    "prompt_hash",
                    models.BinaryField(
                        help_text="Of all that its model was sent, where its answer may be shown again.",
                        max_length=32,
                        null=True,
                    ),
                ),
                (
                    "retried_by",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="The later turn that asked the same question again: the one that answered it, or "
                        "else the newest.",
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agents.turn",
                    ),
                ),
                ("compacted", models.BooleanField(default=False, help_text="Its deltas are compacted.")),
                (
                    "remembered",
                    models.BooleanField(
                        db_default=False, default=False, help_text="What was said in it was remembered."
                    ),
                ),
                (
                    "agent_session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="turns",
                        to="agents.agentsession",
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="agents.release",
                    ),
                ),
                (
                    "runner",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="agents.runner",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("cancel_turn", "Can cancel the turns of others"),
                    ("retry_turn", "Can retry the turns of others"),
                    ("requeue_turn", "Can take a turn away from its runner"),
                    ("fail_turn", "Can fail a turn"),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "queued")), fields=["user", "priority", "id"], name="turn_queue"
                    ),
                    models.Index(
                        condition=models.Q(("lease_expires_at__isnull", False)),
                        fields=["user", "lease_expires_at"],
                        name="turn_owned",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", True), ("lease_expires_at__isnull", True)),
                        fields=["deadline_at"],
                        name="turn_due",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["waiting", "retry_wait"])),
                        fields=["available_at"],
                        name="turn_wait",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", True)),
                        fields=["agent_session", "ordinal"],
                        name="turn_unfinished",
                    ),
                    models.Index(
                        condition=models.Q(("compacted", False), ("finished_at__isnull", False)),
                        fields=["finished_at"],
                        name="turn_uncompacted",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", False)),
                        fields=["release", "id"],
                        name="turn_of_release",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", False)), fields=["user", "id"], name="turn_of_user"
                    ),
                    models.Index(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    agents.domain.states.TurnStatus["CANCELLED"],
                                    agents.domain.states.TurnStatus["EXPIRED"],
                                    agents.domain.states.TurnStatus["FAILED"],
                                ],
                            )
                        ),
                        fields=["id"],
                        name="turn_ended_badly",
                    ),
                    models.Index(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    agents.domain.states.TurnStatus["CANCELLED"],
                                    agents.domain.states.TurnStatus["EXPIRED"],
                                    agents.domain.states.TurnStatus["FAILED"],
                                ],
                            )
                        ),
                        fields=["error_class", "id"],
                        name="turn_of_error",
                    ),
                    models.Index(
                        condition=models.Q(("error_id__isnull", False)), fields=["error_id"], name="turn_error"
                    ),
                    models.Index(
                        condition=models.Q(("cost_usd__gte", Decimal("0.01"))), fields=["cost_usd"], name="turn_dear"
                    ),
                    models.Index(
                        models.F("id"),
                        models.ExpressionWrapper(
                            models.F("finished_at") - models.F("queued_at"), output_field=models.DurationField()
                        ),
                        condition=models.Q(
                            django.db.models.lookups.GreaterThanOrEqual(
                                models.ExpressionWrapper(
                                    models.F("finished_at") - models.F("queued_at"), output_field=models.DurationField()
                                ),
                                datetime.timedelta(seconds=30),
                            )
                        ),
                        name="turn_slow",
                    ),
                    models.Index(condition=models.Q(("retried_by__isnull", False)), fields=["id"], name="turn_retried"),
                    models.Index(
                        condition=models.Q(("fallback__isnull", False)), fields=["fallback", "id"], name="turn_fallback"
                    ),
                    models.Index(
                        condition=models.Q(("prompt_hash__isnull", False)),
                        fields=["user", "prompt_hash", "id"],
                        name="turn_prompt",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("agent_session", "ordinal"), name="turn_ordinal_unique"),
                    models.UniqueConstraint(
                        condition=models.Q(("idempotency_key__isnull", False)),
                        fields=("agent_session", "idempotency_key"),
                        name="turn_key_unique",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    agents.domain.states.TurnStatus["CANCELLING"],
                                    agents.domain.states.TurnStatus["RUNNING"],
                                ],
                            )
                        ),
                        fields=("agent_session",),
                        name="turn_one_owned_per_session",
                    ),
                    models.CheckConstraint(
                        condition=models.Func(
                            "status",
                            "lease_expires_at",
                            "finished_at",
                            "available_at",
                            "wait_reason",
                            "error_class",
                            function="agents_turn_row_check",
                            output_field=models.BooleanField(),
                        ),
                        name="turn_row_check",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Step",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.SmallIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[("model", "model"), ("tool", "tool"), ("fallback", "fallback")], max_length=8
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("intent", "intent"), ("done", "done"), ("failed", "failed"), ("unknown", "unknown")],
                        default="intent",
                        max_length=7,
                    ),
                ),
                ("epoch", models.IntegerField(help_text="The claim that tried it last.")),
                (
                    "name",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="The route that was asked, or the tool's or fallback's name.",
                        max_length=200,
                    ),
                ),
                (
                    "call_id",
                    models.CharField(
                        blank=True, default="", help_text="The model's id of a tool call.", max_length=200
                    ),
                ),
                ("idempotent", models.BooleanField(default=False)),
                (
                    "request",
                    models.JSONField(default=dict, help_text="Arguments of a tool call, as the model wrote them."),
                ),
                ("result", models.JSONField(help_text="A model's text and tool calls, or a tool's answer.", null=True)),
                (
                    "details",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="For traces: attempt, time to first token, request id, cached and reasoning tokens, error.",
                    ),
                ),
                ("error_class", models.CharField(blank=True, default="", max_length=20)),
                ("input_tokens", models.IntegerField(help_text="Null: unknown, such as before the end.", null=True)),
                ("output_tokens", models.IntegerField(help_text="Null: unknown, such as before the end.", null=True)),
                (
                    "cost_usd",
                    models.DecimalField(
                        decimal_places=8, help_text="Null: the price is unknown.", max_digits=14, null=True
                    ),
                ),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "turn",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="steps",
                        to="agents.turn",
                    ),
                ),
            ],
            options={
                "ordering": ["turn", "number"],
                "constraints": [
                    models.UniqueConstraint(fields=("turn", "number"), name="step_number_unique"),
                    models.CheckConstraint(
                        condition=models.Func(
                            "kind",
                            "status",
                            "finished_at",
                            function="agents_step_row_check",
                            output_field=models.BooleanField(),
                        ),
                        name="step_row_check",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("ordinal", models.IntegerField()),
                (
                    "author",
                    models.CharField(
                        choices=[("user", "User"), ("agent", "Agent"), ("human", "Human"), ("system", "System")],
                        max_length=6,
                    ),
                ),
                ("parts", models.JSONField(default=list)),
                (
                    "size_bytes",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            django.db.models.functions.comparison.Cast("parts", models.TextField()),
                            function="octet_length",
                        ),
                        help_text="Of its parts, as JSON.",
                        output_field=models.IntegerField(),
                    ),
                ),
                ("provider_extras", models.JSONField(null=True)),
                (
                    "partial",
                    models.BooleanField(default=False, help_text="Cut short by a stop, an interruption or an error."),
                ),
                ("supplied_by_client", models.BooleanField(default=False)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("fingerprint", models.BinaryField(max_length=32, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "agent_session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="agents.agentsession",
                    ),
                ),
                (
                    "parent",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="children",
                        to="agents.message",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="agents.turn",
                    ),
                ),
            ],
            options={
                "ordering": ["agent_session", "ordinal"],
                "constraints": [
                    models.UniqueConstraint(fields=("agent_session", "ordinal"), name="message_ordinal_unique"),
                    models.UniqueConstraint(
                        condition=models.Q(("author", "agent")), fields=("turn",), name="message_one_answer_per_turn"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("idempotency_key__isnull", False)),
                        fields=("agent_session", "idempotency_key"),
                        name="message_key_unique",
                    ),
                    models.CheckConstraint(
                        condition=models.Func(
                            "author",
                            "id",
                            "parent",
                            function="agents_message_row_check",
                            output_field=models.BooleanField(),
                        ),
                        name="message_row_check",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField()),
                ("epoch", models.IntegerField(default=0)),
                ("type", models.CharField(max_length=32)),
                ("data", models.JSONField(default=dict)),
                ("replaces_from", models.BigIntegerField(null=True)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "agent_session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="agents.agentsession",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="agents.turn",
                    ),
                ),
            ],
            options={
                "ordering": ["agent_session", "seq"],
                "constraints": [
                    models.UniqueConstraint(fields=("agent_session", "seq"), name="event_seq_unique"),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("type__in", ["turn.cancelled", "turn.completed", "turn.expired", "turn.failed"])
                        ),
                        fields=("turn",),
                        name="event_one_end_per_turn",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AgentDraft",
            fields=[
                ("configuration", models.JSONField(help_text='{"schema": 1, "model_chain": ["offline:"], ...}')),
                (
                    "agent",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="draft",
                        serialize=False,
                        to="agents.agent",
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("configuration__has_key", "schema")),
                        name="agentdraft_configuration_has_schema",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BulkAction",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("operation", models.CharField(max_length=32)),
                (
                    "targets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), help_text="In the order of work; emptied at the end.", size=None
                    ),
                ),
                ("total", models.PositiveIntegerField()),
                ("done", models.PositiveIntegerField(default=0)),
                ("refused", models.PositiveIntegerField(default=0, help_text="Rows that were left as they were.")),
                ("reasons", models.JSONField(default=dict, help_text="Why they were, and how often.")),
                (
                    "status",
                    models.CharField(
                        choices=[("open", "Open"), ("done", "Done"), ("stopped", "Stopped")],
                        default="open",
                        max_length=7,
                    ),
                ),
                ("note", models.CharField(blank=True, default="", help_text="Why it was stopped.", max_length=200)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                ("worker", models.UUIDField(null=True)),
                ("lease_expires_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "verbose_name": "bulk action",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(condition=models.Q(("status", "open")), fields=["id"], name="bulk_action_open")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "total__gte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("done"), "+", models.F("refused")
                                ),
                            )
                        ),
                        name="bulk_action_counts_rows",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CompletionRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("principal", models.CharField(max_length=64)),
                ("fingerprint", models.BinaryField(max_length=32)),
                ("key", models.CharField(max_length=255, null=True)),
                ("attempt", models.SmallIntegerField(default=0)),
                ("turn_id", models.UUIDField()),
                ("created_at", models.DateTimeField(auto_now_add=True, db_index=True)),
                (
                    "agent_session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="agents.agentsession"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["fingerprint", "principal"], name="completion_fingerprint")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("key__isnull", False)),
                        fields=("principal", "key"),
                        name="completion_key_unique",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Handoff",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("open", "Open"),
                            ("snoozed", "Snoozed"),
                            ("resolved", "Resolved"),
                        ],
                        default="pending",
                        max_length=8,
                    ),
                ),
                ("requested_by", models.CharField(choices=[("fallback", "Fallback")], max_length=8)),
                (
                    "reason",
                    models.CharField(help_text="Of a fallback: the class of the error.", max_length=200),
                ),
                ("requested_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "agent_session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="handoffs",
                        to="agents.agentsession",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="agents.turn",
                    ),
                ),
            ],
            options={
                "ordering": ["requested_at"],
                "indexes": [models.Index(fields=["agent_session"], name="handoff_of_session")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "resolved"), _negated=True),
                        fields=("agent_session",),
                        name="handoff_one_unresolved",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["pending", "open", "snoozed", "resolved"])),
                        name="handoff_state_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Feedback",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("value", models.SmallIntegerField(choices=[(1, "up"), (-1, "down")])),
                ("comment", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "agent_session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="feedback", to="agents.agentsession"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="feedback",
                        to="agents.message",
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="feedback",
                        to="agents.turn",
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="agents.release",
                    ),
                ),
            ],
            options={
                "verbose_name": "rating",
                "ordering": ["-created_at"],
                "indexes": [
                    models.Index(fields=["-created_at"], name="feedback_newest"),
                    models.Index(
                        condition=models.Q(("turn__isnull", False)), fields=["turn", "value"], name="feedback_of_turn"
                    ),
                    models.Index(
                        condition=models.Q(("release__isnull", False)),
                        fields=["release", "id"],
                        include=("value",),
                        name="feedback_of_release",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("message", "user"), name="feedback_one_per_person"),
                    models.CheckConstraint(condition=models.Q(("value__in", [1, -1])), name="feedback_value_known"),
                ],
            },
        ),
        migrations.CreateModel(
            name="TurnText",
            fields=[
                (
                    "turn",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="text",
                        serialize=False,
                        to="agents.turn",
                    ),
                ),
                ("document", django.contrib.postgres.search.SearchVectorField()),
                (
                    "repeated_turns",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(),
                        help_text="Whose question it asks again shortly after the answer.",
                        null=True,
                        size=None,
                    ),
                ),
                (
                    "agent",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="agents.agent",
                    ),
                ),
            ],
            options={
                "indexes": [
                    django.contrib.postgres.indexes.GinIndex(
                        fastupdate=False, fields=["document"], name="turn_text_document"
                    ),
                    models.Index(
                        condition=models.Q(("repeated_turns__isnull", False)),
                        fields=["turn"],
                        name="turn_text_repeating",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RouteHealth",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("provider", models.CharField(max_length=40)),
                (
                    "model",
                    models.CharField(
                        blank=True, default="", help_text="Empty: all models of the credential.", max_length=200
                    ),
                ),
                (
                    "credential",
                    models.CharField(help_text="A keyed fingerprint of the address and the key.", max_length=32),
                ),
                ("revision", models.BigIntegerField(default=1)),
                (
                    "state",
                    models.CharField(
                        choices=[("closed", "closed"), ("open", "open"), ("half_open", "half open")],
                        default="closed",
                        max_length=9,
                    ),
                ),
                (
                    "generation",
                    models.BigIntegerField(
                        default=0, help_text="Raised by every move; results of older ones are dropped."
                    ),
                ),
                ("failures_in_row", models.IntegerField(default=0)),
                ("opens_in_row", models.IntegerField(default=0)),
                ("probe_successes", models.SmallIntegerField(default=0)),
                ("open_until", models.DateTimeField(null=True)),
                (
                    "probe_owner",
                    models.UUIDField(help_text="The process that asks now whether it works again.", null=True),
                ),
                ("probe_until", models.DateTimeField(help_text="The end of the probe's lease.", null=True)),
                (
                    "forced",
                    models.CharField(
                        blank=True, choices=[("open", "open"), ("closed", "closed")], default="", max_length=6
                    ),
                ),
                ("forced_until", models.DateTimeField(null=True)),
                (
                    "blocked_until",
                    models.DateTimeField(help_text="The provider does not want to be asked until then.", null=True),
                ),
                (
                    "buckets",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Of the last minute: [begin, calls, failures, slow ones].",
                    ),
                ),
                (
                    "rate_limits",
                    models.JSONField(
                        blank=True, help_text="What its provider said, when few calls remained.", null=True
                    ),
                ),
                ("pace_seconds", models.FloatField(help_text="How far apart calls are to be.", null=True)),
                ("paced_until", models.DateTimeField(null=True)),
                ("next_call_at", models.DateTimeField(null=True)),
                (
                    "context_window",
                    models.IntegerField(
                        help_text="Tokens; 0: nobody knows it. Null: it was not asked since that is stored.", null=True
                    ),
                ),
                (
                    "token_factor",
                    models.FloatField(help_text="Tokens that its provider counts, per estimated one.", null=True),
                ),
                ("last_error", models.CharField(blank=True, default="", max_length=400)),
                ("last_error_at", models.DateTimeField(null=True)),
                (
                    "changed_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), help_text="When its state changed."
                    ),
                ),
                (
                    "used_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        help_text="When a process began to use it.",
                    ),
                ),
            ],
            options={
                "verbose_name": "route",
                "ordering": ["provider", "model", "credential"],
                "permissions": [("force_routehealth", "Can force routes open or closed")],
                "constraints": [
                    models.UniqueConstraint(fields=("credential", "provider", "model"), name="route_unique"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["closed", "open", "half_open"])), name="route_state_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "open"), _negated=True), ("open_until__isnull", False), _connector="OR"
                        ),
                        name="route_open_has_end",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("forced", ""), ("forced_until__isnull", False), _connector="OR"),
                        name="route_forced_has_end",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UtilityCall",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("turn_id", models.UUIDField(help_text="The turn that it was made for, if any.", null=True)),
                ("purpose", models.CharField(help_text="What it is for, such as title.", max_length=40)),
                ("attempt", models.SmallIntegerField(default=1)),
                (
                    "status",
                    models.CharField(
                        choices=[("intent", "intent"), ("done", "done"), ("failed", "failed")],
                        default="intent",
                        max_length=7,
                    ),
                ),
                ("route", models.CharField(max_length=200)),
                ("error_class", models.CharField(blank=True, default="", max_length=20)),
                (
                    "details",
                    models.JSONField(
                        blank=True, default=dict, help_text="As of a step: request id, cached tokens, error."
                    ),
                ),
                ("input_tokens", models.IntegerField(help_text="Null: unknown, such as before the end.", null=True)),
                ("output_tokens", models.IntegerField(help_text="Null: unknown, such as before the end.", null=True)),
                (
                    "cost_usd",
                    models.DecimalField(
                        decimal_places=8, help_text="Null: the price is unknown.", max_digits=14, null=True
                    ),
                ),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "agent_session",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="utility_calls",
                        to="agents.agentsession",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "intent")), fields=["started_at"], name="utility_call_unended"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("finished_at__isnull", True), ("status", "intent")),
                            models.Q(("finished_at__isnull", False), ("status__in", ["done", "failed"])),
                            _connector="OR",
                        ),
                        name="utility_call_finished",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="HistorySummary",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("through_ordinal", models.IntegerField()),
                ("text", models.TextField()),
                ("route", models.CharField(help_text="The route that wrote it.", max_length=200)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "agent_session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="summaries",
                        to="agents.agentsession",
                    ),
                ),
                (
                    "previous",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="agents.historysummary",
                    ),
                ),
                (
                    "through",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="agents.message"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "history summaries",
                "ordering": ["agent_session", "through_ordinal"],
                "constraints": [
                    models.UniqueConstraint(fields=("agent_session", "through"), name="summary_one_per_message")
                ],
            },
        ),
        migrations.CreateModel(
            name="CallRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(help_text="When it begins.")),
                (
                    "width",
                    models.CharField(
                        choices=[("minute", "Minute"), ("hour", "Hour"), ("day", "Day"), ("total", "Total")],
                        max_length=6,
                    ),
                ),
                ("agent_id", models.UUIDField()),
                ("release_id", models.UUIDField()),
                ("operation", models.CharField(help_text="The kind of step.", max_length=8)),
                (
                    "name",
                    models.CharField(blank=True, help_text="The route, the tool or the fallback.", max_length=200),
                ),
                ("error_class", models.CharField(blank=True, help_text='"" for success.', max_length=20)),
                ("calls", models.IntegerField()),
                ("seconds", models.FloatField()),
                ("min_seconds", models.FloatField()),
                ("max_seconds", models.FloatField()),
                (
                    "seconds_buckets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), help_text="Of agents.domain.duration_buckets.", size=None
                    ),
                ),
                ("first_token_seconds", models.FloatField()),
                (
                    "first_token_buckets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), help_text="Of agents.domain.duration_buckets.", size=None
                    ),
                ),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cost_usd", models.DecimalField(decimal_places=8, max_digits=20)),
                ("context_percent", models.FloatField(help_text="The sum of all calls.")),
                ("max_context_percent", models.FloatField()),
                ("context_calls", models.IntegerField(help_text="Calls that say how much of the window they used.")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("width", "at", "agent_id", "release_id", "operation", "name", "error_class"),
                        name="call_rollup_unique",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TurnRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(help_text="When it begins.")),
                (
                    "width",
                    models.CharField(
                        choices=[("minute", "Minute"), ("hour", "Hour"), ("day", "Day"), ("total", "Total")],
                        max_length=6,
                    ),
                ),
                ("agent_id", models.UUIDField()),
                ("release_id", models.UUIDField()),
                ("status", models.CharField(max_length=10)),
                ("error_class", models.CharField(blank=True, max_length=20)),
                ("turns", models.IntegerField()),
                ("seconds", models.FloatField(help_text="From the acceptance of each message to the end of its turn.")),
                ("min_seconds", models.FloatField()),
                ("max_seconds", models.FloatField()),
                (
                    "seconds_buckets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), help_text="Of agents.domain.duration_buckets.", size=None
                    ),
                ),
                ("queue_seconds", models.FloatField()),
                (
                    "queue_buckets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), help_text="Of agents.domain.duration_buckets.", size=None
                    ),
                ),
                ("first_token_seconds", models.FloatField()),
                (
                    "first_token_buckets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), help_text="Of agents.domain.duration_buckets.", size=None
                    ),
                ),
                ("added_seconds", models.FloatField()),
                (
                    "added_buckets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), help_text="Of agents.domain.duration_buckets.", size=None
                    ),
                ),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cost_usd", models.DecimalField(decimal_places=8, max_digits=20)),
                ("cost_unknown", models.IntegerField(help_text="Turns whose cost nobody knows.")),
                ("fallbacks", models.IntegerField(help_text="Turns that ended with something in place of an answer.")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("width", "at", "agent_id", "release_id", "status", "error_class"),
                        name="turn_rollup_unique",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TurnSchedule",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("text", models.TextField()),
                ("cron", models.CharField(blank=True, default="", max_length=100)),
                ("time_zone", models.CharField(max_length=64)),
                ("once_at", models.DateTimeField(blank=True, null=True)),
                (
                    "enabled",
                    models.BooleanField(
                        default=True, help_text="Off: its user has paused it, or its one time is over."
                    ),
                ),
                (
                    "hold_reason",
                    models.CharField(
                        blank=True,
                        choices=[("operator", "Operator"), ("restored", "Restored")],
                        default="",
                        help_text="Held until an operator releases it.",
                        max_length=8,
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("next_at", models.DateTimeField(help_text="The time that is to be fired next.", null=True)),
                (
                    "available_at",
                    models.DateTimeField(
                        help_text="Not fired before: a worker has claimed it, or was refused for the moment.", null=True
                    ),
                ),
                (
                    "attempts",
                    models.PositiveSmallIntegerField(default=0, help_text="How often the next time was claimed."),
                ),
                ("last_due_at", models.DateTimeField(help_text="The time that was fired last.", null=True)),
                ("last_fired_at", models.DateTimeField(null=True)),
                (
                    "last_outcome",
                    models.CharField(
                        blank=True,
                        choices=[("asked", "Asked"), ("refused", "Refused")],
                        default="",
                        max_length=7,
                    ),
                ),
                ("last_session_id", models.UUIDField(null=True)),
                ("last_turn_id", models.UUIDField(null=True)),
                (
                    "last_error",
                    models.CharField(blank=True, default="", help_text="Why it was refused, in words.", max_length=200),
                ),
                (
                    "missed",
                    models.PositiveIntegerField(
                        default=0, help_text="Times that passed while nothing could fire them."
                    ),
                ),
                (
                    "agent",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="turn_schedules",
                        to="agents.agent",
                    ),
                ),
                (
                    "agent_session",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="turn_schedules",
                        to="agents.agentsession",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="turn_schedules",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "turn schedule",
                "permissions": [("hold_turnschedule", "Can hold and release the schedules of others")],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_at__isnull", False)),
                        fields=["next_at", "id"],
                        name="turn_schedule_due",
                    ),
                    models.Index(fields=["user", "-id"], name="turn_schedule_of_user"),
                    models.Index(fields=["agent", "-id"], name="turn_schedule_of_agent"),
                    models.Index(
                        condition=models.Q(("agent_session__isnull", False)),
                        fields=["agent_session"],
                        name="turn_schedule_of_session",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(models.Q(("cron", ""), _negated=True), ("once_at__isnull", True)),
                            models.Q(("cron", ""), ("once_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="turn_schedule_has_one_timing",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("next_at__isnull", True), models.Q(("enabled", True), ("hold_reason", "")), _connector="OR"
                        ),
                        name="turn_schedule_next_is_fired",
                    ),
                ],
            },
        ),
        migrations.RunSQL(ADD_BUCKETS, ADD_BUCKETS_BACK),
        migrations.RunSQL(TURN_GUARD, TURN_GUARD_BACK),
        migrations.RunSQL(RELEASE_GUARD, RELEASE_GUARD_BACK),
        migrations.RunSQL(STORAGE, STORAGE_BACK),
        migrations.RunSQL(STATISTICS, STATISTICS_BACK),
        migrations.RunSQL(UNLOGGED, migrations.RunSQL.noop),
        migrations.RunSQL(LOG_PAGE_END, LOG_PAGE_END_BACK),
    ]
