"""Django's sessions in the database, under keys that show that this installation made them (`credential_tags`)."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.contrib.sessions.backends import db
from django.utils.crypto import get_random_string

from accounts.credential_tags import LETTERS, TAG_LENGTH, has_tag, tag_credential

# 134 bits. The column has room for 40 characters, with the tag.
RANDOM_LENGTH: Final = 26


class SessionStore(db.SessionStore):
    """The setting `SESSION_ENGINE` names this module."""

    def _get_new_session_key(self) -> str:
        while self.exists(session_key := _new_session_key()):
            pass
        return session_key

    async def _aget_new_session_key(self) -> str:
        while await self.aexists(session_key := _new_session_key()):
            pass
        return session_key


def is_session_key(text: str) -> bool:
    """Whether this installation made this key of a login, which may have ended. Makes no query."""
    return len(text) == RANDOM_LENGTH + TAG_LENGTH and has_tag(
        text, [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    )


def _new_session_key() -> str:
    return tag_credential(get_random_string(RANDOM_LENGTH, LETTERS), settings.SECRET_KEY)
