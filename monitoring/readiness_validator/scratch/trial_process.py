"""The process of the trials: it makes the scratch schema, tries everything there, and drops it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any, Final


def main() -> None:
    """Read `{database, settings}` from standard input, and write the report to standard output, both as JSON.

    Whatever happens, the process ends after the settings' `seconds` and a little.
    """
    order = json.load(sys.stdin)
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # Whatever prints: the report is all that is read of standard output.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _set_environment()

    import django

    django.setup()
    if "sentry_sdk" in sys.modules:
        import sentry_sdk

        # The failures of a trial are wanted. Without an address the SDK sends nothing.
        sentry_sdk.init()

    from monitoring.readiness_validator.scratch import scratch_schema
    from monitoring.readiness_validator.scratch.trial_settings import TrialSettings

    settings = TrialSettings.parse(order["settings"])
    signal.alarm(int(settings.seconds) + _GRACE_SECONDS)
    source = _use_database(order["database"])
    try:
        use_scratch_schema(source)
        with report:
            json.dump(asyncio.run(_run(settings)), report)
    finally:
        scratch_schema.drop_scratch_schema()


_GRACE_SECONDS: Final = 15


def _set_environment() -> None:
    """Nothing of the trials leaves this machine, and no embedding model is started for them."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    os.environ["BANDSTAND_ROLE"] = "runner"
    os.environ["BANDSTAND_EMBEDDINGS"] = "fake"
    for name in ("SENTRY_DSN", "OTEL_EXPORTER_OTLP_ENDPOINT", "EMAIL_URL", "BANDSTAND_EMBEDDING_DIMENSIONS"):
        os.environ.pop(name, None)
        os.environ.pop(f"{name}_FILE", None)


def _use_database(parameters: dict[str, Any]) -> str:
    """Connect to the parent's database; returns the schema of its tables."""
    from django.db import connection

    from monitoring.readiness_validator.scratch import scratch_schema

    connection.settings_dict.update(parameters)
    source = scratch_schema.current_schema()
    scratch_schema.create_scratch_schema(source)
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    return source


def use_scratch_schema(source: str) -> None:
    """Have this process's connections look into the scratch schema first. Ends the process where they do not."""
    from django.db import connection

    from monitoring.readiness_validator.scratch import scratch_schema
    from monitoring.readiness_validator.scratch.scratch_schema import SCHEMA

    options = connection.settings_dict["OPTIONS"]
    options["options"] = f"{options.get('options', '')} -c search_path={SCHEMA},{source}"
    # A pooler between us and the server may leave such options out: then the trials would write real rows.
    if scratch_schema.current_schema() != SCHEMA:
        raise SystemExit("Connections do not keep the search path that they are opened with.")
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]


async def _run(settings: Any) -> dict[str, Any]:
    from monitoring.readiness_validator.scratch import (
        alert_trial,
        breaker_trial,
        load_trial,
        memory_trial,
        trial_settings,
    )
    from monitoring.readiness_validator.scratch.scratch_provider import scratch_provider
    from monitoring.readiness_validator.scratch.trial_bench import open_bench

    trials = {
        trial_settings.ALERT: alert_trial.try_alert,
        trial_settings.BREAKER: breaker_trial.try_breaker,
        trial_settings.LOAD: load_trial.try_load,
        trial_settings.MEMORY: memory_trial.try_memory,
    }
    results: dict[str, Any] = {}
    faults: dict[str, str] = {}
    async with scratch_provider() as provider, open_bench(settings, provider) as bench:
        try:
            async with asyncio.timeout(settings.seconds):
                for name in settings.trials:
                    try:
                        results[name] = await trials[name](bench)
                    except TimeoutError:
                        raise
                    except Exception as error:  # one that fails is a line of the report; the others go on
                        faults[name] = f"{type(error).__name__}: {error}"
        except TimeoutError:
            faults |= {name: "It took too long." for name in settings.trials if name not in results}
    return {"results": results, "faults": faults}
