"""Health checks: one registry, filled by the apps, for the overview, the probes and alerts."""
