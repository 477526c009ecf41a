"""Every page in a real browser: readable by everybody, as wide as the window, and only text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.believable import Believable
from tests.browser.chromium import NARROW, looking, opened, overflow
from tests.browser.pages import EMPTY, PAGES
from tests.browser.serving import served
from tests.browser.shown import application, replace_sources


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened() as browser:
        yield browser


@pytest.fixture(scope="module")
def console() -> Iterator[str]:
    with served(application(Believable(20))) as address:
        yield address


@pytest.fixture(scope="module")
def nothing() -> Iterator[str]:
    app = application(Believable(0))
    replace_sources(app, empty=True)
    with served(app) as address:
        yield address


#: What can differ between the themes and widths of one page.
_LOOKS: Final = ["color-contrast", "scrollable-region-focusable", "svg-img-alt"]


def faults(page: Page, *rules: str) -> list[str]:
    """The serious and critical findings of axe, with where they are."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


# The large one has the parts of the others, five hundred times.
@pytest.mark.parametrize("name", [name for name in PAGES if name != "execution-large"])
def test_a_page_is_accessible_fits_and_shows_text_as_text(
    browser: Browser, console: str, name: str
) -> None:
    look_at(browser, console + PAGES[name], 1 if name == "not-found" else 0)


@pytest.mark.parametrize("name", EMPTY)
def test_a_page_without_anything_says_what_to_do(browser: Browser, nothing: str, name: str) -> None:
    look_at(browser, nothing + EMPTY[name], 0)


def look_at(browser: Browser, address: str, expected: int) -> None:
    """In both themes and widths; `expected` lines on the browser's console."""
    with looking(browser) as (page, said):
        page.goto(address)
        assert overflow(page) == 0
        assert faults(page) == []
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": NARROW, "height": 844})
        assert overflow(page) == 0
        assert faults(page, *_LOOKS) == []
        # Names, reasons, inputs and output of these pages want to run a script.
        assert page.evaluate("window.pwned") is None
        # A violation of the content security policy is a line of the console too.
        assert len(said.lines) == expected, said.lines
