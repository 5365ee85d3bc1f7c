"""What models cost in this installation, for processes that do not listen for prices."""

from __future__ import annotations

from django.conf import settings

from agents.llm.gateway import open_prices
from agents.llm.model_catalog import Prices
from agents.llm.stored_prices import StoredPrices


def read_installation_prices() -> Prices:
    """The prices, with what owners have entered until now: one statement. What is listed in the table takes a quarter
    of a second when a process first asks."""
    config, stored = settings.BANDSTAND, StoredPrices()
    stored.load()
    return open_prices(config.openai_base_url, config.prices, stored)
