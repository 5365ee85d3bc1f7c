"""The buckets in which durations are counted, the same for every histogram, so that they can be added up."""

from __future__ import annotations

from typing import Final

# The upper bounds in seconds, inclusive as in Prometheus; what is longer goes into one more bucket.
DURATION_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
BUCKET_COUNT: Final = len(DURATION_BOUNDS) + 1
