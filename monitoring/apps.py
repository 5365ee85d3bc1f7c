from django.apps import AppConfig

from foundation.job_registry import Job, register

JOBS = (
    Job(
        "make and drop days of spans",
        "monitoring.spans.retention.keep_partitions",
        "Makes the tables for the spans of the next days, and drops those that are older than any agent keeps them.",
        "days dropped",
        every_minutes=60,
    ),
    Job(
        "delete old spans",
        "monitoring.spans.retention.delete_expired_spans",
        "Deletes spans of agents that keep theirs for a shorter time than others.",
        "spans deleted",
        cron="50 3 * * *",
    ),
)


class MonitoringConfig(AppConfig):
    name = "monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        from console.navigation import Entry, register_entries
        from foundation.process_work import process_work
        from health_checks.registry import registry
        from monitoring import health_checks
        from monitoring.spans.sampling import Sampling
        from monitoring.spans.writer import SpanWriter

        registry.register(*health_checks.CHECKS)
        register_entries(Entry("Operations", 0, "Patterns", "agents.turn", "insights", view="admin:patterns"))
        process_work.register(lambda process: SpanWriter(process, Sampling()))
        for job in JOBS:
            register(job)
