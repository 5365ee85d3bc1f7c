"""Monitoring for operators: overview, charts, readiness, checks of the database. It only reads other apps' data."""
