"""Secrets in rows: encrypted with a key outside the database, and bound to what they were entered for."""

from __future__ import annotations

import json
from collections.abc import Sequence


class SecretUnreadable(Exception):
    """The secret was encrypted with another key, or entered for something else."""


class SecretCipher:
    """Encrypts with the first of `keys` and reads what any of them encrypted, so that a key can be replaced.

    What a secret is bound to, such as an origin, is encrypted with it: put beside another one in the row, it cannot be
    read, and is not sent there.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        from cryptography.fernet import Fernet, InvalidToken, MultiFernet  # 8 MB, where secrets are read only

        self._invalid = InvalidToken
        fernets = [Fernet(key) for key in keys]
        self._current, self._fernet = fernets[0], MultiFernet(fernets)

    def encrypt(self, secret: str, *, bound_to: str) -> str:
        """An opaque text for a column."""
        return self._fernet.encrypt(json.dumps([bound_to, secret]).encode()).decode("ascii")

    def decrypt(self, text: str, *, bound_to: str) -> str:
        """The secret. Raises `SecretUnreadable`."""
        try:
            binding, secret = json.loads(self._fernet.decrypt(text.encode()))
        except (self._invalid, ValueError):
            raise SecretUnreadable("It was encrypted with another key.") from None
        if binding != bound_to:
            raise SecretUnreadable("It was entered for something else.")
        return str(secret)

    def reencrypt(self, text: str) -> str | None:
        """A new text for a column whose `text` another one than the first key has encrypted, else None.

        Raises `SecretUnreadable`.
        """
        try:
            self._current.decrypt(text.encode())
        except self._invalid:
            pass
        else:
            return None
        try:
            return self._fernet.rotate(text.encode()).decode("ascii")
        except self._invalid:
            raise SecretUnreadable("It was encrypted with another key.") from None
