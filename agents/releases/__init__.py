"""What builders do: edit a draft, publish it as the next release."""

from agents.releases.publish import publish

__all__ = ["publish"]
