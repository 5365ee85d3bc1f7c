from django.apps import AppConfig


class RestConfig(AppConfig):
    name = "rest"
    verbose_name = "REST"

    def ready(self) -> None:
        from foundation.job_registry import Job, Retention, register

        register(
            Job(
                "delete idempotency keys",
                "rest.tasks.purge_idempotency",
                "Forgets answers kept for repeated requests for 48 hours.",
                "answers forgotten",
                every_minutes=60,
                retentions=(Retention("Answers to requests with an Idempotency-Key", "48 hours"),),
            )
        )
