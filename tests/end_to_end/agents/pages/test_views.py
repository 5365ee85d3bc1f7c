"""The pages: who sees them, what they may load, and how one gets in and out."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from accounts.roles import Role
from agents.pages import views as pages
from bandstand.static_collection import version
from tests.support.people import PASSWORD, person

pytestmark = pytest.mark.django_db

POLICY = "Content-Security-Policy"
STATIC = Path(pages.__file__).resolve().parent / "static" / "bandstand"


def static_name(address: str) -> str:
    """The name of the file at an address with the version that is served now."""
    prefix = f"{settings.STATIC_URL}{version()}/"
    assert address.startswith(prefix), address
    return address.removeprefix(prefix).partition("#")[0]


@pytest.fixture
def ada() -> Client:
    client = Client()
    client.force_login(person("ada", Role.USER))
    return client


class Page(HTMLParser):
    """What matters of a page: its elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.inline += data.strip()

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def test_the_chat_asks_for_a_login_and_comes_back_after_it() -> None:
    client = Client()
    assert client.get("/").headers["Location"] == "/login/?next=/"
    person("ada", Role.USER)
    answer = client.post("/login/?next=/", {"username": "ada", "password": PASSWORD, "next": "/"})
    assert answer.headers["Location"] == "/"
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(("role", "leads_to"), [(Role.OPERATOR, "/admin/"), (Role.VIEWER, "/admin/"), (None, None)])
def test_who_may_not_chat_is_sent_to_the_console_if_that_is_open(role: Role | None, leads_to: str | None) -> None:
    client = Client()
    client.force_login(person("vera", *([role] if role else [])))
    assert client.get("/").headers.get("Location") == leads_to


def test_refusals_of_pages_look_like_pages_and_lead_back(ada: Client) -> None:
    ada.force_login(person("vera", Role.VIEWER))
    late = Client(enforce_csrf_checks=True).post("/login/", {"username": "ada", "password": PASSWORD})
    answers = [(404, ada.get("/nowhere")), (403, ada.get("/admin/accounts/user/")), (403, late)]
    for status, answer in answers:
        text = answer.content.decode()
        assert answer.status_code == status
        assert "bandstand/account/login.css" in text
        assert '<a href="/">' in text
        assert not Page(text).inline
    assert "out of date" in late.content.decode()


@pytest.mark.parametrize("name", ["400.html", "500.html"])
def test_a_page_for_faults_needs_nothing_of_the_request(name: str) -> None:
    assert '<a href="/">' in render_to_string(name)


def test_a_monitor_that_asks_for_the_head_of_a_page_gets_it(ada: Client) -> None:
    for path in ("/", "/help/", "/login/"):
        assert ada.head(path, follow=True).status_code == 200, path


def test_the_login_keeps_the_open_chat_in_its_fragment() -> None:
    person("ada", Role.USER)
    answer = Client().post("/login/", {"username": "ada", "password": PASSWORD, "next": "/#0193-chat"})
    assert answer.headers["Location"] == "/#0193-chat"


@pytest.mark.parametrize("target", ["https://evil.test/", "//evil.test/", "javascript:alert(1)", "/\\evil.test"])
def test_the_login_leads_to_no_other_site(target: str) -> None:
    person("ada", Role.USER)
    answer = Client().post("/login/", {"username": "ada", "password": PASSWORD, "next": target})
    assert answer.headers["Location"] == "/"


def test_a_wrong_password_says_so_and_keeps_the_name() -> None:
    person("ada", Role.USER)
    answer = Client().post("/login/", {"username": '"><b>ada', "password": "wrong"})
    page = answer.content.decode()
    assert "do not match" in page
    assert "&quot;&gt;&lt;b&gt;ada" in page
    assert "wrong" not in page


def test_a_person_who_is_in_is_not_asked_again(ada: Client) -> None:
    assert ada.get("/login/").headers["Location"] == "/"


def test_logging_out_ends_the_login(ada: Client) -> None:
    assert ada.post("/logout/").headers["Location"] == "/login/"
    assert ada.get("/").status_code == 302


def test_logging_out_takes_a_post(ada: Client) -> None:
    assert ada.get("/logout/").status_code == 405
    assert ada.get("/").status_code == 200


@pytest.mark.parametrize("address", ["/login/", "/logout/"])
def test_a_post_without_its_token_is_refused(address: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("ada", Role.USER))
    assert client.post(address, {"username": "ada", "password": PASSWORD}).status_code == 403


def test_the_chat_takes_only_get(ada: Client) -> None:
    assert ada.post("/").status_code == 405


def test_the_pages_are_not_kept_by_caches(ada: Client) -> None:
    for answer in (ada.get("/"), Client().get("/login/")):
        assert "no-store" in answer.headers["Cache-Control"]


