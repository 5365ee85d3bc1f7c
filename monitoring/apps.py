from django.apps import AppConfig
from django.conf import settings
from django.urls import reverse

from foundation.durations import format_days
from foundation.job_registry import Job, Retention, register


def _span_retention() -> str:
    return f"{format_days(settings.BANDSTAND.span_days)}, of agents without settings of their own"


def _sample_retention() -> str:
    return format_days(settings.BANDSTAND.sample_days)


def _apply_modes_address(_policy_id: str) -> str:
    return reverse("admin:monitoring_recommendation_apply_modes")


JOBS = (
    Job(
        "make and drop days of spans",
        "monitoring.spans.retention.keep_partitions",
        "Makes the tables for the spans of the next days, and drops those that are older than any agent keeps them.",
        "days dropped",
        every_minutes=60,
        retentions=(Retention("Spans of traces", _span_retention, "BANDSTAND_SPAN_DAYS"),),
    ),
    Job(
        "delete old spans",
        "monitoring.spans.retention.delete_expired_spans",
        "Deletes spans of agents that keep theirs for a shorter time than others.",
        "spans deleted",
        cron="50 3 * * *",
    ),
    Job(
        "delete old samples",
        "monitoring.sampling.sample_retention.purge_samples",
        "Deletes samples of gauges and processes after the time that BANDSTAND_SAMPLE_DAYS says, and recommendations "
        "after 90 days.",
        "rows deleted",
        every_minutes=60,
        retentions=(
            Retention("Samples of gauges and processes", _sample_retention, "BANDSTAND_SAMPLE_DAYS"),
            Retention("Recommendations", "90 days"),
        ),
    ),
    Job(
        "delete old alerts",
        "monitoring.alerts.alert_retention.purge_alerts",
        "Deletes alerts that ended, their notifications and silences after 90 days.",
        "rows deleted",
        retentions=(Retention("Alerts that ended, notifications and silences", "90 days"),),
        cron="40 3 * * *",
    ),
)


# Only where a receiver of traces is configured.
EXPORT_JOB = Job(
    "export traces",
    "monitoring.otlp.export.export_traces",
    "Sends the traces of ended turns to the receiver of OTEL_EXPORTER_OTLP_ENDPOINT.",
    "turns exported",
    every_minutes=1,
)

READINESS_JOB = Job(
    "delete old readiness results",
    "monitoring.readiness_validator.runs.purge_runs",
    "Deletes the results of readiness checks after 90 days.",
    "results deleted",
    retentions=(Retention("Results of readiness checks", "90 days"),),
    cron="55 3 * * *",
)


class MonitoringConfig(AppConfig):
    name = "monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        from accounts.audit import AuditTarget, register_audit_targets
        from agents.releases.publication_gate import register_gate
        from console.navigation import Entry, register_entries
        from foundation.process_work import process_work
        from health_checks.registry import registry
        from monitoring import health_checks, role_permissions, spend_checks
        from monitoring.alerts import health_checks as alert_checks
        from monitoring.alerts.evaluator_thread import AlertEvaluator
        from monitoring.debugging import read_debug_targets
        from monitoring.notifications.notifier import Notifier
        from monitoring.performance.monitor import make_sampler
        from monitoring.readiness_validator.readiness_gate import ReadinessGate
        from monitoring.spans.sampling import Sampling, register_debug_source
        from monitoring.spans.writer import SpanWriter

        role_permissions.declare()
        register_audit_targets(
            AuditTarget("debugmode", "debug mode", "admin:monitoring_debugmode_change"),
            AuditTarget("tracesettings", "trace settings", "admin:monitoring_tracesettings_change"),
            AuditTarget("recommendation", "recommendation", "admin:monitoring_recommendation_change"),
            AuditTarget("recommendationpolicy", "recommendation policy", address=_apply_modes_address),
            AuditTarget("alertrule", "alert rule", "admin:monitoring_alertrule_change"),
            AuditTarget("silence", "silence", "admin:monitoring_silence_change"),
            AuditTarget("notification", "notification", "admin:monitoring_notification_change"),
            AuditTarget("notificationchannel", "channel", "admin:monitoring_notificationchannel_change"),
            AuditTarget("readinessrun", "readiness check", "admin:monitoring_readinessrun_change"),
        )
        register_entries(
            Entry("Operations", 0, "Patterns", "agents.turn", "insights", view="admin:patterns"),
            Entry("Costs", 1, "Usage", "agents.turn", "bar_chart", view="admin:usage"),
            Entry("Agents", 4, "Trace settings", "monitoring.tracesettings", "timeline"),
            Entry("Operations", 1, "Performance", "monitoring.recommendation", "speed"),
            Entry("Operations", 6, "Debug modes", "monitoring.debugmode", "manage_search"),
            Entry("Operations", 7, "Readiness", "monitoring.readinessrun", "checklist"),
        )
        register_entries(
            Entry("Alerts", 0, "Alerts", "monitoring.alert", "notifications_active"),
            Entry("Alerts", 1, "Alert rules", "monitoring.alertrule", "rule"),
            Entry("Alerts", 2, "Silences", "monitoring.silence", "notifications_off"),
            Entry("Alerts", 3, "Notifications", "monitoring.notification", "outbox"),
            Entry("Alerts", 4, "Notification channels", "monitoring.notificationchannel", "campaign"),
        )
        register_debug_source(read_debug_targets)
        register_gate(ReadinessGate())
        registry.register(*health_checks.CHECKS, *spend_checks.CHECKS, *alert_checks.CHECKS)
        process_work.register(lambda process: SpanWriter(process, Sampling()))
        process_work.register(make_sampler)
        process_work.register(Notifier)
        process_work.register(AlertEvaluator)
        for job in (*JOBS, READINESS_JOB):
            register(job)
        if settings.BANDSTAND.otlp_endpoint:
            from monitoring.otlp import health_checks as export_checks

            register(EXPORT_JOB)
            registry.register(*export_checks.CHECKS)
