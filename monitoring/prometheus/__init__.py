"""Metrics for Prometheus: what `/metrics` says, in its text formats. Every number comes from the database."""
