"""What the environment says about a vendor."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class VendorConfig:
    """`base_url` None: the vendor's own address. Bedrock takes its credentials from AWS's own places if there is no
    key."""

    provider: str
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    region: str | None = None
