"""How the names of the demo's rows begin, by which they are recognised: removed with it, and not counted in metrics."""

from __future__ import annotations

from typing import Final

DEMO_PREFIX: Final = "sample-"
