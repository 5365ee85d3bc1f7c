from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import checks, role_permissions
        from accounts.audit import AuditTarget, register_audit_targets
        from checks.registry import registry
        from console.navigation import Entry, register_entries

        role_permissions.declare()
        registry.register(*checks.CHECKS)
        register_audit_targets(
            AuditTarget("user", "user", "admin:accounts_user_change"),
            AuditTarget("group", "group", "admin:auth_group_change"),
            AuditTarget("apikey", "API key", "admin:accounts_apikey_change"),
            AuditTarget("bucket", "address"),
        )
        register_entries(
            Entry("People", 1, "People", "accounts.user", "person"),
            Entry("People", 2, "Roles and groups", "auth.group", "group"),
            Entry("People", 3, "API keys", "accounts.apikey", "key"),
            Entry("People", 4, "Outgoing e-mail", "accounts.outgoingemail", "mail"),
            Entry("Operations", 5, "Audit trail", "accounts.auditentry", "history"),
        )
