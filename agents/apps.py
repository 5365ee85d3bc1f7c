"""The app `agents`: its scheduled jobs, and what it registers with the platform."""

from django.apps import AppConfig

from scheduling.registry import Job, register

JOBS = (
    Job(
        "compact ended turns",
        "agents.tasks.compact_events",
        "Compacts the many small events of an answer into one, a minute after its end.",
        "turns compacted",
        every_minutes=1,
    ),
    # The runners do this every second; here it is done when none of them lives.
    Job(
        "reap lost turns",
        "agents.tasks.reap",
        "Ends or gives back turns whose runner is gone. A safety net: runners do this themselves.",
        "turns moved",
        every_minutes=1,
    ),
    Job(
        "run bulk actions",
        "agents.tasks.run_bulk_actions",
        "Continues what operators do to many rows at once.",
        "rows processed",
        every_minutes=1,
    ),
    Job(
        "delete sessions past their end",
        "agents.tasks.delete_expired",
        "Deletes conversations that were to be kept for a time only, such as those of OpenAI clients.",
        "sessions deleted",
        every_minutes=10,
    ),
    Job(
        "delete full buckets",
        "agents.tasks.purge_limits",
        "Forgets limits that nobody has come near for a while.",
        "rows deleted",
        every_minutes=10,
    ),
    Job(
        "delete idempotency keys",
        "agents.tasks.purge_idempotency",
        "Forgets answers kept for repeated requests for 48 hours, and runners that are gone for a week.",
        "answers forgotten",
        every_minutes=60,
    ),
    Job(
        "send waiting mail",
        "agents.tasks.send_emails",
        "Sends mail that could not be sent at once, and forgets mails after a month.",
        "mails sent",
        every_minutes=1,
    ),
    Job(
        "delete old logins",
        "agents.tasks.purge_logins",
        "Forgets the logins of browsers that have ended: signed out by time.",
        "logins forgotten",
        cron="10 3 * * *",
    ),
    Job(
        "delete old audit entries",
        "agents.tasks.purge_audit",
        "Forgets entries of the audit trail after the time that BANDSTAND_AUDIT_DAYS says, two years by default.",
        "entries forgotten",
        cron="20 3 * * *",
    ),
)


class AgentsConfig(AppConfig):
    """Registers roles, audit targets, schema, navigation, checks and jobs when Django is ready."""

    name = "agents"
    verbose_name = "Agents"

    def ready(self) -> None:
        from accounts.audit import AuditTarget, register_audit_targets
        from accounts.email_outbox import register_send_task
        from accounts.groups import register_group_guard
        from accounts.role_permissions import USE_CHAT
        from agents import checks
        from agents.permissions import role_permissions
        from agents.permissions.agents import refuse_if_agents_need
        from agents.releases import checks as release_checks
        from checks.registry import registry
        from console.navigation import Entry, Link, register_entries, register_link
        from rest.schema.registry import register_schema

        role_permissions.declare()
        register_send_task("agents.tasks.send_emails")
        register_group_guard(refuse_if_agents_need)
        register_audit_targets(
            AuditTarget("agent", "agent", "admin:agents_agent_change"),
            # A draft has its agent's id and page.
            AuditTarget("agentdraft", "draft", "admin:agents_agent_edit_draft"),
            AuditTarget("release", "release", "admin:agents_release_change"),
            AuditTarget("agentsession", "session", "admin:agents_agentsession_change"),
            AuditTarget("turn", "turn", "admin:agents_turn_change"),
            AuditTarget("bulkaction", "bulk action", "admin:agents_bulkaction_change"),
        )
        register_schema(
            *(
                f"agents.api.schema.{noun}"
                for noun in ("agents", "sessions", "messages", "feedback", "copies", "turns", "events", "me")
            )
        )
        register_link(Link("Chat", "/", "chat", USE_CHAT))
        register_entries(
            Entry("Conversations", 1, "Sessions", "agents.agentsession", "forum"),
            Entry("Conversations", 2, "Turns", "agents.turn", "sync_alt"),
            Entry("Conversations", 3, "Steps", "agents.step", "footprint"),
            Entry("Conversations", 4, "Events", "agents.event", "list_alt"),
            Entry("Agents", 1, "Agents", "agents.agent", "smart_toy"),
            Entry("Agents", 2, "Releases", "agents.release", "new_releases"),
            Entry("Operations", 1, "Runners", "agents.runner", "memory"),
            Entry("Operations", 4, "Bulk actions", "agents.bulkaction", "playlist_add_check"),
        )
        registry.register(*checks.CHECKS, *release_checks.CHECKS)
        for job in JOBS:
            register(job)
