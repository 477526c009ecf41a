"""The fenced code blocks and the words in backticks of the documents that people read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "toolmeta" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "adr").glob("*.md")),
)
_FENCE = re.compile(r"^\s*```(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, what it says it is, and its lines."""

    page: Path
    line: int
    info: str
    text: str
    #: The file that the block is the content of, or the terminal in which its commands are typed.
    title: str = ""

    @property
    def where(self) -> str:
        """`docs/plans.md:40`, as an editor understands it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Word:
    """What stands between two backticks outside the blocks."""

    page: Path
    line: int
    text: str

    @property
    def where(self) -> str:
        """`docs/plans.md:40`, as an editor understands it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> list[Block]:
    """Every fenced block of every page, in reading order."""
    found: list[Block] = []
    for page in PAGES:
        begun: tuple[int, str] | None = None
        inside: list[str] = []
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            fence = _FENCE.match(line)
            if fence is None:
                inside.append(line)
            elif begun is None:
                begun, inside = (number, fence[1].strip()), []
            else:
                start, words = begun
                info, title = words.partition(" ")[0], _TITLE.search(words)
                text = "\n".join(inside)
                found.append(Block(page, start, info, text, title[1] if title else ""))
                begun = None
        assert begun is None, f"{page}: a block that does not end"
    return found


def section(block: Block) -> str:
    """The heading of the second level below which a block stands."""
    found = ""
    for number, line in prose(block.page):
        if number < block.line and line.startswith("## "):
            found = line.removeprefix("## ")
    return found


def prose(page: Path) -> list[tuple[int, str]]:
    """The lines of a page outside its blocks, with their numbers."""
    kept: list[tuple[int, str]] = []
    inside = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append((number, line))
    return kept


def words() -> list[Word]:
    """Everything in backticks in the prose of every page."""
    return [
        Word(page, number, text.replace("\\|", "|"))
        for page in PAGES
        for number, line in prose(page)
        for text in re.findall(r"`([^`]+)`", line)
    ]
