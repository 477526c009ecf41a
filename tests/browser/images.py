"""Pictures of the console for the documents: `python -m tests.browser.images [NAME ...]`.

They are made of believable data, so they say nothing of anybody, and need neither broker nor
database. Look at each before it is committed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser

from tests.browser.chromium import NARROW, WIDE, Theme, looking, opened
from tests.browser.pages import PAGES
from tests.browser.serving import served
from tests.browser.shown import application

FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"
#: The first page and that of an execution in both themes and widths.
WHOLE: Final = ("executions", "execution")
#: Of the others one wide and light, one narrow and dark.
LEFT_OUT: Final = (
    "execution-large",
    "not-found",
    "executions-none",
    "approval-own",
    "approval-hostile",
    "dead-letter-bytes",
    "start-plan",
    "trigger",
)
_SETTLED_MS: Final = 400


def wanted(names: list[str]) -> list[tuple[str, Theme, int]]:
    """Which pictures are taken: page, theme, and width."""
    found: list[tuple[str, Theme, int]] = []
    for name in PAGES:
        if name in LEFT_OUT or (names and name not in names):
            continue
        found += [(name, "light", WIDE), (name, "dark", NARROW)]
        if name in WHOLE:
            found += [(name, "dark", WIDE), (name, "light", NARROW)]
    return found


def take(browser: Browser, address: str, name: str, theme: Theme, width: int) -> Path:
    """One picture."""
    height = 900 if width == WIDE else 844
    path = FOLDER / f"console-{name}-{theme}-{width}.png"
    with looking(browser, theme, width, height) as (page, _):
        page.goto(address + PAGES[name])
        page.wait_for_timeout(_SETTLED_MS)
        page.screenshot(path=path, animations="disabled")
    return path


def main() -> None:
    """All of them, or those of the pages that are named."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with opened() as browser, served(application()) as address:
        for name, theme, width in wanted(sys.argv[1:]):
            path = take(browser, address, name, theme, width)
            print(f"{path.relative_to(FOLDER.parents[1])}  {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
