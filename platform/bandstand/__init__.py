"""Wiring: configuration, settings, URLs, ASGI, embedded database, supervisor, health."""
