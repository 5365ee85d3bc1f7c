"""Versioned forms that read from the audit trail who made the conflicting change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from accounts.audit import find_last_change
from console.versioned_forms import VersionedFormMixin


class AuditedFormMixin(VersionedFormMixin):
    """A `VersionedFormMixin` for rows whose changes are recorded in the audit trail."""

    def last_change(self, row: Any) -> tuple[str, datetime | None]:
        entry = find_last_change(row)
        return (entry.actor, entry.at) if entry is not None else ("somebody", None)
