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
from playwright.async_api import Page

from agents.api.urls import urlpatterns
from foundation.errors import BandstandError
from rest.problem_responses import http_status
from tests.browser.chromium import chromium, executable
from tests.support.deployment import Deployment, deployment
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


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("deployment")) as started:
        yield started


def client_of(running: Deployment) -> dict[str, str]:
    """The environment of a developer's program."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **kept,
        "PATH": path,
        "NO_PROXY": "127.0.0.1",
        "BANDSTAND_URL": running.url,
        "BANDSTAND_API_KEY": running.keys["ada"],
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


async def sign_in(page: Page, running: Deployment) -> None:
    await page.goto(f"{running.url}/login/")
    await page.fill("[name=username]", "ada")
    await page.fill("[name=password]", PASSWORD)
    await page.press("[name=password]", "Enter")
    await page.wait_for_selector("[name=password]", state="detached")


async def test_a_browser_does_what_the_guide_says(running: Deployment) -> None:
    if executable() is None:
        pytest.skip("there is no Chromium on the PATH (CHROMIUM says where one is)")
    async with chromium() as browser:
        page = await browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        await sign_in(page, running)
        for example in examples("javascript browser"):
            said.clear()
            await page.evaluate(f"(async () => {{ {example.code} }})()")
            assert fits("\n".join(said), example.printed or ""), (example.line, said)


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
    known: set[tuple[int, str]] = {(500, "internal")}
    for kind in kinds_of(BandstandError):
        error: Any = kind.__new__(kind)
        if kind.__module__.startswith(ours) and kind.__module__ not in elsewhere:
            known.add((http_status(error), kind.code))
    table = {(int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `([a-z_]+)` \|", GUIDE, re.MULTILINE)}
    assert table == known


# --- the reference ---


async def test_the_reference_is_read_and_tried_in_a_browser(running: Deployment) -> None:
    if executable() is None:
        pytest.skip("there is no Chromium on the PATH (CHROMIUM says where one is)")
    async with chromium() as browser:
        page = await browser.new_page()
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        await sign_in(page, running)
        await page.goto(f"{running.url}/api/docs")
        await page.click("#operations-Sessions-create_session")
        await page.click("text=Try it out")
        async with page.expect_response(f"{running.url}/api/v1/sessions") as answered:
            await page.click("text=Execute")
        assert (await answered.value).status == 201, "the page's own login and its token are enough"
        assert said == [], "its policy stands in the way of something"
        assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {running.url.split("/")[2]}
