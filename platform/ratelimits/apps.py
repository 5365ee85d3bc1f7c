from django.apps import AppConfig


class RateLimitsConfig(AppConfig):
    name = "ratelimits"
    verbose_name = "Rate limits"

    def ready(self) -> None:
        from foundation.job_registry import Job, register

        register(
            Job(
                "delete full buckets",
                "ratelimits.buckets.purge_full_buckets",
                "Forgets limits that nobody has come near for a while.",
                "buckets deleted",
                every_minutes=10,
            )
        )
