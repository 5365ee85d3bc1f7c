"""The app `agents`: its scheduled jobs, and what it registers with the platform."""

from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.conf import settings

from foundation.durations import format_days
from foundation.job_registry import Job, Retention, register

if TYPE_CHECKING:
    from agents.llm.model_catalog import Prices


def _client_session_retention() -> str:
    return f"{settings.BANDSTAND.client_session_hours} hours, if the request does not say otherwise"


def _minute_retention() -> str:
    from agents.models.rollups import MINUTES_REACH

    return format_days(MINUTES_REACH.days)


def _hour_retention() -> str:
    from agents.models.rollups import HOURS_REACH

    return format_days(HOURS_REACH.days)


JOBS = (
    Job(
        "compact ended turns",
        "agents.tasks.compact_events",
        "Compacts the many small events of an answer into one, a minute after its end, and counts its turn.",
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
        "fire schedules",
        "agents.tasks.fire_schedules",
        "Asks agents what people have scheduled, each time once.",
        "schedules fired",
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
        retentions=(
            Retention("Conversations of clients of /v1", _client_session_retention, "BANDSTAND_CLIENT_SESSION_HOURS"),
        ),
    ),
    Job(
        "delete slots of lost web processes",
        "agents.http.connection_slots.purge_lost_slots",
        "Frees the open connections that ended web processes had counted.",
        "slots deleted",
        every_minutes=10,
    ),
    Job(
        "delete old completion requests",
        "agents.tasks.purge_completions",
        "Forgets after 48 hours by what repeated requests of OpenAI clients are recognized.",
        "requests forgotten",
        every_minutes=60,
        retentions=(Retention("What repeated requests of /v1 are recognized by", "48 hours"),),
    ),
    Job(
        "delete schedules past their time",
        "agents.sessions.turn_schedules.purge_over_schedules",
        "Forgets what was to be asked once, 30 days after its time.",
        "schedules deleted",
        every_minutes=1440,
        retentions=(Retention("Schedules that were to ask once", "30 days after their time"),),
    ),
    Job(
        "delete old counters",
        "agents.journal.rollups.delete_old_rollups",
        "Deletes the counters of single minutes and of hours when nothing reads them any more; those of days stay.",
        "counters deleted",
        every_minutes=60,
        retentions=(
            Retention("Counters of turns per minute", _minute_retention),
            Retention("Counters of turns per hour", _hour_retention),
            Retention("Counters of turns per day", "for ever"),
        ),
    ),
    Job(
        "end lost calls for side work",
        "agents.journal.utility_calls.end_abandoned_utility_calls",
        "Ends the calls of models for titles, summaries and facts whose process was killed.",
        "calls ended",
        every_minutes=60,
    ),
    Job(
        "reconcile budgets",
        "agents.budgets.reconciliation.reconcile",
        "Compares the ledger of budgets with the calls that it is about. What differs is listed, not corrected.",
        "differences to review",
        every_minutes=1440,
    ),
    Job(
        "delete old reservations of budgets",
        "agents.budgets.ledger_retention.purge_ledger",
        "Forgets what calls have reserved and used of budgets, 90 days after the budget's period.",
        "reservations deleted",
        every_minutes=1440,
        retentions=(
            Retention("The ledger of budgets", "90 days after a budget's period"),
            Retention("What was spent of budgets in each period", "400 days"),
        ),
    ),
    Job(
        "delete old verdicts",
        "agents.deployments.controller.delete_old_verdicts",
        "Forgets the single verdicts of deployments 90 days after their end; how each ended stays.",
        "verdicts deleted",
        every_minutes=1440,
        retentions=(Retention("Verdicts of deployments", "90 days after a deployment's end"),),
    ),
    Job(
        "delete unused routes",
        "agents.tasks.purge_routes",
        "Forgets routes to models that no process has begun to use for 90 days.",
        "routes forgotten",
        every_minutes=1440,
        retentions=(Retention("Routes that nobody uses", "90 days"),),
    ),
    Job(
        "delete old runners",
        "agents.tasks.purge_runners",
        "Forgets runners that are gone for a week.",
        "runners forgotten",
        every_minutes=60,
        retentions=(Retention("Runners that are gone", "7 days"),),
    ),
)


def _read_prices() -> "Prices":
    from agents.llm.installation_prices import read_installation_prices

    return read_installation_prices()


