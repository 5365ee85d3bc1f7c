"""docs/api.md does what it says: every example runs against a whole installation and prints what stands below it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.async_api import Page

from agents.api.urls import urlpatterns
from bandstand.web.transport import NO_HTTPS, NO_UPGRADE
from foundation.errors import BandstandError
from rest.problem_responses import http_status
from tests.browser.chromium import chromium, executable
from tests.support.deployment import Deployment
from tests.support.people import PASSWORD
from tests.support.surroundings import ROOT

GUIDE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
SECONDS = 120

_BLOCK = re.compile(
    r"^(?P<spared><!-- not run -->\n)?```(?P<language>[a-z ]+)\n(?P<code>.*?)^```\n"
    r"(?:\n```text\n(?P<printed>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Example:
    language: str
    code: str
    printed: str | None
    line: int


def examples(*languages: str) -> list[Example]:
    """The examples in these languages, in their order."""
    return [
        Example(found["language"], found["code"], found["printed"], GUIDE.count("\n", 0, found.start()) + 1)
        for found in _BLOCK.finditer(GUIDE)
        if not found["spared"] and found["language"] in languages
    ]


def fits(printed: str, expected: str) -> bool:
    """Whether `printed` is `expected`, in which `…` stands for anything."""
    pattern = ".*?".join(map(re.escape, expected.strip().split("…")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def client_of(running: Deployment) -> dict[str, str]:
    """The environment of a developer's program."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **kept,
        "PATH": path,
        "NO_PROXY": "127.0.0.1",
        "BANDSTAND_URL": running.url,
        "BANDSTAND_API_KEY": running.keys["grace"],
    }


def need(name: str, version: str) -> str:
    """Where a program is that the examples use; skips the test where there is none, or only an older one."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} on the PATH")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"(\d+)\.(\d+)", said)
    if number is None or [int(part) for part in number.groups()] < [int(part) for part in version.split(".")]:
        pytest.skip(f"the examples are for {name} {version} and later")
    return found


def run(example: Example, command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
    )
    where = f"docs/api.md:{example.line} printed\n{done.stdout}"
    assert done.returncode == 0, where
    assert fits(done.stdout, example.printed or ""), where


def test_every_example_is_found() -> None:
    fences = len(re.findall(r"^```[a-z]", GUIDE, re.MULTILINE))
    outputs = len(re.findall("^```text", GUIDE, re.MULTILINE))
    found = examples("sh", "python", "javascript", "javascript browser")
    spared = GUIDE.count("<!-- not run -->")
    assert len(found) + spared == fences - outputs
    assert sum(1 for example in found if example.printed) == outputs
    assert spared == 1


def test_what_differs_is_told_from_what_was_said() -> None:
    assert fits('{"id":"7","a":1}\n', '{"id":"…","a":1}')
    assert not fits('{"id":"7","a":2}', '{"id":"…","a":1}')
    assert not fits("one\ntwo", "one")


def test_the_shell_and_python_do_what_the_guide_says(running: Deployment, tmp_path: Path) -> None:
    need("curl", "7.84")
    # One shell after the other, each with what the ones before it have set.
    kept = tmp_path / "variables"
    kept.touch()
    keep = f"none=; trap 'declare -p $(compgen -v | grep -x \"[a-z]*\") > {kept}' EXIT\nsource {kept}\n"
    for example in examples("sh", "python"):
        command = (
            ["bash", "-c", keep + example.code] if example.language == "sh" else [sys.executable, "-c", example.code]
        )
        run(example, command, client_of(running))


def test_javascript_does_what_the_guide_says(running: Deployment, tmp_path: Path) -> None:
    node = need("node", "20.0")
    for example in examples("javascript"):
        program = tmp_path / "example.mjs"
        program.write_text(example.code)
        run(example, [node, str(program)], client_of(running))


# A program over a client that somebody has generated from `/api/schema`.
GENERATED_CLIENT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from client import AuthenticatedClient
from client.api.sessions import create_session, delete_session, list_messages, update_session
from client.api.turns import create_turn
from client.models import CreateSessionBody, CreateTurnBody, Problem, Session, Turn, UpdateSessionBody

client = AuthenticatedClient(base_url=os.environ["BANDSTAND_URL"], token=os.environ["BANDSTAND_API_KEY"])
session = create_session.sync(client=client, body=CreateSessionBody(agent="demo", title="Sums"))
assert isinstance(session, Session), session
question = CreateTurnBody(input_="What is 17 * 3?")
turn = create_turn.sync(session.id, client=client, body=question, prefer="wait=30", idempotency_key="generated-1")
assert isinstance(turn, Turn), turn
page = list_messages.sync(session.id, client=client)
print(turn.status.value, page.results[-1].parts[-1].text.splitlines()[0])
change = UpdateSessionBody(title="Harder sums")
refused = update_session.sync(session.id, client=client, body=change, if_match='"99"')
assert isinstance(refused, Problem), refused
changed = update_session.sync(session.id, client=client, body=change, if_match=f'"{session.version}"')
deleted = delete_session.sync_detailed(session.id, client=client, if_match="*")
print(refused.code, changed.title, deleted.status_code.value)
"""
# Another one, over models only.
GENERATED_MODELS = """
import os, sys
import requests
sys.path.insert(0, sys.argv[1])
from models import AgentPage, Event, EventPage, Problem, Session, Turn

http = requests.Session()
http.headers["Authorization"] = f"Bearer {os.environ['BANDSTAND_API_KEY']}"
api = os.environ["BANDSTAND_URL"] + "/api/v1"
assert AgentPage.model_validate_json(http.get(f"{api}/agents").text).results[0].slug == "demo"
session = Session.model_validate_json(http.post(f"{api}/sessions", json={"agent": "demo"}).text)
turns = f"{api}/sessions/{session.id}/turns"
turn = Turn.model_validate_json(http.post(turns, json={"input": "What is 17 * 3?"}, headers={"Prefer": "wait=30"}).text)
events = EventPage.model_validate_json(http.get(f"{api}/sessions/{session.id}/events").text)
assert isinstance(events.results[0], Event)
print(turn.status.value, turn.answer.parts[-1].root.text.splitlines()[0])
print(events.results[-1].root.event, Problem.model_validate_json(http.get(f"{api}/turns/1").text).code)
"""


