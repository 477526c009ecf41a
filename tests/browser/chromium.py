"""Chromium of the system, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

#: Of Debian's package `chromium`; Playwright fetches none.
PROGRAM: Final = Path("/usr/bin/chromium")
Theme = Literal["light", "dark"]
WIDE: Final = 1_440
NARROW: Final = 390


@contextmanager
def opened() -> Iterator[Browser]:
    """A browser, for tests of one file: its event loop must not meet those of other tests."""
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not there: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(PROGRAM), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Said:
    """What a page wrote on its console, and what failed in it."""

    lines: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        """Keep every warning and error."""
        page.on("console", lambda one: self._add(one.type, one.text))
        page.on("pageerror", lambda error: self.lines.append(f"error: {error}"))

    def _add(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.lines.append(f"{kind}: {text}")


@contextmanager
def looking(
    browser: Browser, theme: Theme = "light", width: int = WIDE, height: int = 900, **more: Any
) -> Iterator[tuple[Page, Said]]:
    """A page of a fresh browser profile."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, **more
    )
    context.set_default_timeout(15_000)
    page, said = context.new_page(), Said()
    said.listen(page)
    try:
        yield page, said
    finally:
        context.close()


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return max(0, found)
