"""Samples of what has no history of its own: gauges of the installation, and the figures of each process."""

from __future__ import annotations

from django.db import models


class GaugeSample(models.Model):
    """The value of a gauge at a moment, written each 30 s by one of the processes (`monitoring.sampling`)."""

    id = models.BigAutoField(primary_key=True)
    metric = models.CharField(max_length=40)
    labels = models.JSONField(default=dict, blank=True)
    at = models.DateTimeField()
    value = models.FloatField()

    class Meta:
        indexes = [models.Index(fields=["metric", "at"], name="gauge_sample_of_metric")]

    def __str__(self) -> str:
        return f"{self.metric} {self.value:g}"


class ProcessSample(models.Model):
    """What a process says of itself each 30 s. Totals count from its start and only rise; means are those of the time
    since its sample before, null where nothing was measured."""

    id = models.BigAutoField(primary_key=True)
    process_id = models.UUIDField(help_text="Of a runner: the id of its row.")
    kind = models.CharField(max_length=10, help_text="runner or web.")
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    at = models.DateTimeField()
    status = models.CharField(max_length=10, help_text="running, blocked or draining.")
    requests_total = models.BigIntegerField(
        help_text="Turns that a runner ended; requests that a web process answered."
    )
    errors_total = models.BigIntegerField()
    mean_seconds = models.FloatField(null=True, help_text="Of a turn, or to a response.")
    memory_bytes = models.BigIntegerField(null=True, help_text="Resident memory of the process.")
    memory_used_bytes = models.BigIntegerField(null=True, help_text="What everybody uses of the limit.")
    memory_limit_bytes = models.BigIntegerField(null=True, help_text="Of its cgroup, else of the machine.")
    cpu_percent = models.FloatField(null=True, help_text="Of one core.")
    queue_length = models.IntegerField(help_text="Runner: turns in the queue of all. Web: requests in progress.")
    active_sessions = models.IntegerField(help_text="With a turn at work; with somebody who watches.")
    context_percent = models.FloatField(null=True, help_text="Mean share of the models' windows in use.")
    figures = models.JSONField(default=dict, blank=True, help_text="What else the process counts.")

    class Meta:
        indexes = [
            models.Index(fields=["process_id", "at"], name="process_sample_of_process"),
            models.Index(fields=["at"], name="process_sample_at"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.host}:{self.pid}"