class AgentsConfig(AppConfig):
    """Registers roles, audit targets, schema, navigation, checks, jobs and what embeddings draw on when Django is
    ready."""

    name = "agents"
    verbose_name = "Agents"

    def ready(self) -> None:
        from accounts.account_sections import AccountSection, register_account_section
        from accounts.audit import AuditTarget, register_audit_targets
        from accounts.groups import register_group_guard
        from accounts.permissions import register_relation_rights
        from accounts.role_permissions import USE_CHAT
        from accounts.unattended_work import register_unattended_work
        from agents import health_checks
        from agents.budgets import health_checks as budget_checks
        from agents.deployments import health_checks as deployment_checks
        from agents.journal.usage_rollups import count_usage_of_call
        from agents.llm.embedding_ledger import EmbeddingLedger
        from agents.pages import budget_section
        from agents.permissions import role_permissions
        from agents.permissions.agents import refuse_if_agents_need
        from agents.permissions.transcripts import group_rights
        from agents.releases import health_checks as release_checks
        from agents.releases import price_checks
        from agents.routing import health_checks as route_checks
        from agents.sessions import health_checks as people_checks
        from agents.sessions.turn_schedules import count_active_schedules
        from console.navigation import Entry, NavigationLink, register_entries, register_link
        from health_checks.registry import registry
        from memory.embeddings.embedding_budget import register_embedding_budget
        from rest.schema.declarations import register_schema

        role_permissions.declare()
        register_group_guard(refuse_if_agents_need)
        register_relation_rights(group_rights)
        register_unattended_work("schedule", count_active_schedules)
        register_account_section(AccountSection(budget_section.TEMPLATE, budget_section.build_budget_section))
        register_audit_targets(
            AuditTarget("agent", "agent", "admin:agents_agent_change"),
            # A draft has its agent's id and page.
            AuditTarget("agentdraft", "draft", "admin:agents_agent_edit_draft"),
            AuditTarget("release", "release", "admin:agents_release_change"),
            AuditTarget("deployment", "deployment", "admin:agents_deployment_change"),
            AuditTarget("testset", "test set", "admin:agents_testset_change"),
            AuditTarget("agentsession", "session", "admin:agents_agentsession_change"),
            AuditTarget("turn", "turn", "admin:agents_turn_change"),
            AuditTarget("approval", "approval", "admin:agents_approval_change"),
            AuditTarget("approvalpass", "approval pass", "admin:agents_approvalpass_change"),
            AuditTarget("budget", "budget", "admin:agents_budget_change"),
            AuditTarget("modelprice", "price", "admin:agents_modelprice_change"),
            AuditTarget("routehealth", "route", "admin:agents_routehealth_change"),
            AuditTarget("turnschedule", "turn schedule", "admin:agents_turnschedule_change"),
            AuditTarget("budgetdifference", "difference", "admin:agents_budgetdifference_change"),
            AuditTarget("bulkaction", "bulk action", "admin:agents_bulkaction_change"),
        )
        register_schema(
            *(
                f"agents.api.schema.{noun}"
                for noun in (
                    "agents",
                    "sessions",
                    "messages",
                    "feedback",
                    "copies",
                    "turns",
                    "approvals",
                    "handoffs",
                    "events",
                    "memories",
                    "turn_schedules",
                    "me",
                )
            ),
            "agents.openai_api.schema",
        )
        register_link(NavigationLink("Chat", "/", "chat", USE_CHAT))
        register_entries(
            Entry("Conversations", 0, "Inbox", "agents.handoff", "inbox", count="admin:agents_handoff_counts"),
            Entry("Conversations", 1, "Sessions", "agents.agentsession", "forum"),
            Entry("Conversations", 2, "Turns", "agents.turn", "sync_alt"),
            Entry("Conversations", 3, "Ratings", "agents.feedback", "thumbs_up_down"),
            Entry("Conversations", 4, "Steps", "agents.step", "footprint"),
            Entry("Conversations", 5, "Events", "agents.event", "list_alt"),
            Entry("Conversations", 6, "Memories", "memory.memory", "psychology"),
            Entry("Conversations", 7, "Turn schedules", "agents.turnschedule", "schedule"),
            Entry("Agents", 1, "Agents", "agents.agent", "smart_toy"),
            Entry("Agents", 2, "Releases", "agents.release", "new_releases"),
            Entry("Agents", 5, "Deployments", "agents.deployment", "rocket_launch"),
            Entry("Agents", 6, "Test sets", "agents.testset", "fact_check"),
            Entry("Agents", 7, "Evaluations", "agents.evaluationrun", "labs"),
            Entry("Agents", 4, "Approval passes", "agents.approvalpass", "verified_user"),
            Entry("Agents", 3, "Memory pools", "memory.memorypool", "join_inner"),
            Entry("Operations", 1, "Runners", "agents.runner", "memory"),
            Entry("Operations", 2, "Routes", "agents.routehealth", "alt_route"),
            Entry("Costs", 2, "Budgets", "agents.budget", "savings"),
            Entry("Costs", 3, "Prices", "agents.modelprice", "tag"),
            Entry("Operations", 4, "Bulk actions", "agents.bulkaction", "playlist_add_check"),
            Entry("Costs", 4, "Ledger of budgets", "agents.budgetreservation", "list_alt"),
            Entry("Costs", 5, "Differences of the ledger", "agents.budgetdifference", "difference"),
        )
        registry.register(
            *health_checks.CHECKS,
            *release_checks.CHECKS,
            *deployment_checks.CHECKS,
            *price_checks.CHECKS,
            *route_checks.CHECKS,
            *people_checks.CHECKS,
            *budget_checks.CHECKS,
        )
        register_embedding_budget(EmbeddingLedger(_read_prices, count_usage=count_usage_of_call))
        for job in JOBS:
            register(job)
