"""Two limits never share a bucket: whoever used up one would use up the other."""

from __future__ import annotations

import re
from collections import Counter

from tests.support.surroundings import ROOT

PARTS = ("agents", "memory", "monitoring", "platform")
# A key is the limit, whose it is, and who: `r:u:12`.
PREFIX = re.compile(r'"([a-z]{1,2}:[a-z]:)(?:\{[^"]*)?"')


def test_every_limit_has_keys_of_its_own() -> None:
    sources = [path.read_text(encoding="utf-8") for part in PARTS for path in (ROOT / part).rglob("*.py")]
    prefixes = Counter(prefix for source in sources if "ratelimits" in source for prefix in PREFIX.findall(source))
    assert len(prefixes) >= 12
    assert {prefix: count for prefix, count in prefixes.items() if count > 1} == {}