def generate(command: list[str]) -> None:
    whole = [sys.executable, "-m", *command]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arning" not in done.stdout + done.stderr, "a part of the schema was not understood"


def test_generated_clients_do_what_the_guide_says(running: Deployment, tmp_path: Path) -> None:
    schema, config = tmp_path / "schema.json", tmp_path / "config.json"
    schema.write_bytes(requests.get(f"{running.url}/api/schema", timeout=10).content)
    config.write_text('{"post_hooks": []}')
    client = ["--path", str(schema), "--output-path", str(tmp_path / "client"), "--meta", "none"]
    generate(["openapi_python_client", "generate", *client, "--config", str(config)])
    models = ["--input", str(schema), "--input-file-type", "openapi", "--output", str(tmp_path / "models.py")]
    kind = ["--output-model-type", "pydantic_v2.BaseModel", "--formatters", "builtin"]
    generate(["datamodel_code_generator", *models, *kind])
    for program, printed in (
        (GENERATED_CLIENT, "completed `calculator` says: 51\nprecondition_failed Harder sums 204"),
        (GENERATED_MODELS, "completed `calculator` says: 51\nturn.completed invalid"),
    ):
        example = Example("python", program, printed, 0)
        run(example, [sys.executable, "-c", program, str(tmp_path)], client_of(running))


async def sign_in(page: Page, running: Deployment) -> None:
    await page.goto(f"{running.url}/login/")
    await page.fill("[name=username]", "grace")
    await page.fill("[name=password]", PASSWORD)
    await page.press("[name=password]", "Enter")
    await page.wait_for_selector("[name=password]", state="detached")


async def follow_the_guide(page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for example in examples("javascript browser"):
        said.clear()
        await page.evaluate(f"(async () => {{ {example.code} }})()")
        assert fits("\n".join(said), example.printed or ""), (example.line, said)


async def try_the_reference(page: Page, running: Deployment) -> None:
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{running.url}/api/docs")
    await page.click("#operations-Sessions-create_session")
    await page.click("text=Try it out")
    async with page.expect_response(f"{running.url}/api/v1/sessions") as answered:
        await page.click("text=Execute")
    assert (await answered.value).status == 201, "the page's own login and its token are enough"
    assert said == [], "its policy stands in the way of something"
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {running.url.split("/")[2]}


async def test_a_browser_does_what_the_guide_says_and_the_reference_is_tried_in_it(running: Deployment) -> None:
    if executable() is None:
        pytest.skip("there is no Chromium on the PATH (CHROMIUM says where one is)")
    async with chromium() as browser:
        page = await browser.new_page()
        await sign_in(page, running)
        await follow_the_guide(page)
        await try_the_reference(page, running)


# --- the table of errors ---


def kinds_of(kind: type[BandstandError]) -> Iterator[type[BandstandError]]:
    for below in kind.__subclasses__():
        yield below
        yield from kinds_of(below)


def test_every_code_of_a_refusal_is_in_the_table() -> None:
    assert urlpatterns, "all views are loaded"
    ours = ("foundation.errors", "rest.", "agents.sessions.", "agents.http.", "accounts.", "ratelimits.")
    # Of the websocket, the OpenAI-compatible endpoint and the console.
    elsewhere = (
        "agents.sessions.openai_completions.completion_types",
        "agents.sessions.operator_actions",
    )
    known = {(500, "internal"), *((refusal.status, refusal.code) for refusal in (NO_HTTPS, NO_UPGRADE))}
    for kind in kinds_of(BandstandError):
        error: Any = kind.__new__(kind)
        if kind.__module__.startswith(ours) and kind.__module__ not in elsewhere:
            known.add((http_status(error), kind.code))
    table = {(int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `([a-z_]+)` \|", GUIDE, re.MULTILINE)}
    assert table == known
