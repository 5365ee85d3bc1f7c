"""Credentials that prove where they come from: the end of each is an HMAC over the rest of it.

Whoever makes one up makes up a wrong end, and is told from a customer without a query: however many invented keys
come from an address, they use up nothing of those who come from it with a good one. A tag lets nobody in: the row
decides that.
"""

from __future__ import annotations

import hashlib
import hmac
import string
from collections.abc import Iterable
from typing import Final

# What Django's sessions and the keys may both hold.
LETTERS: Final = string.ascii_lowercase + string.digits
# 51 bits: at a thousand guesses a second one is right in 70,000 years.
TAG_LENGTH: Final = 10


def tag_credential(text: str, secret: str) -> str:
    """`text` with its tag under this secret at the end."""
    return text + _tag(text, secret)


def has_tag(credential: str, secrets: Iterable[str]) -> bool:
    """Whether the end of `credential` is the tag of the rest under one of these secrets."""
    if not credential.isascii():
        return False
    text, tag = credential[:-TAG_LENGTH], credential[-TAG_LENGTH:]
    # All of them, so that timing does not reveal which secret a tag is under.
    matches = [hmac.compare_digest(tag, _tag(text, secret)) for secret in secrets]
    return any(matches)


def _tag(text: str, secret: str) -> str:
    # Not a digest that is stored anywhere: those are of the credential as it is, under the same secret.
    digest = hmac.digest(secret.encode(), b"bandstand credential tag\0" + text.encode(), hashlib.sha256)
    number, letters = int.from_bytes(digest), []
    for _ in range(TAG_LENGTH):
        number, letter = divmod(number, len(LETTERS))
        letters.append(LETTERS[letter])
    return "".join(letters)
