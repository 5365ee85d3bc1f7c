from django.apps import AppConfig


class SchedulingConfig(AppConfig):
    name = "scheduling"
    verbose_name = "Scheduling"

    def ready(self) -> None:
        from accounts.audit import AuditTarget, register_audit_targets
        from checks.registry import registry
        from console.navigation import Entry, register_entries
        from scheduling import checks, role_permissions
        from scheduling.registry import Job, register

        role_permissions.declare()
        registry.register(*checks.CHECKS)
        register(
            Job(
                "forget old runs",
                "scheduling.tasks.purge_old_runs",
                "Forgets the runs of these schedules after a week.",
                "runs forgotten",
                cron="30 3 * * *",
            )
        )
        register_audit_targets(AuditTarget("schedule", "schedule", "admin:scheduling_schedule_change"))
        register_entries(
            Entry("Operations", 2, "Schedules", "scheduling.schedule", "schedule"),
            Entry("Operations", 3, "Job runs", "scheduling.jobrun", "checklist"),
        )
