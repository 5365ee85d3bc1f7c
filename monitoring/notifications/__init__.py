"""Channels, and the delivery of notifications."""
