"""The channel of NOTIFY by which processes hear of prices."""

from __future__ import annotations

from typing import Final

# A price has changed.
PRICES_CHANNEL: Final = "bandstand_prices"
