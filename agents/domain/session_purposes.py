"""What a session is for: people, or trying something out, which no figure of production counts.

The condition on rows of sessions is `agents.models.IN_PRODUCTION`.
"""

from __future__ import annotations

from enum import StrEnum


class SessionPurpose(StrEnum):
    """`production` is stored as "", so that nearly all rows take no byte for it."""

    PRODUCTION = ""
    STAGING = "staging"  # a builder talks to the candidate of a deployment
    TRIAL = "trial"  # a builder tries a draft
    EVALUATION = "evaluation"  # a lane of an entry of a test set: recorded tool results are the world
