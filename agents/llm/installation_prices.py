"""What models cost in this installation. Knows no model and no network."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings

from agents.llm.model_catalog import Prices, Rates
from agents.llm.routes import OPENAI, OPENAI_BASE_URL, VENDORS
from agents.llm.stored_prices import StoredPrices


def open_prices(
    openai_base_url: str | None, overrides: Mapping[str, Rates], stored: StoredPrices | None = None
) -> Prices:
    """What models cost; see `Prices`."""
    listed = {name: vendor.listed for name, vendor in VENDORS.items()}
    providers = {OPENAI: openai_base_url or OPENAI_BASE_URL, **listed}
    return Prices(providers=providers, overrides=overrides, stored=stored)


def read_installation_prices() -> Prices:
    """The prices, with what owners have entered until now: one statement. For processes that do not listen for prices.
    What is listed in the table takes a quarter of a second when a process first asks."""
    config, stored = settings.BANDSTAND, StoredPrices()
    stored.load()
    return open_prices(config.openai_base_url, config.prices, stored)
