"""Notifications of alerts: their channels, the outbox, and their delivery."""
