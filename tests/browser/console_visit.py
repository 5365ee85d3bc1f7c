"""An owner and a builder with a browser on the console, and the pictures of it for the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from tests.browser.stack import Stack
from tests.browser.visitor import DESKTOP, PHONE, Visitor

DARK = {"color_scheme": "dark"}
NARROW = {"viewport": PHONE, "has_touch": True, "is_mobile": True}


FURNITURE = ("tests.browser.console_seed", "tests.browser.sample_seed", "tests.browser.deployment_seed")


class Console:
    """One window on the console."""

    def __init__(self, page: Page, stack: Stack) -> None:
        self.page = page
        self.stack = stack
        self._on_phone = False

    @classmethod
    async def open(cls, visitor: Visitor) -> Console:
        return cls(await visitor.open_window(), visitor.stack)

    async def go(self, path: str) -> None:
        """To `/admin/<path>`; `{contracts}` and the like stand for what was seeded."""
        shown = await self.page.goto(f"{self.stack.base}/admin/{path.format(**self.stack.seeded)}")
        assert shown is not None, path
        assert shown.ok, f"{path}: {shown.status}"
        await self._ready()

    async def press(self, name: str) -> None:
        async with self.page.expect_navigation():
            await self.page.get_by_role("button", name=name, exact=True).click()
        await self._ready()

    async def _ready(self) -> None:
        """The page hides itself until its scripts have run."""
        await expect(self.page.locator("html")).to_be_visible()

    async def violations(self) -> list[str]:
        found: list[str] = await self.page.evaluate("window.__violations")
        return found

    async def go_in_order(self, path: str) -> None:
        """To a page that must keep to its policy and be no wider than its window, in the light on a large screen and in
        the dark on a small one. It begins as the last page ended."""
        await self.go(path)
        await self.fits(path)
        self._on_phone = not self._on_phone
        await self.page.emulate_media(color_scheme="dark" if self._on_phone else "light")
        await self.page.set_viewport_size(PHONE if self._on_phone else DESKTOP)
        await self.fits(path)

    async def fits(self, path: str) -> None:
        width = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        needed, there = await self.page.evaluate(width)
        assert needed <= there, path
        assert await self.violations() == [], path


PICTURES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "start": ("olga", "", {}),
    "start-dark": ("olga", "", DARK),
    "start-phone": ("olga", "", NARROW),
    "agent": ("bruno", "agents/agent/{contracts}/change/", {}),
    "draft": ("bruno", "agents/agent/{contracts}/draft/", {}),
    "rights": ("bruno", "agents/agent/{contracts}/draft/", {}),
    "publish": ("bruno", "agents/agent/{contracts}/publish/", {}),
    "people": ("olga", "accounts/user/", {}),
    "person": ("olga", "accounts/user/add/", {}),
    "key": ("olga", "accounts/apikey/add/", {}),
    "alert-rule": ("olga", "monitoring/alertrule/{rule}/change/", {}),
    "schedules": ("olga", "scheduling/schedule/", {}),
    "audit": ("olga", "accounts/auditentry/", {}),
    "sessions": ("olga", "agents/agentsession/", {}),
    "turns": ("olga", "agents/turn/?state=failed", {}),
    "turns-dark": ("olga", "agents/turn/?state=failed", DARK),
    "turns-phone": ("olga", "agents/turn/?state=failed", NARROW),
    "turn": ("olga", "agents/turn/{sample_failed}/change/", {}),
    "trace": ("olga", "agents/turn/{sample_traced}/trace/", {}),
    "trace-phone": ("olga", "agents/turn/{sample_traced}/trace/", NARROW),
    "deployment": ("olga", "agents/deployment/{canary}/change/", {}),
    "deployment-phone": ("olga", "agents/deployment/{withdrawn}/change/", NARROW | DARK),
    "deployment-begin": ("olga", "agents/deployment/begin/{contracts}/", {}),
    "test-set": ("olga", "agents/testset/{test_set}/change/", {}),
    "evaluation": ("olga", "agents/evaluationrun/{evaluation}/change/", {}),
    "evaluation-entry": ("olga", "agents/evaluationrun/{evaluation}/entries/{test_case}/", {}),
    "transcript": ("olga", "agents/agentsession/{sample_session}/change/", {}),
}


# With people who wait, whom no other picture has.
INBOX_PICTURES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "inbox": ("oscar", "agents/handoff/", {}),
    "inbox-conversation": ("oscar", "agents/handoff/{waiting}/change/", {}),
    "inbox-phone": ("oscar", "agents/handoff/{answered}/change/", NARROW),
    "inbox-approval": ("oscar", "agents/approval/?user=tom", {}),
}


# With budgets that would refuse what others ask.
BUDGET_PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "budgets": ("agents/budget/", {}),
    "budget": ("agents/budget/{budget}/change/", {}),
    "budget-phone": ("agents/budget/{agent_budget}/change/", NARROW),
}


async def take_budget_pictures(browser: Browser, stack: Stack, folder: Path) -> None:
    """`console-<name>.png` of the pages of budgets. Take them last."""
    stack.seed("tests.browser.budget_seed")
    for name, (path, options) in BUDGET_PICTURES.items():
        visitor = await Visitor.arrive(browser, stack, "olga", **options)
        console = await Console.open(visitor)
        await console.go(path)
        await _shoot(console, folder / f"console-{name}.png")
        await visitor.context.close()


async def take_inbox_pictures(browser: Browser, stack: Stack, folder: Path) -> None:
    """`console-<name>.png` of the pages of the inbox."""
    stack.seed("tests.browser.inbox_seed")
    for name, (who, path, options) in INBOX_PICTURES.items():
        visitor = await Visitor.arrive(browser, stack, who, **options)
        console = await Console.open(visitor)
        await console.go(path)
        if name == "inbox-approval":
            await console.page.get_by_role("link", name="calculator").first.click()
            await console.page.get_by_role("link", name="Decide").click()
            await expect(console.page.locator(".bs-call")).to_be_visible()
        # The number comes after the page; on a phone it is behind the menu.
        await expect(console.page.locator("[data-count]")).not_to_be_empty()
        await _shoot(console, folder / f"console-{name}.png")
        await visitor.context.close()


async def take_pictures(browser: Browser, stack: Stack, folder: Path) -> None:
    """`console-<name>.png` of each page above, and of two builders who saved the same draft."""
    stack.seed(*FURNITURE)
    for name, (who, path, options) in PICTURES.items():
        visitor = await Visitor.arrive(browser, stack, who, **options)
        console = await Console.open(visitor)
        await console.go(path)
        if name == "transcript":
            await console.page.locator(".bs-tool > summary").first.click()
        if name == "rights":
            await open_rights(console)
        await _shoot(console, folder / f"console-{name}.png")
        await visitor.context.close()
    visitor = await Visitor.arrive(browser, stack, "bruno")
    console = await second_to_save(visitor, "Answer in one sentence.", "Answer in two sentences.")
    await _shoot(console, folder / "console-conflict.png")
    await visitor.context.close()
    await take_inbox_pictures(browser, stack, folder)
    await take_budget_pictures(browser, stack, folder)


async def open_rights(console: Console) -> None:
    """Scroll to the rights of tools, and fill in those of the first tool."""
    row = console.page.locator(".bs-rights__row").first
    await row.get_by_label("Untrusted values").first.select_option("Need approval")
    await row.locator("summary").click()
    await console.page.locator("#tool-rights").evaluate("(node) => node.scrollIntoView()")


async def second_to_save(visitor: Visitor, first: str, second: str) -> Console:
    """Open the draft in two windows and save both; the window that was second."""
    windows = [await Console.open(visitor), await Console.open(visitor)]
    for window in windows:
        await window.go("agents/agent/{contracts}/draft/")
    for window, words in zip(windows, (first, second), strict=True):
        await window.page.get_by_role("textbox", name="Instructions").fill(words)
        await window.press("Save draft")
    return windows[1]


async def _shoot(console: Console, file: Path) -> None:
    await console.page.mouse.move(0, 0)
    await console.page.screenshot(path=file, scale="css", animations="disabled")
