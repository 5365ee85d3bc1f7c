"""Secrets in rows are read with their key, and for what they were entered for."""

from __future__ import annotations

import base64

import pytest

from foundation.encryption import SecretCipher, SecretUnreadable

OLD, NEW, OTHER = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))
HERE, THERE = "https://hooks.example.org:443", "https://evil.example.org:443"


def test_a_secret_is_read_again_and_does_not_stand_in_its_text() -> None:
    text = SecretCipher([OLD]).encrypt("whsec_secret", bound_to=HERE)
    assert "secret" not in text
    assert SecretCipher([OLD]).decrypt(text, bound_to=HERE) == "whsec_secret"


def test_a_secret_is_read_after_its_key_was_replaced() -> None:
    text = SecretCipher([OLD]).encrypt("one", bound_to=HERE)
    assert SecretCipher([NEW, OLD]).decrypt(text, bound_to=HERE) == "one"
    assert SecretCipher([NEW]).decrypt(SecretCipher([NEW, OLD]).encrypt("two", bound_to=HERE), bound_to=HERE) == "two"


def test_a_secret_moves_to_the_present_key_once() -> None:
    old = SecretCipher([OLD]).encrypt("one", bound_to=HERE)
    new = SecretCipher([NEW, OLD]).reencrypt(old)
    assert new is not None
    assert SecretCipher([NEW]).decrypt(new, bound_to=HERE) == "one"
    assert SecretCipher([NEW, OLD]).reencrypt(new) is None
    with pytest.raises(SecretUnreadable):
        SecretCipher([NEW]).reencrypt(old)


@pytest.mark.parametrize("keys", [[OTHER], [OTHER, NEW]])
def test_another_key_reads_nothing(keys: list[str]) -> None:
    with pytest.raises(SecretUnreadable, match="another key"):
        SecretCipher(keys).decrypt(SecretCipher([OLD]).encrypt("one", bound_to=HERE), bound_to=HERE)


def test_a_secret_beside_another_address_is_not_read() -> None:
    cipher = SecretCipher([OLD])
    with pytest.raises(SecretUnreadable, match="something else"):
        cipher.decrypt(cipher.encrypt("one", bound_to=HERE), bound_to=THERE)


@pytest.mark.parametrize("text", ["", "x", "gAAAAA", "ü"])
def test_what_was_never_encrypted_is_not_read(text: str) -> None:
    with pytest.raises(SecretUnreadable):
        SecretCipher([OLD]).decrypt(text, bound_to=HERE)
