"""The providers that a route may name, the libraries that each needs, and the errors of routes that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

OFFLINE = "offline"
OPENAI = "openai"
OPENAI_BASE_URL = "https://api.openai.com/v1"
HOW_TO_INSTALL = "start with `make run VENDORS=1`, or install requirements-vendors.lock"


@dataclass(frozen=True, slots=True)
class Vendor:
    """A provider behind the optional extra. `package` is its own library; `listed` its id in the price table;
    `plain_json`: it can answer in JSON without a schema, at least in requests without tools."""

    package: str
    listed: str
    plain_json: bool = False


VENDORS: Mapping[str, Vendor] = {
    "anthropic": Vendor("anthropic", "anthropic"),
    "google": Vendor("google.genai", "google", plain_json=True),
    "bedrock": Vendor("boto3", "aws"),
}
PROVIDERS = (OFFLINE, OPENAI, *VENDORS)


def route_error(route: str) -> str | None:
    """Why `route` cannot be used in this installation, as a sentence for people; None when it can."""
    provider, colon, model = route.partition(":")
    if not colon and provider != OFFLINE:
        return f"A route reads provider:model; {route!r} does not."
    if provider not in PROVIDERS:
        return f"There is no provider {provider!r} here; there are {', '.join(PROVIDERS)}."
    if not model and provider != OFFLINE:
        return f"The route {route!r} does not name a model."
    if provider in VENDORS and not is_installed(provider):
        return f"The libraries for {provider}: routes are not installed: {HOW_TO_INSTALL}."
    return None


def supports_json_format(route: str, *, tools: bool) -> bool:
    """Whether the model of `route` can answer in JSON without a schema; `tools`: in requests with tools."""
    vendor = VENDORS.get(route.partition(":")[0])
    return vendor is None or (vendor.plain_json and not tools)


@cache
def is_installed(provider: str) -> bool:
    """Whether the libraries of a vendor are installed. Imports none of them."""
    try:
        return all(find_spec(name) is not None for name in ("pydantic_ai", VENDORS[provider].package))
    except ModuleNotFoundError:
        return False  # its parent package is not installed
