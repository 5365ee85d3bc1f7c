from django.apps import AppConfig


class SchedulingConfig(AppConfig):
    name = "scheduling"
    verbose_name = "Scheduling"

    def ready(self) -> None:
        from accounts.audit import AuditTarget, register_audit_targets
        from console.navigation import Entry, register_entries
        from foundation.job_registry import Job, register
        from health_checks.registry import registry
        from scheduling import health_checks, role_permissions

        role_permissions.declare()
        registry.register(*health_checks.CHECKS)
        register(
            Job(
                "delete old job runs",
                "scheduling.tasks.purge_old_runs",
                "Deletes job runs after a week.",
                "job runs deleted",
                cron="30 3 * * *",
            )
        )
        register_audit_targets(AuditTarget("schedule", "schedule", "admin:scheduling_schedule_change"))
        register_entries(
            Entry("Operations", 2, "Schedules", "scheduling.schedule", "schedule"),
            Entry("Operations", 3, "Job runs", "scheduling.jobrun", "checklist"),
        )
