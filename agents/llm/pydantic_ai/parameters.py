"""The options and tools of a request, for pydantic-ai."""

from __future__ import annotations

from typing import cast

from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.profiles.google import GoogleModelProfile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from agents.llm.errors import BadModelRequest
from agents.llm.interface import ModelRequest
from agents.llm.routes import supports_json_format


def model_settings(request: ModelRequest, provider: str) -> ModelSettings:
    """Only settings that the provider supports: pydantic-ai warns about others."""
    settings = ModelSettings()
    if provider != "bedrock":
        settings["max_retries"] = 0
    if request.max_output_tokens is not None:
        settings["max_tokens"] = request.max_output_tokens
    if request.stop:
        settings["stop_sequences"] = list(request.stop)
    if request.must_call:
        settings["tool_choice"] = "required"
    if request.one_call and request.tools and provider == "anthropic":
        settings["parallel_tool_calls"] = False
    return settings


def request_parameters(request: ModelRequest) -> ModelRequestParameters:
    """The tools and the output format of the request."""
    tools = [
        ToolDefinition(
            name=tool.name,
            description=tool.description,
            parameters_json_schema=tool.parameters,
            # None leaves it to the vendor.
            strict=tool.strict or None,
        )
        for tool in request.tools
    ]
    if request.json is None:
        return ModelRequestParameters(function_tools=tools)
    if request.json.schema is None:
        # The client's instructions are not extended.
        return ModelRequestParameters(function_tools=tools, output_mode="prompted", prompted_output_template=False)
    output_object = OutputObjectDefinition(
        json_schema=request.json.schema, name=request.json.name, description=request.json.description or None
    )
    return ModelRequestParameters(function_tools=tools, output_mode="native", output_object=output_object)


def check_format(request: ModelRequest, provider: str, profile: ModelProfile) -> None:
    """Raise `BadModelRequest` when the model does not support the requested format of the answer."""
    if request.json is None:
        return
    if request.json.schema is None:
        is_supported = supports_json_format(provider, tools=bool(request.tools))
    else:
        is_supported = profile.get("supports_json_schema_output", False) and not (
            provider == "google"
            and request.tools
            and not cast(GoogleModelProfile, profile).get("google_supports_tool_combination", False)
        )
    if not is_supported:
        suffix = " while it has tools" if request.tools else ""
        raise BadModelRequest(f"The agent's model cannot be held to this form of answer{suffix}.")