def test_every_answer_of_the_pages_carries_the_policy(ada: Client) -> None:
    for answer in (ada.get("/"), Client().get("/"), Client().get("/login/"), ada.post("/logout/")):
        directives = dict(part.split(" ", 1) for part in answer.headers[POLICY].split("; "))
        assert directives["default-src"] == directives["script-src"] == directives["img-src"] == "'self'"
        assert directives["connect-src"] == "'self' ws://testserver"
        assert directives["frame-ancestors"] == directives["base-uri"] == directives["object-src"] == "'none'"
        assert "unsafe" not in answer.headers[POLICY]


def test_over_tls_the_policy_allows_the_websocket_over_tls(ada: Client) -> None:
    assert "wss://testserver" in ada.get("/", secure=True).headers[POLICY]


def test_the_console_has_the_same_policy_but_for_what_its_library_needs(ada: Client) -> None:
    policy = ada.get(reverse("admin:login")).headers[POLICY]
    more = {" 'unsafe-eval'": "", " style-src-attr 'unsafe-inline';": ""}
    for directive, less in more.items():
        assert directive in policy
        policy = policy.replace(directive, less)
    assert policy == ada.get("/").headers[POLICY]


@pytest.mark.parametrize("address", ["/", "/login/"])
def test_a_page_holds_nothing_that_its_policy_forbids(ada: Client, address: str) -> None:
    client = ada if address == "/" else Client()
    page = Page(client.get(address).content.decode())
    assert page.inline == ""
    for tag, attributes in page.elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        source = attributes.get("src") or (attributes.get("href") if tag in ("link", "use") else None)
        if source is not None:
            assert source.startswith(settings.STATIC_URL), source
            assert finders.find(static_name(source)), source


def test_every_field_and_button_has_a_name_for_those_who_do_not_see_it(ada: Client) -> None:
    for address, client in (("/", ada), ("/login/", Client())):
        page = Page(client.get(address).content.decode())
        labelled = {attributes.get("for") for tag, attributes in page.elements if tag == "label"}
        for tag, attributes in page.elements:
            if tag in ("input", "textarea") and attributes.get("type") != "hidden":
                assert attributes["id"] in labelled or attributes.get("aria-label")
            if tag == "button" and "icon-button" in str(attributes.get("class")):
                assert attributes.get("aria-label")


def test_a_page_belongs_to_its_person(ada: Client) -> None:
    assert 'title="Your account: password, API keys">ada</a>' in ada.get("/").content.decode()


def test_the_chat_hands_out_the_token_that_its_calls_need(ada: Client) -> None:
    answer = ada.get("/")
    body = next(attributes for tag, attributes in Page(answer.content.decode()).elements if tag == "body")
    cookie: Any = answer.cookies[str(body["data-csrf-cookie"])]
    assert cookie.value
    assert not cookie["httponly"]


def test_the_page_names_every_script_so_that_none_waits_for_another(ada: Client) -> None:
    page = Page(ada.get("/").content.decode())
    named = {attributes["href"] for _, attributes in page.elements if attributes.get("rel") == "modulepreload"}
    scripts = [*(STATIC / "chat").glob("*.js"), *(STATIC / "shared").glob("*.js")]
    assert {STATIC / static_name(str(address)).removeprefix("bandstand/") for address in named} == set(scripts)


def test_the_help_is_for_those_who_are_logged_in(ada: Client) -> None:
    assert Client().get("/help/").headers["Location"] == "/login/?next=/help/"
    page = ada.get("/help/").content.decode()
    assert '<h1 dir="auto">The chat</h1>' in page
    assert "<td>Stop the answer, or close what is open</td>" in page
    assert "<br" not in page


def test_scripts_import_only_what_is_there() -> None:
    """And those of a component only their own, and what is shared: that knows no component."""
    for script in STATIC.rglob("*.js"):
        for name in re.findall(r'from "([^"]+)"', script.read_text()):
            imported = (script.parent / name).resolve()
            assert imported.is_file(), f"{script.name} imports {name}"
            assert imported.parent in {script.parent, STATIC / "shared"}, f"{script.name} imports {name}"


def test_every_icon_that_is_named_is_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "shared" / "icons.svg").read_text()))
    engine: Any = settings.TEMPLATES[0]
    pages = "".join(path.read_text() for path in Path(engine["DIRS"][0], "pages").glob("*.html"))
    scripts = "".join(path.read_text() for path in STATIC.rglob("*.js"))
    named = set(re.findall(r'icon.html" with name="([^"]+)"', pages))
    named |= set(re.findall(r'(?:icon|note|toolButton)\((?:"[^"]*", )?"([a-z]+)"', scripts))
    assert {"menu", "alert", "retry", "close"} <= named <= drawn
