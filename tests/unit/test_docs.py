"""What the documents point to exists: files, functions in them, chapters, commands and settings."""

import re
from pathlib import Path

import pytest

from bandstand.config import secret_variables, variables

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
# What programs that use the API are told, in the examples.
CLIENTS = {"BANDSTAND_URL", "BANDSTAND_API_KEY"}

# [text](target); pictures look the same and must exist as well.
_LINK = re.compile(r"\[(?P<text>[^\]\n]+(?:\n[^\]\n]+)?)\]\((?P<target>[^)\s]+)\)")
_NAME = re.compile(r"`([A-Za-z_]\w*)`")
_FILE = re.compile(r"[\w./-]+\.(?:py|md|js|css|html)|[\w./]+/")
_SETTING = re.compile(r"\bBANDSTAND_[A-Z_]*[A-Z]\b")
_COMMAND = re.compile(r"(?:^|`)(?:[A-Z]+=\S+ )*make ([a-z-]+)\b", re.MULTILINE)


def defines(name: str) -> re.Pattern[str]:
    """A definition of `name` in Python or JavaScript."""
    words = rf"(?:async\s+def|def|class|function)\s+{name}\b"
    return re.compile(rf"^\s*(?:export\s+)?(?:{words}|{name}\s*(?::[^=\n]+)?=|{name}\([^)]*\)\s*\{{)", re.MULTILINE)


def chapters(document: Path) -> set[str]:
    """The anchors of a document's headings, as its readers' programs make them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(document: Path, text: str, target: str) -> bool:
    """Whether a link of `document` finds its file, its chapter, and the name in the file that it speaks of."""
    path, _, chapter = target.partition("#")
    file = document.parent / path if path else document
    if not file.exists():
        return False
    if chapter and chapter not in chapters(file):
        return False
    if _FILE.fullmatch(text):
        return is_named(text, file)
    name = _NAME.fullmatch(text)
    return name is None or defines(name[1]).search(file.read_text(encoding="utf-8")) is not None


def is_named(text: str, file: Path) -> bool:
    """Whether `text` is the end of the file's path, or one of the folders on it."""
    path = f"/{file.resolve()}/"
    return f"/{text}" in path if text.endswith("/") else path.endswith(f"/{text}/")


def dead_links(document: Path) -> list[str]:
    """The links that lead nowhere; those into the web are not followed."""
    links = _LINK.finditer(document.read_text(encoding="utf-8"))
    return [
        link[0]
        for link in links
        if "://" not in link["target"] and not leads_somewhere(document, link["text"], link["target"])
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    assert dead_links(document) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_is_one_that_is_understood(document: Path) -> None:
    known = {*variables(), *(f"{name}_FILE" for name in secret_variables()), *CLIENTS}
    assert set(_SETTING.findall(document.read_text(encoding="utf-8"))) <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_command_has_its_rule(document: Path) -> None:
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(_COMMAND.findall(document.read_text(encoding="utf-8"))) <= rules


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("def here() -> None: ...\n")
    document = tmp_path / "page.md"
    sound = ["[`here`](code.py)", "[code](code.py)", "[top](#the-top)", "[web](https://example.org/)"]
    sound.append("[page.md](page.md)")
    dead = [
        "[`gone`](code.py)",
        "[other.py](code.py)",
        "[tests/](code.py)",
        "[file](gone.py)",
        "[chapter](#gone)",
        "![picture](gone.png)",
    ]
    document.write_text("# The top\n" + "\n".join(sound + dead))
    assert dead_links(document) == [link.removeprefix("!") for link in dead]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_example_that_asks_and_streams_has_an_idempotency_key(document: Path) -> None:
    """Libraries send a POST again when its stream breaks."""
    blocks = re.findall(r"^```[a-z]+\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    streaming = [
        block for block in blocks if "text/event-stream" in block or re.search(r'stream"?[:=] ?[tT]rue', block)
    ]
    assert [block for block in streaming if "Idempotency-Key" not in block] == []
