"""Somebody with a browser: their windows on the chat page, and everything that these windows did behind their back."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, ViewportSize, expect

from tests.browser.stack import Stack

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
PATIENCE_MS = 15_000

# What the policy stopped; read with `violations`.
_LISTEN = """
window.__violations = [];
addEventListener("securitypolicyviolation", (event) => window.__violations.push(
  `${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


class Chat:
    """One window on the chat."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.composer = page.get_by_label("Your message", exact=True).and_(page.locator("#text"))
        self.questions = page.locator(".question__text")
        self.answers = page.locator(".answer")
        self.transcript = page.locator("#transcript")
        self.status = page.locator("#status")

    async def open(self, session: str = "") -> None:
        await self.page.goto(f"{self.base}/" + (f"#{session}" if session else ""))
        await expect(self.page.locator("#session-list")).to_be_attached()
        await expect(self.page.locator("#agents label").first).to_be_attached()

    async def say(self, text: str) -> None:
        await self.composer.fill(text)
        await self.page.locator("#send").click()

    async def ask(self, text: str) -> Locator:
        """Send `text` and wait until its answer is whole; the answer."""
        before = await self.questions.count()
        await self.say(text)
        answer = self.page.locator(".exchange").nth(before).locator(".answer")
        await self.answered(answer)
        return answer

    async def answered(self, answer: Locator) -> None:
        await expect(answer.get_by_role("button", name="Answer again")).to_be_attached()
        await expect(answer).to_have_attribute("aria-busy", "false")

    @property
    def session(self) -> str:
        return urlsplit(self.page.url).fragment

    async def violations(self) -> list[str]:
        found: list[str] = await self.page.evaluate("window.__violations")
        return found


class Visitor:
    """One person's browser. `outside` are requests to other places, `faults` what scripts complained about."""

    def __init__(self, stack: Stack, context: BrowserContext, options: dict[str, Any]) -> None:
        self.stack = stack
        self.context = context
        self._options = options
        self.outside: list[str] = []
        self.faults: list[str] = []
        self._kept: Page | None = None
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", self._asked)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.faults.append(str(error.error)))

    @classmethod
    async def arrive(cls, browser: Browser, stack: Stack, name: str | None, **options: Any) -> Visitor:
        """`name` is logged in; None is a stranger. `options` are those of a browser context."""
        options = {"viewport": DESKTOP, "locale": "en-GB", **options}
        context = await browser.new_context(**options)
        visitor = cls(stack, context, options)
        await context.add_init_script(_LISTEN)
        if name is not None:
            await visitor.log_in(name)
        return visitor

    async def log_in(self, name: str) -> None:
        login = self.stack.seeded["people"][name]["login"]
        await self.context.add_cookies([{"name": self.stack.seeded["cookie"], "value": login, "url": self.stack.base}])

    async def chat(self, session: str = "") -> Chat:
        """A new window on a new chat, or on this session."""
        chat = Chat(await self.open_window(), self.stack.base)
        await chat.open(session)
        return chat

    async def open_window(self) -> Page:
        """A new window, or the one that was kept."""
        kept, self._kept = self._kept, None
        return kept or await self.context.new_page()

    async def leave(self) -> tuple[list[str], list[str]]:
        """Close the windows and forget everything, but keep one: a new browser with a new window costs most of a second
        of CPU. What a test does to a window beyond its page, its size and its colours stays: scripts at its start, say.

        Returns `outside` and `faults`, which are empty then."""
        await self.context.set_offline(False)
        pages = self.context.pages
        page = pages[0] if pages else await self.context.new_page()
        for other in pages[1:]:
            await other.close()
        await page.unroute_all(behavior="ignoreErrors")  # answers of a test's own are for that test only
        await page.goto(f"{self.stack.base}/static/bandstand/shared/favicon.svg")  # none of our scripts runs there
        await page.evaluate("localStorage.clear(); sessionStorage.clear()")
        await page.emulate_media(
            media="null",
            color_scheme=self._options.get("color_scheme", "light"),
            reduced_motion=self._options.get("reduced_motion", "no-preference"),
        )
        await page.set_viewport_size(self._options["viewport"])
        await self.context.clear_cookies()
        await self.context.clear_permissions()
        self._kept = page
        complaints = self.outside, self.faults
        self.outside, self.faults = [], []
        return complaints

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.stack.base, "blob:", "data:,")):
            self.outside.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        # A refused connection or an answer of 4xx is said by the browser, not by our scripts.
        if message.type in {"error", "warning"} and not message.text.startswith(("Failed to load", "WebSocket conn")):
            self.faults.append(message.text)
