"""What a call costs: the table that comes with the program, prices of one's own, and what is unknown."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest
from genai_prices import Usage as ListedUsage
from genai_prices import calc_price

from agents.domain.usage import BilledUsage, format_usd, sum_usage
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.interface import Usage
from agents.llm.model_catalog import Prices, Rates, read_overrides

MILLION = 1_000_000
PRICES = Prices(providers={"openai": "https://api.openai.com/v1", "anthropic": "anthropic", "google": "google"})
COUNTS = [
    Usage(1_000, 500),
    Usage(300_000, 10),
    Usage(1_000, 500, cached_tokens=900),
    Usage(900, 7, 500, 300),
    Usage(0, 0),
]


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5-mini"),
        ("openai", "gpt-5-mini-2025-08-07"),
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("anthropic", "claude-opus-4-5"),
        ("google", "gemini-2.5-pro"),
        ("google", "gemini-2.5-flash"),
    ],
)
@pytest.mark.parametrize("usage", COUNTS, ids=str)
def test_a_listed_price_is_the_table_s(provider: str, model: str, usage: Usage) -> None:
    counts = ListedUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    listed = calc_price(counts, model, provider_id=provider).total_price

    cost = PRICES.cost(provider=provider, model=model, usage=usage)

    assert cost == listed.quantize(Decimal("0.00000001"))
    assert cost > 0 or usage == Usage(0, 0)


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "of-our-own"), ("openai", ""), ("nobody", "gpt-5-mini"), ("google", "gpt-5-mini")],
)
def test_a_model_that_stands_nowhere_has_no_price(provider: str, model: str) -> None:
    assert PRICES.cost(provider=provider, model=model, usage=Usage(1, 1)) is None


@pytest.mark.parametrize(
    "usage", [Usage(-1, 1), Usage(1, -1), Usage(1, 1, -1), Usage(1, 1, 2), Usage(2, 1, 1, 2), Usage(10**13, 1)], ids=str
)
def test_counts_that_cannot_be_have_no_price(usage: Usage) -> None:
    assert PRICES.cost(provider="openai", model="gpt-5-mini", usage=usage) is None


def test_a_price_of_one_s_own_comes_before_the_table() -> None:
    overrides = read_overrides(" openai:gpt-5-mini=1/2 , openai:llama3:8b=1/0.5/2,local:*=0/0,")
    prices = Prices(providers=PRICES.providers, overrides=overrides)
    usage = Usage(MILLION, MILLION, cached_tokens=MILLION)

    assert prices.cost(provider="openai", model="gpt-5-mini", usage=usage) == 3
    assert prices.cost(provider="openai", model="llama3:8b", usage=usage) == Decimal("2.5")
    assert prices.cost(provider="local", model="anything", usage=usage) == 0
    assert prices.cost(provider="openai", model="gpt-4o", usage=usage) == Decimal("11.25")


async def test_a_call_without_output_needs_no_price_of_it() -> None:
    model = "text-embedding-3-small"
    price = await PRICES.bound(provider="openai", model=model, input_tokens=1, has_output=False)
    assert price is not None
    assert (price.input, price.output) == (Decimal("0.02"), Decimal(0))
    assert await PRICES.bound(provider="openai", model=model, input_tokens=1) is None


@pytest.mark.parametrize(
    "entry",
    ["gpt-5-mini=1/2", "openai:x=1", "openai:x=1/2/3/4", "openai:x=NaN/1", "openai:x=1/-1", "openai:x=Infinity/1",
     "openai:x=1/a", "openai:x=20000/1", "openai:x", "=1/2", "openai:x=1/"],
)  # fmt: skip
def test_a_price_that_cannot_be_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ValueError, match=r"^entry 2 must read provider:model=input/output "):
        read_overrides(f"openai:fine=1/2,{entry}")


def test_no_price_is_no_setting() -> None:
    assert read_overrides("") == {}


def test_the_model_that_answered_is_paid_for_and_the_offline_model_never() -> None:
    gateway = Gateway(GatewayConfig(prices={"openai:small": Rates(*[Decimal(1)] * 4)}))
    usage = Usage(MILLION, 0)

    assert gateway.cost("openai:gpt-4o", usage, response_model="small") == 1
    assert gateway.cost("openai:small", usage, response_model=None) == 1
    # A price that people set for a model also holds for the names by which it answers.
    assert gateway.cost("openai:small", usage, response_model="small-2026-01-01") == 1
    assert gateway.cost("openai:other", usage, response_model="nobody-knows") is None
    assert gateway.cost("openai:small", None, response_model="small") is None
    assert gateway.cost("offline:", usage, response_model="offline") == 0
    assert gateway.cost("offline:", None, response_model=None) == 0


def test_a_server_of_one_s_own_has_no_listed_price() -> None:
    gateway = Gateway(GatewayConfig(openai_base_url="http://127.0.0.1:11434/v1"))

    assert gateway.cost("openai:gpt-4o", Usage(1, 1), response_model="gpt-4o") is None


def test_one_unknown_number_makes_a_sum_unknown() -> None:
    assert sum_usage([]) == BilledUsage(0, 0, Decimal(0))
    assert sum_usage([BilledUsage(1, 2, Decimal(3)), BilledUsage(4, 5, Decimal(6))]) == BilledUsage(5, 7, Decimal(9))
    assert sum_usage([BilledUsage(1, 2, Decimal(3)), BilledUsage(4, 5, None), BilledUsage(0, 0)]) == BilledUsage(
        5, 7, None
    )
    assert sum_usage([BilledUsage(1, 2, Decimal(3)), BilledUsage(None, 5, Decimal(6))]) == BilledUsage(
        None, 7, Decimal(9)
    )
    assert BilledUsage(1, None).shape == {"input_tokens": 1, "output_tokens": None, "cost_usd": "0.00000000"}


def test_money_on_the_wire_is_a_plain_decimal() -> None:
    assert [format_usd(Decimal(text)) for text in ("0", "0E-8", "0.000123", "1E+2")] == [
        "0.00000000", "0.00000000", "0.00012300", "100.00000000",
    ]  # fmt: skip
    assert format_usd(None) is None


@pytest.mark.parametrize(
    ("route", "tokens"),
    [
        ("openai:gpt-4o", 128_000),
        ("openai:gpt-4o-2024-08-06", 128_000),
        ("anthropic:claude-sonnet-4-5-20250929", 200_000),
        ("openai:of-our-own", None),
        ("offline:", 128_000),
    ],
)
async def test_the_window_of_a_model_is_the_table_s(route: str, tokens: int | None) -> None:
    assert await Gateway(GatewayConfig()).window(route) == tokens


async def test_a_server_of_one_s_own_has_no_listed_window() -> None:
    gateway = Gateway(GatewayConfig(openai_base_url="http://127.0.0.1:11434/v1"))

    assert await gateway.window("openai:gpt-4o") is None


async def test_a_price_of_one_s_own_leaves_the_window_as_it_is() -> None:
    gateway = Gateway(GatewayConfig(prices={"openai:mine": Rates(*[Decimal(1)] * 4)}))

    assert await gateway.window("openai:mine") is None
    assert gateway.cost("openai:mine", Usage(MILLION, 0), response_model=None) == 1


def test_the_table_is_loaded_beside_the_event_loop_where_a_paid_model_is_asked_for_its_window() -> None:
    script = """
import asyncio, sys, threading
from agents.llm import model_catalog
from agents.llm.gateway import Gateway, GatewayConfig
find, threads = model_catalog._find, []
model_catalog._find = lambda *asked: (threads.append(threading.current_thread()), find(*asked))[1]
gateway = Gateway(GatewayConfig(openai_api_key="sk-1"))
asyncio.run(gateway.window("offline:"))
assert "genai_prices" not in sys.modules
asyncio.run(gateway.window("openai:gpt-5-mini"))
assert "genai_prices.data" in sys.modules
asyncio.run(gateway.window("openai:gpt-5-mini"))
[thread] = threads
assert thread is not threading.main_thread()
"""
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": "platform:."})
