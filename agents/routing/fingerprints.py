"""Fingerprints of credentials: rows tell them apart, and nobody can find a key by its row."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

_LENGTH = 16


def credential_fingerprints(identities: Mapping[str, str], *, pepper: str) -> dict[str, str]:
    """A fingerprint for each provider, keyed with the installation's `pepper`. `identities` are all that makes a
    credential of a provider another one: its address and its key."""
    return {
        provider: hmac.digest(pepper.encode(), f"route\0{provider}\0{identity}".encode(), "sha256").hex()[:_LENGTH]
        for provider, identity in identities.items()
    }
