"""What time it is."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.tools.tool import ToolError, tool
from foundation.clock import now


@tool(idempotent=True, writes=False, timeout_seconds=5, trusted_output=True)
def clock(timezone: str = "UTC") -> str:
    """Tell the current date and time.

    Args:
        timezone: An IANA name such as Europe/Zurich.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolError("There is no such time zone. Use an IANA name such as Europe/Zurich.") from None
    return now().astimezone(zone).strftime(f"%A, %Y-%m-%d %H:%M:%S %z ({timezone})")
