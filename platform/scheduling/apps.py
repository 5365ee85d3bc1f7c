from django.apps import AppConfig


def _job_run_retention() -> str:
    from django.conf import settings

    from foundation.durations import format_days

    return format_days(settings.BANDSTAND.job_run_days)


class SchedulingConfig(AppConfig):
    name = "scheduling"
    verbose_name = "Scheduling"

    def ready(self) -> None:
        from accounts.audit import AuditTarget, register_audit_targets
        from console.navigation import Entry, register_entries
        from foundation.job_registry import Job, Retention, register
        from health_checks.registry import registry
        from scheduling import health_checks, role_permissions

        role_permissions.declare()
        registry.register(*health_checks.CHECKS)
        register(
            Job(
                "delete old job runs",
                "scheduling.tasks.purge_old_runs",
                "Deletes job runs after the time that BANDSTAND_JOB_RUN_DAYS says.",
                "job runs deleted",
                cron="30 3 * * *",
                retentions=(Retention("Job runs", _job_run_retention, "BANDSTAND_JOB_RUN_DAYS"),),
            )
        )
        register(
            Job(
                "vacuum and analyse tables",
                "scheduling.table_upkeep.maintain_tables",
                "Vacuums and analyses the tables for which PostgreSQL's autovacuum has not, at its pace. What is "
                "locked is left for the next time.",
                "tables vacuumed or analysed",
                every_minutes=30,
            )
        )
        register_audit_targets(AuditTarget("schedule", "schedule", "admin:scheduling_schedule_change"))
        register_entries(
            Entry("Operations", 2, "Schedules", "scheduling.schedule", "schedule"),
            Entry("Operations", 3, "Job runs", "scheduling.jobrun", "checklist"),
            Entry("Operations", 8, "Retention", "scheduling.schedule", "delete_sweep", view="admin:retention"),
        )
