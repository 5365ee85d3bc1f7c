"""Every vendor that has no OpenAI-compatible interface, through pydantic-ai's low-level requests: an optional extra.

Its libraries take a second and a hundred megabytes to load, so nothing imports them before a route needs them.
"""

from agents.llm.pydantic_ai.adapter import VendorModel
from agents.llm.pydantic_ai.config import VendorConfig

__all__ = ["VendorConfig", "VendorModel"]
