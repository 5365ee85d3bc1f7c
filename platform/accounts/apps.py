"""The app `accounts`: its scheduled jobs, and what it registers with the platform."""

from django.apps import AppConfig
from django.conf import settings
from django.urls import NoReverseMatch, reverse

from foundation.durations import format_days
from foundation.job_registry import Job, Retention, register


def _audit_retention() -> str:
    days = settings.BANDSTAND.audit_days
    return format_days(days) if days else "for ever"


def _locked_out_address(_bucket_id: str) -> str:
    return reverse("admin:accounts_user_lockouts")


def _list_address(content_type_id: str) -> str | None:
    from django.contrib.contenttypes.models import ContentType

    try:
        kind = ContentType.objects.get_for_id(int(content_type_id))
        return reverse(f"admin:{kind.app_label}_{kind.model}_changelist")
    except (ContentType.DoesNotExist, NoReverseMatch):
        return None


JOBS = (
    Job(
        "send waiting mail",
        "accounts.tasks.send_emails",
        "Sends mail that could not be sent at once, and forgets mails after a month.",
        "mails sent",
        every_minutes=1,
        retentions=(Retention("Outgoing e-mail", "30 days"),),
    ),
    Job(
        "delete old logins",
        "accounts.tasks.purge_logins",
        "Forgets the logins of browsers that have ended: signed out by time.",
        "logins forgotten",
        cron="10 3 * * *",
        retentions=(Retention("Logins of browsers", "until they end"),),
    ),
    Job(
        "delete old audit entries",
        "accounts.tasks.purge_audit",
        "Forgets entries of the audit trail after the time that BANDSTAND_AUDIT_DAYS says, two years by default.",
        "entries forgotten",
        cron="20 3 * * *",
        retentions=(Retention("Audit trail", _audit_retention, "BANDSTAND_AUDIT_DAYS"),),
    ),
)


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import health_checks, role_permissions
        from accounts.audit import AuditTarget, register_audit_targets
        from console.navigation import Entry, register_entries
        from health_checks.registry import registry

        role_permissions.declare()
        registry.register(*health_checks.CHECKS)
        register_audit_targets(
            AuditTarget("user", "user", "admin:accounts_user_change"),
            AuditTarget("group", "group", "admin:auth_group_change"),
            AuditTarget("apikey", "API key", "admin:accounts_apikey_change"),
            AuditTarget("bucket", "address", address=_locked_out_address),
            AuditTarget("contenttype", "list", address=_list_address),
        )
        register_entries(
            Entry("Users", 1, "Users", "accounts.user", "person"),
            Entry("Users", 2, "Roles and groups", "auth.group", "group"),
            Entry("Users", 3, "API keys", "accounts.apikey", "key"),
            Entry("Users", 4, "Outgoing e-mail", "accounts.outgoingemail", "mail"),
            Entry("Operations", 5, "Audit trail", "accounts.auditentry", "history"),
        )
        for job in JOBS:
            register(job)
