"""Credentials are told apart without being known."""

from __future__ import annotations

from agents.llm.gateway import GatewayConfig
from agents.llm.pydantic_ai import VendorConfig
from agents.routing.fingerprints import credential_fingerprints


def fingerprints(key: str = "sk-1", address: str | None = None, pepper: str = "pepper") -> dict[str, str]:
    vendor = VendorConfig("anthropic", key)
    config = GatewayConfig(openai_api_key=key, openai_base_url=address, vendors=(vendor,))
    return credential_fingerprints(config.identities(), pepper=pepper)


def test_another_key_address_or_installation_is_another_credential() -> None:
    one = fingerprints()
    assert one == fingerprints()
    assert set(one) == {"openai", "anthropic"}
    others = [fingerprints("sk-2"), fingerprints(address="http://127.0.0.1:1/v1"), fingerprints(pepper="salt")]
    assert len({one["openai"], *(other["openai"] for other in others)}) == 4
    assert one["openai"] != one["anthropic"], "the same key of another provider is another credential"


def test_a_fingerprint_holds_no_key() -> None:
    assert all("sk-1" not in text and len(text) == 16 for text in fingerprints().values())


def test_a_server_without_a_key_has_a_fingerprint_too() -> None:
    assert credential_fingerprints(GatewayConfig().identities(), pepper="pepper")["openai"]
