"""What the rule in a form would have done: the context of the part of the page that says so."""

from __future__ import annotations

from typing import Any

from monitoring.admin.alert_rule_form import AlertRuleForm


def preview_context(form: AlertRuleForm) -> dict[str, Any]:
    """The context of the template of the preview for the values in a form that was validated, or for those of its
    rule if it is not bound."""
    return {}
