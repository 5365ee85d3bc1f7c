"""`BANDSTAND_DIALECT`: which dialect and which deadlines a route has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.llm.dialect_settings import read_dialects
from agents.llm.dialects import GENERIC, PRESETS, preset_for_address
from agents.llm.interface import Deadlines

DOCS = Path(__file__).parents[4] / "docs" / "models.md"


def test_without_settings_a_route_has_the_dialect_of_its_server() -> None:
    dialects = read_dialects("")

    assert dialects.for_route("openai:m", PRESETS["mistral"]) == PRESETS["mistral"]
    assert dialects.deadlines_for("openai:m") == Deadlines()


def test_the_most_exact_entry_counts() -> None:
    dialects = read_dialects("vllm, openai:gpt*=azure ,openai:gpt-5=openai")

    names = [dialects.for_route(f"openai:{model}", GENERIC).name for model in ("qwen3", "gpt-4o", "gpt-5")]
    assert names == ["vllm", "azure", "openai"]


def test_options_change_the_preset_or_without_one_that_of_the_server() -> None:
    dialects = read_dialects("openai:a=vllm+stream_usage=no+limit_field=none,openai:b=+system_role=user")

    assert dialects.for_route("openai:a", GENERIC) == replace(PRESETS["vllm"], stream_usage=False, limit_field=None)
    assert dialects.for_route("openai:b", PRESETS["groq"]) == replace(PRESETS["groq"], system_role="user")


def test_deadlines_are_options_too_for_every_provider() -> None:
    dialects = replace(read_dialects("anthropic:*=+first_token_seconds=300"), deadlines=Deadlines(silence_seconds=90))

    assert dialects.deadlines_for("anthropic:x") == Deadlines(first_token_seconds=300, silence_seconds=90)
    assert dialects.deadlines_for("openai:x") == Deadlines(silence_seconds=90)


def test_a_model_may_end_in_a_plus() -> None:
    assert read_dialects("openai:command-r+=vllm").for_route("openai:command-r+", GENERIC).name == "vllm"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nonsense", "must name presets among generic, openai"),
        ("openai:x=nonsense", "must name presets among"),
        ("vllm+nonsense=yes", "must name options among"),
        ("vllm+name=x", "must name options among"),
        ("vllm+stream_usage=maybe", "must have stream_usage as one of yes, no"),
        ("vllm+limit_field=tokens", "must have limit_field as one of max_tokens, max_completion_tokens, none"),
        ("vllm+total_seconds=0", "must have total_seconds between 0 and"),
        ("vllm+total_seconds=nan", "must have total_seconds between 0 and"),
        ("vllm+total_seconds=soon", "must have total_seconds between 0 and"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_dialects(text)


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("api.openai.com", 443, "openai"),
        ("mine.openai.azure.com", 443, "azure"),
        ("127.0.0.1", 11434, "ollama"),
        ("api.openai.com.evil.test", 443, "generic"),
        ("models.test", 443, "generic"),
    ],
)
def test_a_well_known_address_says_its_dialect(host: str, port: int, name: str) -> None:
    assert preset_for_address(host, port).name == name


def test_the_guide_lists_every_preset() -> None:
    text = DOCS.read_text()

    assert [name for name in PRESETS if f"| `{name}` |" not in text] == []


def test_figures_of_the_circuit_breaker_are_options_too() -> None:
    dialects = read_dialects("vllm,openai:o3=+slow_seconds=180+probe_seconds=60")

    assert dialects.figures_for("openai:o3") == {"slow_seconds": 180, "probe_seconds": 60}
    assert dialects.figures_for("openai:other") == {}
    with pytest.raises(ValueError, match="probe_seconds between"):
        read_dialects("vllm+probe_seconds=0")


def test_the_context_window_of_a_model_is_an_option() -> None:
    dialects = read_dialects("openai:llama*=ollama+window=32768,anthropic:*=+total_seconds=9")
    assert dialects.window_for("openai:llama3.3") == 32_768
    assert dialects.window_for("openai:other") is dialects.window_for("anthropic:claude") is None
    for wrong in ("0", "1000", "-5", "x", "1e6", "9999999999"):
        with pytest.raises(ValueError, match="window between 1024"):
            read_dialects(f"vllm+window={wrong}")
