"""Sessions and their messages."""

from __future__ import annotations

from django.db import models
from django.db.models import Exists, Func, OuterRef, Q
from django.db.models.functions import Cast

from agents.domain.session_purposes import SessionPurpose
from agents.models.constraints import row_check
from foundation.ids import new_id


class AgentSession(models.Model):
    """A conversation of one user with one agent. Its row is the lock, the fence and the source of all sequence numbers.

    `next_seq` and `next_ordinal` are the numbers that the next event and the next message get. `active_turn` and
    `active_epoch` name the one runner that may write; see `agents.journal`.
    """

    class Controller(models.TextChoices):
        AGENT = "agent"
        HUMAN = "human"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="agent_sessions", db_index=False)
    # Their indexes are below, with the order in which the console lists them.
    agent = models.ForeignKey("Agent", on_delete=models.PROTECT, related_name="sessions", db_index=False)
    release = models.ForeignKey("Release", on_delete=models.PROTECT, related_name="sessions", db_index=False)
    title = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    state = models.JSONField(default=dict, blank=True)
    version = models.PositiveIntegerField(default=1)
    controller = models.CharField(max_length=5, choices=Controller.choices, default=Controller.AGENT)
    listed = models.BooleanField(default=True, db_default=True, help_text="Shown in its user's list of chats.")
    purpose = models.CharField(
        max_length=10,
        blank=True,
        default=SessionPurpose.PRODUCTION.value,
        db_default=SessionPurpose.PRODUCTION.value,
        choices=[(purpose.value, purpose.name.lower()) for purpose in SessionPurpose],
        help_text="What it is for; no figure of production counts any other purpose than production.",
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Deleted after this, if ever.")
    next_seq = models.BigIntegerField(default=1)
    next_ordinal = models.IntegerField(default=1)
    open_turns = models.IntegerField(default=0, help_text="Turns that are not terminal.")
    # Plain ids: their rows are written by the same statement, and the fence reads them on every write.
    head_message_id = models.UUIDField(null=True, blank=True)
    active_turn_id = models.UUIDField(null=True, blank=True)
    active_epoch = models.IntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now_add=True, help_text="When its last message was accepted.")

    class Meta:
        verbose_name = "session"
        permissions = [
            ("view_transcript", "Can read the transcripts of others"),
            ("fork_agentsession", "Can fork the sessions of others"),
        ]
        # None of these may have a column that the claim or the end of a turn writes: when an indexed column changes,
        # PostgreSQL writes to every index of the row.
        indexes = [
            models.Index(fields=["user", "listed", "-updated_at", "-id"], name="session_of_user"),
            models.Index(fields=["-created_at"], name="session_newest"),
            models.Index(fields=["agent", "id"], name="session_of_agent"),
            models.Index(fields=["release", "id"], name="session_of_release"),
            models.Index(fields=["expires_at"], name="session_expiry", condition=Q(expires_at__isnull=False)),
            # The few that no figure counts; see `IN_PRODUCTION`.
            models.Index(fields=["id"], name="session_not_production", condition=~Q(purpose="")),
        ]
        constraints = [
            # A known controller, positive orders, no negative count.
            row_check("session", "controller", "next_seq", "next_ordinal", "open_turns"),
        ]

    def __str__(self) -> str:
        # Not its title, which reveals content: many users may see a session but not read it.
        return f"session {self.id}"

    def audit_name(self) -> str:
        """Always "": titles and messages do not go into the audit trail."""
        return ""


# What figures of production count, of rows that have a session: turns, ratings, handoffs. Both name the few that they
# leave out, which have an index, so that nobody reads the sessions of all the others. `{row}` is the alias of the row.
IN_PRODUCTION = Q(~Exists(AgentSession.objects.filter(pk=OuterRef("agent_session_id")).exclude(purpose="")))
IN_PRODUCTION_SQL = (
    "NOT EXISTS (SELECT FROM agents_agentsession apart WHERE apart.id = {row}.agent_session_id AND apart.purpose <> '')"
)


class Message(models.Model):
    """One message, as typed parts (`agents.domain.message_parts`).

    `parent` is the message it follows. A branch is a second child; the path from the root to
    `AgentSession.head_message_id` is the conversation that people see. `turn` is null for messages that are written
    while a human controls the session.
    """

    class Author(models.TextChoices):
        USER = "user"
        AGENT = "agent"
        HUMAN = "human"
        SYSTEM = "system"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent_session = models.ForeignKey(AgentSession, on_delete=models.CASCADE, related_name="messages", db_index=False)
    ordinal = models.IntegerField()
    author = models.CharField(max_length=6, choices=Author.choices)
    parts = models.JSONField(default=list)
    # Readers add it up before they read `parts`: a client's message may have some megabytes.
    size_bytes = models.GeneratedField(
        expression=Func(Cast("parts", models.TextField()), function="octet_length"),
        output_field=models.IntegerField(),
        db_persist=True,
        help_text="Of its parts, as JSON.",
    )
    # What came with an agent's answers and goes back to their providers (`agents.domain.steps.provider_extras`), and to
    # nobody else.
    provider_extras = models.JSONField(null=True)
    # No database constraints below: the rows are written or read under the session's lock by the same statement, and a
    # constraint would lock a shared row once more on the hot path.
    turn = models.ForeignKey("Turn", null=True, on_delete=models.CASCADE, db_constraint=False, related_name="messages")
    parent = models.ForeignKey(
        "self", null=True, on_delete=models.CASCADE, db_constraint=False, related_name="children"
    )
    partial = models.BooleanField(default=False, help_text="Cut short by a stop, an interruption or an error.")
    supplied_by_client = models.BooleanField(default=False)
    # Set only for messages without a turn; otherwise the turn has both.
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - null is "none given"
    fingerprint = models.BinaryField(null=True, max_length=32)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["agent_session", "ordinal"]
        constraints = [
            models.UniqueConstraint(fields=["agent_session", "ordinal"], name="message_ordinal_unique"),
            models.UniqueConstraint(fields=["turn"], condition=Q(author="agent"), name="message_one_answer_per_turn"),
            models.UniqueConstraint(
                fields=["agent_session", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="message_key_unique",
            ),
            # A known author, and not its own parent.
            row_check("message", "author", "id", "parent"),
        ]

    def __str__(self) -> str:
        return f"{self.author} #{self.ordinal}"

    def audit_name(self) -> str:
        """Always "": messages do not go into the audit trail."""
        return ""
