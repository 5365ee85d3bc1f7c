from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = "Agents"

    def ready(self) -> None:
        from accounts.audit import AuditTarget, register_audit_targets
        from accounts.groups import register_group_guard
        from accounts.role_permissions import USE_CHAT
        from agents import checks
        from agents.permissions import role_permissions
        from agents.permissions.agents import refuse_if_agents_need
        from checks.registry import registry
        from console.navigation import Entry, Link, register_entries, register_link
        from rest.schema.registry import register_schema

        role_permissions.declare()
        register_group_guard(refuse_if_agents_need)
        register_audit_targets(
            AuditTarget("agent", "agent", "admin:agents_agent_change"),
            # A draft has its agent's id and page.
            AuditTarget("agentdraft", "draft", "admin:agents_agent_edit_draft"),
            AuditTarget("release", "release", "admin:agents_release_change"),
            AuditTarget("agentsession", "session", "admin:agents_agentsession_change"),
            AuditTarget("turn", "turn", "admin:agents_turn_change"),
            AuditTarget("bulkaction", "bulk act", "admin:agents_bulkaction_change"),
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
            Entry("Operations", 4, "Bulk acts", "agents.bulkaction", "playlist_add_check"),
        )
        registry.register(*checks.CHECKS)
