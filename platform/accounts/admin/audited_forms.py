"""Versioned forms that know from the audit trail who saved first."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from accounts.audit import last_change_of
from console.versioned_forms import Versioned


class AuditedForm(Versioned):
    """A `Versioned` form over rows whose changes are in the audit trail."""

    def last_change(self, row: Any) -> tuple[str, datetime | None]:
        entry = last_change_of(row)
        return (entry.actor, entry.at) if entry is not None else ("somebody", None)
