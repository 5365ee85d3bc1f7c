"""The OpenAPI schema is whole, sound, and what the routes are."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from agents.api.urls import urlpatterns
from agents.openai_api.urls import urlpatterns as openai_urlpatterns
from rest.schema.declarations import declared
from rest.schema.generator import Generator
from tests.support.declared import PREFIX, check, resolved, schema
from tests.support.surroundings import ROOT

METHODS = {"get", "post", "put", "patch", "delete"}


def routes() -> dict[tuple[str, str], type]:
    """Every method of every address below /api/v1 and /v1, with its view."""
    v1: Any = urlpatterns[0]
    found: dict[tuple[str, str], type] = {}
    both = [(PREFIX, pattern) for pattern in v1.url_patterns] + [("/v1/", one) for one in openai_urlpatterns[:-1]]
    for prefix, pattern in both:
        assert isinstance(pattern, URLPattern)
        view: Any = pattern.callback.cls  # type: ignore[attr-defined]
        path = prefix + re.sub(r"<[a-z]+:([a-z_]+)>", r"{\1}", str(pattern.pattern))
        found |= {(path, name): view for name in view.http_method_names if hasattr(view, name) and name in METHODS}
    return found


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {(path, method): one for path, methods in schema()["paths"].items() for method, one in methods.items()}


def test_it_has_every_route_and_method_and_no_other() -> None:
    missing = sorted(f"{method.upper()} {path}" for path, method in routes().keys() - operations().keys())
    assert not missing, f"declare them (see the docstring of agents.api.schema): {missing}"
    assert routes().keys() == operations().keys()
    assert set(declared().operations) == {(view, method) for (_, method), view in routes().items()}, (
        "declared without a route"
    )


def test_it_is_made_without_a_warning_and_sound() -> None:
    made = Generator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    assert not GENERATOR_STATS, (GENERATOR_STATS._warn_cache, GENERATOR_STATS._error_cache)
    validate_schema(made)


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = set(_references(schema()))
    for reference in used:
        resolved({"$ref": reference})
    named = {f"#/components/schemas/{name}" for name in schema()["components"]["schemas"]}
    assert named - used == set(), "components that nothing names"


def test_generators_of_clients_find_all_that_they_need() -> None:
    """Some know components only, some have no default for where it is served."""
    component = re.compile(r"#/components/[a-zA-Z]+/[A-Za-z-]+")
    assert [one for one in _references(schema()) if not component.fullmatch(one)] == []
    assert schema()["servers"] == [{"url": "/", "description": "This installation."}]
    assert schema()["info"]["license"]["name"]


def _references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [found for one in part for found in _references(one)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if "$ref" in part else list(part.get("mapping", {}).values())
    return own + [found for one in part.values() for found in _references(one)]


def test_every_operation_says_what_it_is_for() -> None:
    ids = [one["operationId"] for one in operations().values()]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in schema()["tags"]}
    for (path, method), one in operations().items():
        assert one["summary"], (method, path)
        assert one["description"], (method, path)
        assert set(one["tags"]) <= tags, (method, path)
        if "default" in one["responses"]:
            assert path.startswith("/v1/")
            continue
        assert {"401", "403", "406", "422", "429", "500", "503"} <= set(one["responses"]), (method, path)
        assert ("404" in one["responses"]) or "{" not in path, (method, path)
        for parameter in one["parameters"]:
            assert parameter["in"] == "path" or parameter["description"], (method, path, parameter["name"])


def test_every_example_is_what_it_is_an_example_of() -> None:
    for (path, method), one in operations().items():
        contents = [one["requestBody"]] if "requestBody" in one else []
        contents += [resolved(response) for response in one["responses"].values()]
        for content in contents:
            for media_type, body in content.get("content", {}).items():
                if body["schema"] == {"$ref": "#/components/schemas/OpenAIError"}:
                    continue
                assert "example" in body, (method, path, media_type)
                check(body["example"], body["schema"], f"{method} {path} ")
        for parameter in one["parameters"]:
            Draft202012Validator.check_schema(parameter["schema"])
            if "example" in parameter:
                check(parameter["example"], parameter["schema"], f"{method} {path} {parameter['name']}")


def test_a_field_that_is_not_declared_fails() -> None:
    agent = agent_example()
    check(agent, {"$ref": "#/components/schemas/Agent"})
    for wrong in ({**agent, "secret": 1}, {**agent, "release": "1"}, {k: v for k, v in agent.items() if k != "slug"}):
        with pytest.raises(AssertionError):
            check(wrong, {"$ref": "#/components/schemas/Agent"})


def agent_example() -> dict[str, Any]:
    page: dict[str, Any] = schema()["paths"]["/api/v1/agents/{slug}"]["get"]["responses"]["200"]
    example: dict[str, Any] = page["content"]["application/json"]["example"]
    return example


# --- served ---


def test_everybody_may_read_it_and_a_reader_who_has_it_gets_304() -> None:
    answer = Client().get("/api/schema")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert answer.json() == schema()
    assert Client().get("/api/schema", headers={"If-None-Match": answer["ETag"]}).status_code == 304
    assert Client().post("/api/schema").status_code == 405
    assert Client().get("/api/schema?x=1").status_code == 422


def test_the_page_loads_nothing_from_elsewhere() -> None:
    answer = Client().get("/api/docs")
    assert answer.status_code == 200
    text = answer.content.decode()
    assert "http://" not in text
    assert "https://" not in text
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy


def test_no_process_loads_the_library_before_somebody_asks() -> None:
    program = (
        "import sys, django; django.setup()\n"
        "import bandstand.asgi, bandstand.urls, agents.api.urls, agents.management.commands.runagents\n"
        "print([name for name in ('drf_spectacular.openapi', 'jsonschema') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": f".{os.pathsep}platform", "DJANGO_SETTINGS_MODULE": "bandstand.settings"}
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert found.stdout.strip() == "[]", found.stderr
